"""The client's further calls and the doctor's checks, over real HTTP against the simulated organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.failures import Conflict, Refused
from canonical.operations import HealthState
from connectors.salesforce.calls import SubRequest
from connectors.salesforce.settings import AccountFields, Mapping
from tests.acceptance.salesforce import Subject

pytestmark = pytest.mark.anyio


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    one = Subject()
    yield one
    await one.close()


# --- calls for later sagas -----------------------------------------------------------------------------


async def test_upsert_by_external_id(subject: Subject) -> None:
    client = subject.connector.client
    key = "CUST/10 01?ü"
    first = await client.upsert_by_external_id("Account", "Saga_Key__c", key, {"Name": "A"}, what="test")
    again = await client.upsert_by_external_id("Account", "Saga_Key__c", key, {"Name": "B"}, what="test")
    assert (first.created, again.created, first.id == again.id) == (True, False, True)
    assert subject.record("Account", first.id)["Saga_Key__c"] == key
    with pytest.raises(Refused) as caught:
        await client.upsert_by_external_id(
            "Account", "Saga_Key__c", "none", {"Name": "C"}, what="test", update_only=True
        )
    assert caught.value.failure.cause is Cause.RECORD_VANISHED


async def test_an_external_id_of_several_records_is_a_conflict(subject: Subject) -> None:
    subject.seed("Account", [{"Name": n, "ERP_Customer_Id__c": "C-1"} for n in "ab"])
    with pytest.raises(Conflict) as caught:
        await subject.connector.client.upsert_by_external_id(
            "Account", "ERP_Customer_Id__c", "C-1", {"Name": "C"}, what="test"
        )
    assert caught.value.failure.cause is Cause.CLIENT_AMBIGUOUS


async def test_composite_lands_as_a_whole_or_not_at_all(subject: Subject) -> None:
    client = subject.connector.client
    parts = [
        SubRequest("POST", "/sobjects/Account", "acc", {"Name": "Composite"}),
        SubRequest("PATCH", f"/sobjects/Opportunity/{subject.deal}", "opp", {"AccountId": "@{acc.id}"}),
    ]
    answers = await client.composite(parts, what="test")
    assert [answer.status for answer in answers] == [201, 204]
    assert subject.record("Opportunity", subject.deal)["AccountId"] == answers[0].body["id"]
    before = len(subject.records("Account"))
    bad = [parts[0], SubRequest("PATCH", f"/sobjects/Opportunity/{subject.deal}", "opp", {"Nope__c": 1})]
    first, second = await client.composite(bad, what="test")
    assert first.halted
    assert second.errors[0].code == "INVALID_FIELD"
    assert len(subject.records("Account")) == before
    with pytest.raises(ValueError, match="1 to 25"):
        await client.composite(parts * 13, what="test")


async def test_update_many_tells_the_outcome_of_each_record(subject: Subject) -> None:
    ids = subject.seed("Account", [{"Name": f"A{n}"} for n in range(203)])
    rows: list[dict[str, Any]] = [{"Id": id_, "Site": "bulk"} for id_ in ids]
    rows[201] = {"Id": ids[201], "Site": "x" * 300}
    outcomes = await subject.connector.client.update_many("Account", rows, what="test")
    assert [outcome.id for outcome in outcomes] == ids
    assert [n for n, outcome in enumerate(outcomes) if not outcome.success] == [201]
    assert outcomes[201].errors[0].code == "STRING_TOO_LONG"
    assert subject.record("Account", ids[202])["Site"] == "bulk"


async def test_read_many_leaves_out_what_is_gone(subject: Subject) -> None:
    ids = subject.seed("Account", [{"Name": f"A{n}"} for n in range(205)])
    await subject.connector.client.delete("Account", ids[3], what="test")
    found = await subject.connector.client.read_many("Account", ids, ["Name"], what="test")
    assert set(found) == set(ids) - {ids[3]}
    assert found[ids[204]]["Name"] == "A204"


async def test_duplicate_rules_stop_or_pass_as_configured(subject: Subject) -> None:
    subject.fault(
        "error_before", method="PATCH", status=400,
        body=[{"message": "Use one of these records?", "errorCode": "DUPLICATES_DETECTED"}],
    )  # fmt: skip
    with pytest.raises(Conflict):
        await subject.connector.send(subject.create())
    assert subject.connector.client.save_headers == {}
    relaxed = subject.build(allow_duplicate_rules=True)
    assert "allowSave=true" in relaxed.client.save_headers["Sforce-Duplicate-Rule-Header"]
    await relaxed.close()


# --- doctor --------------------------------------------------------------------------------------------


async def test_a_sound_installation(subject: Subject) -> None:
    await subject.connector.close()
    subject.connector = subject.build(first_poll_from=datetime(2026, 11, 1, tzinfo=UTC))
    checks = await subject.connector.check()
    assert {check.state for check in checks} == {HealthState.OK}, checks


async def test_everything_wrong_is_found_with_a_remedy(subject: Subject) -> None:
    subject.configure(
        hidden_fields={"OpportunityLineItem": ["Billing_Method__c"], "Opportunity": ["Project_Code__c"]},
        api_limit=100, api_used=91, instance_url="https://other.my.salesforce.com",
    )  # fmt: skip
    await subject.connector.close()
    subject.connector = subject.build(mapping=Mapping(account=AccountFields(erp_system="")))
    checks = await subject.connector.check()
    found = {check.check: check for check in checks if check.state is not HealthState.OK}
    assert set(found) == {"field map", "write-back", "polling", "ERP ids", "address", "daily calls"}
    assert all(check.remedy for check in found.values())


async def test_a_broken_login_is_a_finding_not_an_error(subject: Subject) -> None:
    subject.configure(client_secret="changed")
    (check,) = await subject.connector.check()
    assert (check.check, check.state) == ("login", HealthState.BROKEN)
    assert check.remedy


async def test_an_organisation_that_is_away_is_a_finding(subject: Subject) -> None:
    subject.configure(away=True)
    (check,) = await subject.connector.check()
    assert check.state is HealthState.BROKEN
