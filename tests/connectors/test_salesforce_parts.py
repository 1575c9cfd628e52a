"""SOQL, ids, polling position, field lists, events, errors: the pure parts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
import pytest

from canonical.causes import Cause
from canonical.failures import FailureKind
from connectors.kit.errors import VendorError
from connectors.salesforce import events
from connectors.salesforce.cursor import Cursor, stamp
from connectors.salesforce.errors import RULES, error_table, errors_of, read_errors
from connectors.salesforce.fields import account_query, deal_query, field_plan
from connectors.salesforce.ids import record_id, same_id
from connectors.salesforce.schemas import FieldDescribe, ObjectDescribe
from connectors.salesforce.settings import AccountFields, LineFields, Mapping, OpportunityFields
from connectors.salesforce.soql import Where, literal, name, select

DEAL = "006gK0000000001QAA"
ORG = "00DgK0000000001UAA"

# --- ids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "expected"), [
    ("006gK0000000001", "006gK0000000001QAA"),
    ("006gK0000000001QAA", "006gK0000000001QAA"),
    ("006gk0000000001qaa", "006gK0000000001QAA"),
    ("006GK0000000001QAA", "006gK0000000001QAA"),
    ("00DgK0000000001", "00DgK0000000001UAA"),
    ("", None), ("nonsense", None), ("006gK0000000001QA", None), ("006gK000000000'", None),
    ("006gK0000000001Q99", None), ("006gK0000000001 QAA", None),
    ("006gK00000000015AA", None),
])  # fmt: skip
def test_ids(given: str, expected: str | None) -> None:
    assert record_id(given) == expected


def test_two_spellings_of_one_record() -> None:
    assert same_id("006gK0000000001", "006gK0000000001QAA")
    assert not same_id("006gk0000000001", "006gK0000000001QAA")
    assert not same_id("x", "x")


# --- SOQL ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "written"), [
    ("O'Brien \\ \"x\"\n", "'O\\'Brien \\\\ \\\"x\\\"\\n'"),
    ("' OR Name != '", "'\\' OR Name != \\''"),
    ("東京", "'東京'"),
    (None, "null"), (True, "true"), (False, "false"), (7, "7"), (Decimal("1E+3"), "1000"),
    (date(2026, 11, 1), "2026-11-01"),
    (datetime(2026, 11, 1, 1, 0, tzinfo=timezone(timedelta(hours=1))), "2026-11-01T00:00:00.000Z"),
])  # fmt: skip
def test_literals(value: Any, written: str) -> None:
    assert literal(value) == written


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        literal(datetime(2026, 11, 1))  # noqa: DTZ001


@pytest.mark.parametrize("bad", ["", "Name ", "a b", "Name'--", "1x", "Account..Name", "(SELECT", "Nämé"])
def test_names_are_checked(bad: str) -> None:
    with pytest.raises(ValueError, match="name of a Salesforce"):
        name(bad)


def test_select() -> None:
    child = select("Lines", ["Id"])
    assert select(
        "Opportunity", ["Id", "Account.Name", "Id"], children=[child],
        where=[Where("Id", "IN", ["a", "b'"]), Where("IsWon", "=", True)], order=["Id"], limit=5,
    ) == (
        "SELECT Id, Account.Name, (SELECT Id FROM Lines) FROM Opportunity "
        "WHERE Id IN ('a', 'b\\'') AND IsWon = true ORDER BY Id ASC LIMIT 5"
    )  # fmt: skip


@pytest.mark.parametrize("bad", [
    Where("Id", "IN", []), Where("Id", "IN", "abc"), Where("Id", "LIKE", "%"), Where("Id", "=", ["a"]),
])  # fmt: skip
def test_conditions_that_make_no_sense(bad: Where) -> None:
    with pytest.raises(ValueError, match=r"IN needs|not an operator|takes one value"):
        str(bad)


# --- polling position ----------------------------------------------------------------------------------

T1 = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
MINUTES = timedelta(minutes=5)


def test_the_first_poll_begins_where_the_settings_say() -> None:
    (soql,) = Cursor.parse(None).queries(overlap=MINUTES, first=T1, limit=10)
    assert "SystemModstamp >= 2026-11-01T10:00:00.000Z" in soql
    (soql,) = Cursor.parse(None).queries(overlap=MINUTES, first=None, limit=10)
    assert "SystemModstamp >=" not in soql
    assert soql.endswith("ORDER BY SystemModstamp ASC, Id ASC LIMIT 10")


def test_a_new_sweep_looks_back_and_a_running_one_does_not() -> None:
    between = Cursor.parse(None).after([(T1, DEAL)], more=False)
    (soql,) = Cursor.parse(str(between)).queries(overlap=MINUTES, first=None, limit=10)
    assert "SystemModstamp >= 2026-11-01T09:55:00.000Z" in soql
    running = Cursor.parse(str(between.after([(T1, DEAL)], more=True)))
    same, later = running.queries(overlap=MINUTES, first=None, limit=10)
    assert f"SystemModstamp = 2026-11-01T10:00:00.000Z AND Id > '{DEAL}'" in same
    assert "SystemModstamp > 2026-11-01T10:00:00.000Z" in later


def test_nothing_new_keeps_the_position() -> None:
    position = Cursor(T1)
    assert position.after([], more=False) == position
    assert Cursor.parse(str(Cursor())) == Cursor()


@pytest.mark.parametrize("bad", ["", "x", "sf1|nonsense|", "sf1||006", "sf2|2026-11-01T10:00:00+00:00|"])
def test_a_position_of_somebody_else_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"polling position|Invalid isoformat"):
        Cursor.parse(bad)


def test_stamps() -> None:
    assert stamp("2026-11-01T10:00:00.000+0000") == T1


# --- field lists ---------------------------------------------------------------------------------------


def described(object_: str, *fields: str, **relationships: str) -> ObjectDescribe:
    known = [FieldDescribe(name=field, relationshipName=relationships.get(field)) for field in fields]
    return ObjectDescribe(name=object_, fields=tuple(known))


BARE = Mapping(
    opportunity=OpportunityFields(**{key: "" for key in OpportunityFields.model_fields if key != "bill_to"}),
    account=AccountFields(tax_number="", billing_email="", erp_id=""),
    line=LineFields(**dict.fromkeys(LineFields.model_fields, "")),
)


def test_optional_standard_fields_are_selected_where_they_are() -> None:
    line = described("OpportunityLineItem")
    plan = field_plan(BARE, described("Opportunity", "Bill_To__c"), described("Account"), line)
    soql = deal_query(plan, DEAL)
    assert "CurrencyIsoCode" not in soql
    assert "BillingCountryCode" not in soql
    plan = field_plan(
        BARE,
        described("Opportunity", "CurrencyIsoCode", "Bill_To__c", Bill_To__c="Payer__r"),
        described("Account", "BillingCountryCode", "CurrencyIsoCode"),
        line,
    )
    soql = deal_query(plan, DEAL)
    assert "Account.Parent.Parent.Parent.BillingCountryCode" in soql
    assert "Payer__r.Name" in soql
    assert "Account.Parent.Parent.Parent.Parent." not in soql
    assert " CurrencyIsoCode," in soql
    assert account_query(plan, "001gK0000000001QAA").startswith("SELECT Id, Name, ParentId")


def test_missing_mapped_fields_are_named_with_their_setting() -> None:
    plan = field_plan(
        Mapping(), described("Opportunity"), described("Account"), described("OpportunityLineItem")
    )
    assert any("Opportunity has no field PO_Number__c" in sentence for sentence in plan.missing)
    assert any("mapping line.billing_method" in sentence for sentence in plan.missing)
    assert not any("Project_Link__c" in sentence for sentence in plan.missing), "written, never read"


# --- events --------------------------------------------------------------------------------------------


def envelope(*ids: str, org: str = ORG, before: str = "", encoding: str = "UTF-8") -> str:
    notifications = "".join(
        f'<Notification><Id>04l{n}</Id><sObject xsi:type="sf:Opportunity" '
        f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>{id_}</sf:Id>'
        f"<sf:Name>R&amp;D – 東京</sf:Name></sObject></Notification>"
        for n, id_ in enumerate(ids)
    )
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>{before}'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        f'<notifications xmlns="{events.OUTBOUND}"><OrganizationId>{org}</OrganizationId>'
        f"<ActionId>04kX</ActionId><SessionId/>{notifications}</notifications>"
        "</soapenv:Body></soapenv:Envelope>"
    )


def test_an_outbound_message_is_read() -> None:
    raw = envelope(DEAL, "006gK0000000002").encode()
    message = events.outbound_message(raw, ["00DgK0000000001"])
    assert (message.organization_id, message.action_id) == (ORG, "04kX")
    first, second = message.notifications
    assert (first.id, first.object_type, first.record_id) == ("04l0", "Opportunity", DEAL)
    assert first.fields["Name"] == "R&D – 東京"
    assert second.record_id == "006gK0000000002QAA"


def test_the_answer_acknowledges() -> None:
    assert b"<Ack>true</Ack>" in events.ACK
    assert events.OUTBOUND.encode() in events.ACK


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize("raw", [
    b"", b"not xml", b"<a/>", b"\xff\xfe<", b"x" * (events.SIZE_LIMIT + 1),
    envelope(DEAL, before=BOMB).encode(),
    envelope(DEAL, before="<!doctype x>").encode(),
    envelope(DEAL, before=BOMB, encoding="utf-16").encode("utf-16"),
    envelope(DEAL, encoding="utf-7").encode(),
    envelope(DEAL, org="00DgK0000000009").encode(),
    envelope(DEAL, org="").encode(),
    envelope().encode(),
    envelope("broken id").encode(),
    envelope(*[DEAL] * 101).encode(),
], ids=["empty", "text", "other", "bytes", "huge", "entities", "doctype", "utf16", "utf7", "org", "no org",
        "none", "id", "many"])  # fmt: skip
def test_what_is_not_a_message_of_ours_is_refused(raw: bytes) -> None:
    with pytest.raises(events.EventRefused):
        events.outbound_message(raw, [ORG])


def test_no_configured_organisation_believes_nobody() -> None:
    with pytest.raises(events.EventRefused):
        events.outbound_message(envelope(DEAL).encode(), [])


def test_a_flow_callout() -> None:
    raw = b'{"opportunityId":"006gK0000000001","orgId":"00DgK0000000001","eventId":"e1"}'
    assert events.flow_callout(raw, "s3cret", "s3cret", [ORG]) == events.FlowCallout("e1", ORG, DEAL)
    bad: list[tuple[bytes, str | None]] = [
        (raw, "wrong"), (raw, None), (b"{", "s3cret"), (b"[]", "s3cret"), (b"{}", "s3cret"),
        (raw.replace(b"e1", b""), "s3cret"), (raw.replace(b"006gK", b"00"), "s3cret"),
        (raw.replace(b"00Dg", b"00Dh"), "s3cret"),
    ]  # fmt: skip
    for body, presented in bad:
        with pytest.raises(events.EventRefused):
            events.flow_callout(body, presented, "s3cret", [ORG])
    with pytest.raises(events.EventRefused):
        events.flow_callout(raw, "", "", [ORG])


# --- errors --------------------------------------------------------------------------------------------

TABLE = error_table(900)


@pytest.mark.parametrize(("status", "code", "write", "kind", "cause"), [
    (401, "INVALID_SESSION_ID", True, FailureKind.REAUTHORISE, Cause.CREDENTIALS_REJECTED),
    (403, "REQUEST_LIMIT_EXCEEDED", True, FailureKind.WAIT, Cause.RATE_LIMITED),
    (400, "UNABLE_TO_LOCK_ROW", True, FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE),
    (400, "QUERY_TIMEOUT", False, FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE),
    (400, "INVALID_QUERY_LOCATOR", False, FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE),
    (400, "DUPLICATE_VALUE", True, FailureKind.CONFLICT, Cause.VERSION_CONFLICT),
    (400, "DUPLICATES_DETECTED", True, FailureKind.CONFLICT, Cause.CLIENT_AMBIGUOUS),
    (300, None, True, FailureKind.CONFLICT, Cause.CLIENT_AMBIGUOUS),
    (400, "INVALID_FIELD", False, FailureKind.REPAIR, Cause.CONFIGURATION),
    (400, "MALFORMED_QUERY", False, FailureKind.DEFECT, Cause.DEFECT),
    (400, "MALFORMED_ID", False, FailureKind.REPAIR, Cause.BAD_INPUT),
    (400, "REQUIRED_FIELD_MISSING", True, FailureKind.REPAIR, Cause.VENDOR_REFUSED),
    (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", True, FailureKind.REPAIR, Cause.VENDOR_REFUSED),
    (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", True, FailureKind.REPAIR, Cause.VENDOR_REFUSED),
    (400, "STRING_TOO_LONG", True, FailureKind.REPAIR, Cause.VENDOR_REFUSED),
    (400, "INVALID_CROSS_REFERENCE_KEY", True, FailureKind.REPAIR, Cause.RECORD_VANISHED),
    (403, "INSUFFICIENT_ACCESS_OR_READONLY", True, FailureKind.REPAIR, Cause.CREDENTIALS_REJECTED),
    (404, "NOT_FOUND", True, FailureKind.REPAIR, Cause.RECORD_VANISHED),
    (404, "ENTITY_IS_DELETED", True, FailureKind.REPAIR, Cause.RECORD_VANISHED),
    (400, "NEVER_SEEN_BEFORE", True, FailureKind.REPAIR, Cause.VENDOR_REFUSED),
    (412, None, True, FailureKind.CONFLICT, Cause.VERSION_CONFLICT),
    (429, None, True, FailureKind.WAIT, Cause.RATE_LIMITED),
    (503, "SERVER_UNAVAILABLE", False, FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE),
    (503, "SERVER_UNAVAILABLE", True, FailureKind.UNKNOWN_OUTCOME, Cause.OUTCOME_UNKNOWN),
])  # fmt: skip
def test_who_acts_next(status: int, code: str | None, write: bool, kind: FailureKind, cause: Cause) -> None:
    failure = TABLE.failure([VendorError(status, code, "words")], system="sf", write=write, what="x").failure
    assert (failure.kind, failure.cause) == (kind, cause)
    if code == "REQUEST_LIMIT_EXCEEDED":
        assert failure.retry_after_seconds == 900


def test_every_repair_says_what_to_do() -> None:
    needs = (FailureKind.REPAIR, FailureKind.CONFLICT, FailureKind.REAUTHORISE)
    assert all(rule.remedy for rule in RULES if rule.kind in needs)


def test_bodies_of_errors() -> None:
    item = {"message": "too long", "errorCode": "STRING_TOO_LONG", "fields": ["Name"]}
    assert errors_of(400, [item]) == [VendorError(400, "STRING_TOO_LONG", "too long", "Name")]
    row = {"message": "m", "statusCode": "DUPLICATE_VALUE", "fields": []}
    assert errors_of(400, [row])[0].code == "DUPLICATE_VALUE"
    login = {"error": "invalid_grant", "error_description": "user hasn't approved"}
    assert errors_of(400, login)[0] == VendorError(400, "invalid_grant", "user hasn't approved")
    several = errors_of(300, ["/services/data/v64.0/sobjects/Account/001"])
    assert "sobjects/Account/001" in several[0].message
    assert errors_of(500, "text") == []
    assert read_errors(httpx.Response(502, content=b"<html>bad gateway</html>")) == []
