"""Every receiver takes what its vendor sends and refuses each change of body, header, time and secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.failures import Unauthorised
from connectors.kit.webhooks import Delivery, DeliveryRefused, Why
from tests.connectors.senders import (
    ADDRESS,
    NOW,
    OUTBOUND,
    SECRET,
    SENDERS,
    WHSEC,
    Sender,
    install,
)
from wiring.webhooks import KINDS, receiver_class

every = pytest.mark.parametrize("sender", SENDERS.values(), ids=list(SENDERS))
RUBBISH = (
    b"", b"null", b"[]", b"{}", b"{", b"\xff\xfe", b"[" * 100_000, b"<a/>", b'{"a":1e999,"b":NaN}',
    b"9" * 10_000,
)  # fmt: skip
OTHER = {SECRET: SECRET + "x", WHSEC: "whsec_AAAAr8GKYqrTwjUPD8ILPZIo2LaLaSw="}


def refused(sender: Sender, delivery: Delivery, *, both: bool = False) -> Why:
    with pytest.raises(DeliveryRefused) as caught:
        sender.receiver(both=both).receive(delivery)
    assert sender.secret not in str(caught.value)
    return caught.value.why


def test_every_kind_has_a_sender() -> None:
    assert {sender.kind for sender in SENDERS.values()} == set(KINDS)


@every
def test_what_the_vendor_sends_is_taken(sender: Sender) -> None:
    install(sender)
    taken = sender.receiver().receive(sender.delivery())
    assert tuple((hint.type, hint.record_type, hint.record_id) for hint in taken.hints) == sender.hints
    assert len({hint.id for hint in taken.hints}) == len(sender.hints)
    assert taken.answer.status == 200


@every
def test_a_repetition_is_recognised(sender: Sender) -> None:
    install(sender)
    first = sender.receiver().receive(sender.delivery())
    again = sender.receiver().receive(sender.delivery(sent=NOW + timedelta(seconds=20)))
    assert [hint.id for hint in first.hints] == [hint.id for hint in again.hints]


@every
def test_another_secret_is_refused(sender: Sender) -> None:
    install(sender)
    assert refused(sender, sender.delivery(secret=OTHER[sender.secret])) is Why.AUTHENTICITY


@every
def test_two_secrets_live_side_by_side_while_one_is_exchanged(sender: Sender) -> None:
    following = OTHER[sender.secret]
    install(sender, following=following)
    both = sender.receiver(both=True)
    assert both.receive(sender.delivery()).hints == both.receive(sender.delivery(secret=following)).hints
    wrong = {
        SECRET: "another-secret-that-nobody-configured",
        WHSEC: "whsec_BBBBr8GKYqrTwjUPD8ILPZIo2LaLaSw=",
    }[sender.secret]
    assert refused(sender, sender.delivery(secret=wrong), both=True) is Why.AUTHENTICITY


@every
def test_a_secret_that_is_not_there_is_no_refusal(sender: Sender) -> None:
    """The sender is not at fault: it must repeat, not give up."""
    install(replace(sender, secret=""))
    with pytest.raises(Unauthorised):
        sender.receiver().receive(sender.delivery())


@every
def test_each_change_of_a_signed_body_is_refused(sender: Sender) -> None:
    if not sender.signs_body:
        pytest.skip("the vendor signs no body: the record is read again")
    install(sender)
    body = sender.body
    changes = [body + b" ", body[1:], body[:-1], b"", body.replace(b"1", b"2", 1)]
    changes += [body[:i] + bytes([body[i] ^ 1 << i % 8]) + body[i + 1 :] for i in range(len(body))]
    found = {refused(sender, sender.delivery(body=one)) for one in changes if one != body}
    assert found == {Why.AUTHENTICITY}


@every
def test_each_change_of_a_proving_header_is_refused(sender: Sender) -> None:
    if sender.in_address:
        pytest.skip("proved by its address")
    install(sender)
    delivery = sender.delivery()
    proof = {name.lower() for name in sender.proof(sender.body, sender.secret, NOW)} - {"x-idempotencykey"}
    for name in proof:
        value = delivery.headers[name]
        for change in (
            None,
            "",
            value[:-1],
            value + "A",
            "A" + value,
            value[::-1],
            "é" + value,
            value + "," + value,
        ):
            headers = {key: text for key, text in delivery.headers.items() if key != name}
            if change is not None:
                headers[name] = change
            assert refused(sender, replace(delivery, headers=headers)) in (Why.AUTHENTICITY, Why.TIME), name


@every
def test_each_single_character_of_what_proves_counts(sender: Sender) -> None:
    """Texts that decoders take for the same bytes included: base64 has spare bits and skips foreign signs."""
    install(sender)
    delivery = sender.delivery()
    proving = {name.lower() for name in sender.proof(sender.body, sender.secret, NOW)} - {"x-idempotencykey"}
    values = {name: delivery.headers[name] for name in proving}
    if sender.in_address:
        values = {"": sender.secret}
    for name, value in values.items():
        for i, char in enumerate(value):
            near = [chr(ord(char) + step) for step in (1, -1) if chr(ord(char) + step).isalnum()]
            for other in {*near, char.swapcase(), "A", "!", ""} - {char}:
                text = value[:i] + other + value[i + 1 :]
                changed = replace(
                    delivery,
                    headers={**delivery.headers, name: text} if name else delivery.headers,
                    key=delivery.key if name else text,
                )
                assert refused(sender, changed) in (Why.AUTHENTICITY, Why.TIME), (name, text)


@every
def test_each_single_character_of_the_secret_counts(sender: Sender) -> None:
    secret = sender.secret
    for i in range(len("whsec_") if secret == WHSEC else 0, len(secret) - 1):
        changed = secret[:i] + ("A" if secret[i] != "A" else "B") + secret[i + 1 :]
        install(replace(sender, secret=changed))
        assert refused(sender, sender.delivery()) is Why.AUTHENTICITY


@every
def test_what_was_signed_at_another_time_is_refused(sender: Sender) -> None:
    if not sender.signs_time:
        pytest.skip("the vendor signs no time: a repetition is known by its id")
    install(sender)
    for sent in (NOW - timedelta(hours=3), NOW + timedelta(hours=3)):
        if sender.kind == "sage-intacct" and sent > NOW:
            continue  # Its token says only when it ends.
        assert refused(sender, sender.delivery(sent=sent)) is Why.TIME
    # The time itself changed, the signature left as it was.
    for name in ("webhook-timestamp", "x-hubspot-request-timestamp"):
        delivery = sender.delivery()
        if name in delivery.headers:
            headers = {**delivery.headers, name: str(int(delivery.headers[name]) + 1)}
            assert refused(sender, replace(delivery, headers=headers)) is Why.AUTHENTICITY


@every
@pytest.mark.parametrize("body", RUBBISH, ids=lambda body: repr(body[:8]))
def test_authentic_rubbish_is_refused_for_its_form(sender: Sender, body: bytes) -> None:
    install(sender)
    try:
        rubbish = replace(sender, body=body).delivery()
    except UnicodeDecodeError:
        pytest.skip("the independent library signs text only")
    if sender.kind == "cloudevents" and "ce-id" in rubbish.headers and body in (b"", b"null", b"[]", b"{}"):
        return  # Binary mode carries any data, none included.
    assert refused(sender, rubbish) is Why.FORM


@every
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_json_is_taken_or_refused(sender: Sender, data: st.DataObject) -> None:
    """Whatever an authentic sender puts where, nothing but a refusal comes out, and no id of another form."""
    install(sender)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
    if sender.body.startswith(b"<"):
        body = data.draw(st.binary(max_size=60))
    else:
        document = json.loads(sender.body)
        target: Any = document[0] if isinstance(document, list) else document
        for key in data.draw(st.lists(st.sampled_from(sorted(target)), max_size=3)):
            target[key] = data.draw(values)
        body = json.dumps(document).encode()
    try:
        taken = sender.receiver().receive(replace(sender, body=body).delivery())
    except DeliveryRefused:
        return
    for hint in taken.hints:
        assert ":" not in hint.record_id + hint.type
        assert (hint.record_id + hint.type).isprintable()


# --- single vendors ------------------------------------------------------------------------------------


def test_jiras_own_example() -> None:
    """Atlassian's documentation of webhook secrets: its key, text and signature."""
    shown = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    secret, text = "It's a Secret to Everybody", b"Hello World!"
    assert hmac.new(secret.encode(), text, hashlib.sha256).hexdigest() == shown
    jira = replace(SENDERS["jira"], secret=secret, body=text)
    install(jira)
    delivery = Delivery("POST", ADDRESS, {"x-hub-signature": f"sha256={shown}"}, text, NOW)
    assert refused(jira, delivery) is Why.FORM, "authentic, and no event"
    assert refused(jira, replace(delivery, body=b"Hello World?")) is Why.AUTHENTICITY


def test_hubspots_own_library_agrees() -> None:
    """The signature was made by `hubspot.utils.signature` of HubSpot's package hubspot-api-client 12.0.0."""
    body = (
        b'[{"eventId":100,"subscriptionId":5,"portalId":62515,"occurredAt":1793491200000,'
        b'"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":9001,'
        b'"propertyName":"dealstage","propertyValue":"closedwon"}]'
    )
    hubspot = replace(SENDERS["hubspot"], secret="5a2f4e0c-7b1d-4c8e-9f3a-6d0b1e2c3f4a")
    install(hubspot)
    headers = {
        "x-hubspot-signature-v3": "2arwvCpY1MP6YUGC+LzbRhYaLoDLZ/Lmj9HukJqKAek=",
        "x-hubspot-request-timestamp": "1793491200123",
    }
    at = datetime.fromtimestamp(1793491201, UTC)
    delivery = Delivery("POST", f"{ADDRESS}?kind=deal", headers, body, at)
    (hint,) = hubspot.receiver().receive(delivery).hints
    assert (hint.type, hint.record_id, hint.fields) == (
        "deal.propertyChange", "9001", {"dealstage": "closedwon"},
    )  # fmt: skip
    assert refused(hubspot, replace(delivery, body=body + b" ")) is Why.AUTHENTICITY
    later = {**headers, "x-hubspot-request-timestamp": "1793491200124"}
    assert refused(hubspot, replace(delivery, headers=later)) is Why.AUTHENTICITY


_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
BY_OPENSSL = {
    "asana": (
        "b537207f20cbfa02357cf448134da559",
        {"x-hook-signature": "3f2704e575c09300135a6410bcbf20294f111936c63a315c58b98af57bffe14d"},
        b'{"events":[{"user":{"gid":"12"},"created_at":"2026-11-29T09:29:00.000Z","action":"changed",'
        b'"resource":{"gid":"1200","resource_type":"task"}}]}',
        ("task.changed", "1200"),
    ),
    "monday": (
        SECRET,
        {"authorization": _TOKEN + ".eyJhY2NvdW50SWQiOjUsInVzZXJJZCI6NywiYXVkIjoiaHR0cHM6Ly9ob29rcy5hY21lLmV4"
         "YW1wbGUvaG9va3Mvc3JjIiwiaWF0IjoxNzk1OTQ0NjAwLCJleHAiOjE3OTU5NDQ5MDB9"
         ".d0Tdq8ScCwcDE9UHLNt--abDM57A0xwq9f6sak3EWXM"},
        SENDERS["monday"].body,
        ("change_column_value", "77"),
    ),
    "sage-intacct": (
        SECRET,
        {"x-ia-sage-signature": _TOKEN + ".eyJpc3MiOiJTYWdlIEludGFjY3QiLCJwYXlsb2FkX3NpZ25hdHVyZSI6ImEyMzMz"
         "NmY2MzYwMTk1ZmFkMzk2ZWY4ZmMyMWE2ZDQwYWRjZjk3N2ExNjE0ZjY2YzM4MWI3ZDljNDU2NThjZjkiLCJleHAiOjE3OTU5NDgyMDB9"
         ".GkoLoycgq159t4bl5sctqksuhjHkoDgrb6yxKIS9ysY"},
        b'{"object":"accounts-receivable/invoice","key":"88"}',
        ("accounts-receivable/invoice", "88"),
    ),
}  # fmt: skip
"""Secret, headers, body, and (type, record): signed by OpenSSL's command line (`openssl dgst -sha256 -hmac`),
put together with sha256sum and base64, so that no library of ours had a part in it."""


@pytest.mark.parametrize("case", BY_OPENSSL)
def test_what_openssl_signed_is_taken(case: str) -> None:
    secret, headers, body, expected = BY_OPENSSL[case]
    sender = replace(SENDERS[case], secret=secret)
    install(sender)
    delivery = Delivery("POST", ADDRESS, headers, body, NOW)
    (hint,) = sender.receiver().receive(delivery).hints
    assert (hint.type, hint.record_id) == expected
    if sender.signs_body:
        assert refused(sender, replace(delivery, body=body.replace(b"8", b"9", 1) + b" ")) is Why.AUTHENTICITY
    if sender.signs_time:
        assert refused(sender, replace(delivery, at=NOW + timedelta(hours=3))) is Why.TIME


def test_the_example_of_standard_webhooks() -> None:
    """The specification's reference libraries share this vector."""
    sender = SENDERS["standard-webhooks"]
    install(sender)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1a,xxxx v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    at = datetime.fromtimestamp(1614265330, UTC)
    delivery = Delivery("POST", ADDRESS, headers, b'{"test": 2432232314}', at)
    assert refused(sender, delivery) is Why.FORM, "authentic, and without a type"
    assert refused(sender, replace(delivery, at=at + timedelta(minutes=6))) is Why.TIME
    assert refused(sender, replace(delivery, at=at - timedelta(minutes=6))) is Why.TIME
    assert refused(sender, replace(delivery, body=b'{"test": 2432232315}')) is Why.AUTHENTICITY


def test_a_secret_of_standard_webhooks_that_is_none_is_our_fault() -> None:
    sender = replace(SENDERS["standard-webhooks"])
    delivery = sender.delivery()
    install(replace(sender, secret="whsec_***"))
    with pytest.raises(Unauthorised):
        sender.receiver().receive(delivery)


def test_asanas_handshake_is_answered_only_while_it_is_expected() -> None:
    asana = SENDERS["asana"]
    install(asana)
    offered = Delivery("POST", ADDRESS, {"x-hook-secret": "b537207f20cbfa02357cf448134da559"}, b"", NOW)
    assert refused(asana, offered) is Why.AUTHENTICITY
    open_ = replace(asana, options={"handshake": True})
    taken = open_.receiver().receive(offered)
    assert taken.hints == ()
    assert taken.answer.headers == {"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"}
    for bad in ("", "a b", "a\r\nSet-Cookie: x=y", "x" * 300):
        assert refused(open_, replace(offered, headers={"x-hook-secret": bad})) is Why.AUTHENTICITY
    # What follows is signed as always.
    assert refused(open_, asana.delivery(secret="other")) is Why.AUTHENTICITY


def test_asanas_heartbeat_is_answered_and_brings_nothing() -> None:
    beat = replace(SENDERS["asana"], body=b'{"events":[]}')
    install(beat)
    assert beat.receiver().receive(beat.delivery()).hints == ()
    assert refused(beat, beat.delivery(secret="other")) is Why.AUTHENTICITY


def test_mondays_challenge_is_answered_only_while_it_is_expected() -> None:
    monday = SENDERS["monday"]
    install(monday)
    challenge = Delivery(
        "POST", ADDRESS, {}, b'{"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}', NOW
    )
    assert refused(monday, challenge) is Why.AUTHENTICITY
    open_ = replace(monday, options={"audience": ADDRESS, "handshake": True})
    assert json.loads(open_.receiver().receive(challenge).answer.body) == json.loads(challenge.body)
    assert refused(open_, replace(challenge, body=monday.body)) is Why.AUTHENTICITY, (
        "events are always signed"
    )


def _claims(sender: Sender) -> dict[str, Any]:
    (name,) = [n for n in sender.delivery().headers if n in ("authorization", "x-ia-sage-signature")]
    options: Any = {"verify_signature": False, "verify_exp": False}
    return dict(jwt.decode(sender.delivery().headers[name], options=options))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("case", ["monday", "sage-intacct"])
def test_a_tokens_issuer_audience_and_algorithm_are_fixed(case: str) -> None:
    sender = SENDERS[case]
    install(sender)
    name = {"monday": "authorization", "sage-intacct": "x-ia-sage-signature"}[case]
    good = _claims(sender)

    def with_token(claims: dict[str, Any], algorithm: str = "HS256", key: Any = SECRET) -> Delivery:
        return replace(sender.delivery(), headers={name: jwt.encode(claims, key, algorithm=algorithm)})

    assert sender.receiver().receive(with_token(good)).hints
    bad = [
        with_token(good, "HS512"),
        with_token(good, "none", None),
        with_token({key: value for key, value in good.items() if key != "exp"}),
        with_token({**good, "exp": int(NOW.timestamp()) - 3600}),
        with_token({**good, "nbf": int(NOW.timestamp()) + 3600}),
        with_token({**good, "exp": "soon"}),
        with_token({**good, "exp": True}),
    ]
    if case == "monday":
        bad += [with_token({**good, "aud": "https://elsewhere.example"})]
    else:
        bad += [with_token({**good, "iss": "Sage"}), with_token({**good, "payload_signature": "0" * 64})]
        bad += [with_token({**good, "payload_signature": 5})]
    for delivery in bad:
        assert refused(sender, delivery) in (Why.AUTHENTICITY, Why.TIME)


def test_hubspots_signature_covers_method_and_address() -> None:
    hubspot = SENDERS["hubspot"]
    install(hubspot)
    delivery = hubspot.delivery()
    for change in (
        replace(delivery, method="PUT"),
        replace(delivery, url=delivery.url.replace("https", "http")),
        replace(delivery, url=delivery.url.replace("hooks.acme", "hooks.evil")),
        replace(delivery, url=delivery.url + "&x=1"),
    ):
        assert refused(hubspot, change) is Why.AUTHENTICITY
    old = hubspot.delivery(sent=NOW - timedelta(seconds=301))
    assert refused(hubspot, old) is Why.TIME
    assert hubspot.receiver().receive(hubspot.delivery(sent=NOW - timedelta(seconds=299))).hints


def test_an_outbound_message_is_acknowledged_as_salesforce_expects() -> None:
    sender = SENDERS["salesforce-outbound-message"]
    install(sender)
    taken = sender.receiver().receive(sender.delivery())
    assert b"<Ack>true</Ack>" in taken.answer.body
    assert taken.answer.content_type.startswith("text/xml")
    assert taken.hints[0].fields["StageName"] == "Closed Won"
    foreign = OUTBOUND.replace(b"00DgK0000000001UAA", b"00DgK0000000009UAA")
    assert refused(sender, sender.delivery(body=foreign)) is Why.FORM
    bomb = OUTBOUND.replace(b"<soapenv:Envelope", b'<!DOCTYPE x [<!ENTITY a "b">]><soapenv:Envelope', 1)
    assert refused(sender, sender.delivery(body=bomb)) is Why.FORM


def test_a_cloud_events_signature_belongs_to_its_event() -> None:
    binary = SENDERS["cloudevents binary"]
    install(binary)
    delivery = binary.delivery()
    changed = {**delivery.headers, "ce-id": "ev-2"}
    assert refused(binary, replace(delivery, headers=changed)) is Why.AUTHENTICITY
    for name, value in (("ce-specversion", "0.3"), ("ce-time", "yesterday"), ("ce-source", ""),
                        ("ce-type", ""),
                        ("content-type", "application/cloudevents-batch+json")):  # fmt: skip
        assert refused(binary, replace(delivery, headers={**delivery.headers, name: value})) is Why.FORM


def test_configuration_holds_no_secret_and_no_unknown_key() -> None:
    for kind in KINDS:
        model = receiver_class(kind)
        with pytest.raises(ValueError, match="a secret is not written here"):
            model.model_validate({"secrets": ["plain"], **SENDERS.get(kind, SENDERS["jira"]).options})
        with pytest.raises(ValueError, match="at most 2"):
            model.model_validate({"secrets": [{"env": "A"}] * 3})


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRUEUP_TEST_HOOK_SECRET", "TRUEUP_TEST_HOOK_SECRET_NEXT"):
        monkeypatch.setenv(name, "")
