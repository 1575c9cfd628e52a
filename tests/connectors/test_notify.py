"""Messages to people: their forms, webhooks over HTTP, mail over SMTP."""

from __future__ import annotations

import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from pydantic import ValidationError

from canonical.failures import RateLimited, Refused, SystemFailure, Transient, Unauthorised
from canonical.operations import HealthState, Notice
from connectors.kit.secrets import Secret
from connectors.notify import SmtpNotifier, WebhookNotifier
from connectors.notify.mapping import PAYLOADS, TEAMS_BYTES, mail, message_id, subject
from connectors.notify.settings import SmtpSettings, SmtpTls, WebhookForm, WebhookSettings
from connectors.ports import NotificationPort
from simulators.kit.serve import throwaway_tls

pytestmark = pytest.mark.anyio

SLACK = "https://hooks.slack.com/services/T000/B000/s3cr3tpath"
NOTICE = Notice(
    key="o2p:emea:sf:006.g1.notify",
    channel="pmo",
    subject="[PMO] Project P-1 created for R&D <東京>",
    facts={"Client": "R&D <東京>", "Value": "EUR 1,000.00"},
    link="https://psa.example/p/1",
)
CORRECTION = NOTICE.model_copy(update={"key": "k2", "correction_of": NOTICE.key})
PASSWORD = "mail-s3cret"


# --- forms ---------------------------------------------------------------------------------------------


def test_our_own_json_keeps_the_facts_in_order() -> None:
    body = PAYLOADS[WebhookForm.GENERIC](NOTICE)
    assert list(body["facts"]) == ["Client", "Value"]
    assert (body["key"], body["subject"], body["link"]) == (NOTICE.key, NOTICE.subject, NOTICE.link)
    assert "Client: R&D <東京>" in body["text"]


def test_slack_escapes_and_falls_back() -> None:
    body = PAYLOADS[WebhookForm.SLACK](NOTICE)
    assert body["text"] == "[PMO] Project P-1 created for R&amp;D &lt;東京&gt;"
    head, fields, context = body["blocks"]
    assert head["text"]["text"].endswith("<https://psa.example/p/1|Open>")
    assert fields["fields"][0] == {"type": "mrkdwn", "text": "*Client*\nR&amp;D &lt;東京&gt;"}
    assert NOTICE.key in context["elements"][0]["text"]


def test_slack_limits() -> None:
    many = NOTICE.model_copy(
        update={"facts": {f"F{n}": "x" * 5_000 for n in range(700)}, "subject": "s" * 9_000}
    )
    body = PAYLOADS[WebhookForm.SLACK](many)
    assert len(body["blocks"]) == 50
    assert body["blocks"][-1]["type"] == "context", "the key is never what is left out"
    assert all(len(block.get("fields", [])) <= 10 for block in body["blocks"])
    assert all(len(f["text"]) <= 2_000 for block in body["blocks"] for f in block.get("fields", []))
    assert len(body["text"]) == 3_000


def test_a_teams_card() -> None:
    body = PAYLOADS[WebhookForm.TEAMS](NOTICE)
    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert (body["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert card["body"][0]["text"] == NOTICE.subject
    assert card["body"][1]["facts"][0] == {"title": "Client", "value": "R&D <東京>"}
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open", "url": NOTICE.link}]


@pytest.mark.parametrize("form", list(WebhookForm))
def test_a_correction_says_what_it_corrects(form: WebhookForm) -> None:
    shown = json.dumps(PAYLOADS[form](CORRECTION), ensure_ascii=False)
    assert "CORRECTION: [PMO]" in shown
    assert NOTICE.key in shown


def test_a_correction_is_said_once() -> None:
    said = CORRECTION.model_copy(update={"subject": "CORRECTION - project P-1 was rolled back"})
    assert subject(said) == "CORRECTION - project P-1 was rolled back"


def test_mail_is_the_same_in_every_repetition_and_threads_its_correction() -> None:
    first = mail(NOTICE, "t@x.example", ("a@x.example", "b@x.example"), "x.example")
    assert first["Message-ID"] == mail(NOTICE, "t@x.example", ("a@x.example",), "x.example")["Message-ID"]
    second = mail(CORRECTION, "t@x.example", ("a@x.example",), "x.example")
    assert (
        second["In-Reply-To"]
        == second["References"]
        == first["Message-ID"]
        == message_id(NOTICE.key, "x.example")
    )
    assert second["Message-ID"] != first["Message-ID"]
    page = first.get_body(("html",))
    assert page is not None
    assert "R&amp;D &lt;東京&gt;" in page.get_content()


def test_a_line_break_in_a_subject_adds_no_header() -> None:
    evil = NOTICE.model_copy(update={"subject": "x\r\nBcc: all@x.example", "key": "k\r\nBcc: y"})
    message = mail(evil, "t@x.example", ("a@x.example",), "x.example")
    assert message["Bcc"] is None
    assert message["Subject"] == "x Bcc: all@x.example"


# --- webhooks ------------------------------------------------------------------------------------------


@pytest.fixture
async def slack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WebhookNotifier]:
    monkeypatch.setenv("HOOK", SLACK)
    notifier = WebhookNotifier("slack", WebhookSettings(form=WebhookForm.SLACK, url=Secret(env="HOOK")))
    yield notifier
    await notifier.close()


async def test_a_message_goes_out(slack: WebhookNotifier, respx_mock: respx.MockRouter) -> None:
    port: NotificationPort = slack
    route = respx_mock.post(SLACK).respond(200, text="ok")
    ref = await port.notify(NOTICE)
    assert (ref.system, ref.type, ref.id) == ("slack", "message", NOTICE.key)
    assert json.loads(route.calls.last.request.content) == PAYLOADS[WebhookForm.SLACK](NOTICE)
    assert "Authorization" not in route.calls.last.request.headers


async def test_channels_have_addresses_of_their_own(
    monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    monkeypatch.setenv("OPS", "https://flow.acme.example/ops")
    monkeypatch.setenv("TOKEN", "Bearer abc")
    settings = WebhookSettings(channels={"operations": Secret(env="OPS")}, authorization=Secret(env="TOKEN"))
    notifier = WebhookNotifier("flow", settings)
    route = respx_mock.post("https://flow.acme.example/ops").respond(202)
    await notifier.notify(NOTICE.model_copy(update={"channel": "operations"}))
    assert route.calls.last.request.headers["Authorization"] == "Bearer abc"
    with pytest.raises(Refused, match="'pmo' has no address"):
        await notifier.notify(NOTICE)
    await notifier.close()


@pytest.mark.parametrize(("status", "text", "kind"), [
    (400, "invalid_payload", Refused), (403, "invalid_token", Refused), (404, "no_service", Refused),
    (410, "channel_is_archived", Refused), (302, "", Refused), (401, "", Refused), (418, "teapot", Refused),
    (500, "rollup_error", Transient), (502, "<html>bad gateway</html>", Transient), (429, "", RateLimited),
])  # fmt: skip
async def test_refusals(
    slack: WebhookNotifier, respx_mock: respx.MockRouter, status: int, text: str, kind: type[SystemFailure]
) -> None:
    respx_mock.post(SLACK).respond(status, text=text, headers={"Location": "https://evil.example/"})
    with pytest.raises(kind) as caught:
        await slack.notify(NOTICE)
    if kind is RateLimited:
        assert caught.value.failure.retry_after_seconds == 30
    if kind is Refused:
        assert caught.value.failure.remedy
    assert len(respx_mock.calls) == 1, "not followed elsewhere, not repeated"


async def test_429_waits_as_told(slack: WebhookNotifier, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(SLACK).respond(429, headers={"Retry-After": "3"})
    with pytest.raises(RateLimited) as caught:
        await slack.notify(NOTICE)
    assert caught.value.failure.retry_after_seconds == 3


async def test_the_words_of_teams(monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter) -> None:
    url = "https://prod-1.westeurope.logic.azure.com/workflows/x/triggers/manual/paths/invoke?sig=abc"
    monkeypatch.setenv("HOOK", url)
    teams = WebhookNotifier("teams", WebhookSettings(form=WebhookForm.TEAMS, url=Secret(env="HOOK")))
    body = {"error": {"code": "WorkflowNotFound", "message": "gone"}}
    respx_mock.post(url).respond(404, json=body)
    with pytest.raises(Refused) as caught:
        await teams.notify(NOTICE)
    assert caught.value.failure.vendor_code == "WorkflowNotFound"
    huge = NOTICE.model_copy(update={"facts": {f"F{n}": "x" * 1_000 for n in range(40)}})
    with pytest.raises(Refused, match=str(TEAMS_BYTES)):
        await teams.notify(huge)
    assert len(respx_mock.calls) == 1, "a card that would vanish is not sent"
    await teams.close()


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")]
)
async def test_a_broken_connection_is_tried_again(
    slack: WebhookNotifier, respx_mock: respx.MockRouter, error: httpx.HTTPError
) -> None:
    respx_mock.post(SLACK).mock(side_effect=error)
    with pytest.raises(Transient):
        await slack.notify(NOTICE)


async def test_the_address_never_shows(
    slack: WebhookNotifier, respx_mock: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    route = respx_mock.post(SLACK).respond(200, text="ok")
    await slack.notify(NOTICE)
    route.respond(404, text="no_team")
    with pytest.raises(Refused) as caught:
        await slack.notify(NOTICE)
    shown = caplog.text + caught.value.failure.model_dump_json() + repr(slack.settings)
    shown += "".join(check.model_dump_json() for check in await slack.check())
    assert "https://hooks.slack.com/***" in shown, "the log line is there, masked"
    assert "s3cr3tpath" not in shown


@pytest.mark.parametrize(("form", "url", "words"), [
    ("slack", "http://hooks.slack.com/x", "is not https"),
    ("slack", "https://evil.example/hooks.slack.com", "is not at a host of slack"),
    ("teams", "https://evillogic.azure.com.example/x", "is not at a host of teams"),
    ("teams", "https://acme.webhook.office.com/x", "is not at a host of teams"),
    ("generic", "http://127.0.0.1:1/x", "is on this machine"),
    ("generic", "https://localhost/x", "is on this machine"),
    ("generic", "hooks/x", "is not an address"),
    ("generic", "https://[broken", "is not an address"),
])  # fmt: skip
async def test_addresses_that_are_not_the_receivers(
    monkeypatch: pytest.MonkeyPatch, form: str, url: str, words: str
) -> None:
    monkeypatch.setenv("HOOK", url)
    notifier = WebhookNotifier("hook", WebhookSettings(form=WebhookForm(form), url=Secret(env="HOOK")))
    with pytest.raises(Refused, match=words) as caught:
        await notifier.notify(NOTICE)
    assert url not in str(caught.value)
    (check,) = await notifier.check()
    assert (check.state, bool(check.remedy)) == (HealthState.BROKEN, True)
    await notifier.close()


async def test_hosts_can_be_added_and_loopback_allowed(
    monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    monkeypatch.setenv("HOOK", "https://slack.proxy.acme.example/x")
    settings = WebhookSettings(form=WebhookForm.SLACK, url=Secret(env="HOOK"), hosts=(".acme.example",))
    notifier = WebhookNotifier("hook", settings)
    (check,) = await notifier.check()
    assert check.state is HealthState.OK
    assert len(respx_mock.calls) == 0, "checking sends nothing"
    await notifier.close()
    monkeypatch.setenv("HOOK", "http://127.0.0.1:8099/x")
    local = WebhookNotifier("sim", settings.model_copy(update={"allow_loopback": True}))
    respx_mock.post("http://127.0.0.1:8099/x").respond(200)
    await local.notify(NOTICE)
    await local.close()


async def test_a_missing_secret_is_named(slack: WebhookNotifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK")
    with pytest.raises(Unauthorised, match="HOOK"):
        await slack.notify(NOTICE)
    (check,) = await slack.check()
    assert check.state is HealthState.BROKEN


def test_webhook_settings_need_an_address() -> None:
    with pytest.raises(ValidationError, match="say url"):
        WebhookSettings()
    with pytest.raises(ValidationError, match="a secret is not written here"):
        WebhookSettings.model_validate({"url": SLACK})


# --- mail ----------------------------------------------------------------------------------------------


class Box:
    """What the mail server takes, and what it answers."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.data = "250 OK"
        self.rcpt: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data.startswith("250"):
            self.mails.append(envelope)
        return self.data


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def port(box: Box) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=number)
    controller.start()
    yield number
    controller.stop()


def smtp(port: int, **more: Any) -> SmtpNotifier:
    values: dict[str, Any] = {
        "host": "127.0.0.1", "port": port, "tls": SmtpTls.NONE, "sender": "trueup@acme.example",
        "recipients": ("pmo@acme.example", "ops@acme.example"), "timeout_seconds": 5, **more,
    }  # fmt: skip
    return SmtpNotifier("mail", SmtpSettings(**values))


async def test_a_mail_goes_out(port: int, box: Box) -> None:
    notifier: NotificationPort = smtp(port)
    ref = await notifier.notify(NOTICE)
    await notifier.notify(NOTICE)
    first, second = (
        message_from_bytes(bytes(e.original_content or b""), policy=policy.default) for e in box.mails
    )
    assert ref.id == first["Message-ID"] == second["Message-ID"]
    assert first["Subject"] == NOTICE.subject
    assert box.mails[0].rcpt_tos == ["pmo@acme.example", "ops@acme.example"]
    assert first.is_multipart()
    assert [check.state for check in await notifier.check()] == [HealthState.OK]
    assert len(box.mails) == 2, "checking sends nothing"


async def test_channels_have_recipients_of_their_own(port: int, box: Box) -> None:
    await smtp(port, channels={"pmo": ("boss@acme.example",)}).notify(NOTICE)
    assert box.mails[0].rcpt_tos == ["boss@acme.example"]
    with pytest.raises(Refused, match="has no recipients"):
        await smtp(port, recipients=(), channels={"other": ("x@acme.example",)}).notify(NOTICE)


@pytest.mark.parametrize(
    ("answer", "kind"), [("451 later", Transient), ("421 busy", Transient), ("552 size", Refused)]
)
async def test_the_servers_refusals(port: int, box: Box, answer: str, kind: type[SystemFailure]) -> None:
    box.data = answer
    with pytest.raises(kind) as caught:
        await smtp(port).notify(NOTICE)
    assert caught.value.failure.vendor_code == answer[:3]
    box.data = "250 OK"
    await smtp(port).notify(NOTICE)


async def test_some_recipients_refused(port: int, box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.rcpt = {"ops@acme.example": "550 unknown"}
    await smtp(port).notify(NOTICE)
    assert "1 of 2 recipients" in caplog.text
    assert "ops@acme.example" not in caplog.text


@pytest.mark.parametrize(("one", "kind"), [("450 greylisted", Transient), ("550 unknown", Refused)])
async def test_all_recipients_refused(port: int, box: Box, one: str, kind: type[SystemFailure]) -> None:
    box.rcpt = {"ops@acme.example": "550 unknown", "pmo@acme.example": one}
    with pytest.raises(kind):
        await smtp(port).notify(NOTICE)
    assert box.mails == []


async def test_a_mail_server_that_is_away() -> None:
    notifier = smtp(9)
    with pytest.raises(Transient):
        await notifier.notify(NOTICE)
    (check,) = await notifier.check()
    assert (check.state, bool(check.remedy)) == (HealthState.BROKEN, True)


async def test_no_password_without_encryption(port: int, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL", PASSWORD)
    notifier = smtp(port, tls=SmtpTls.STARTTLS, username="trueup", password=Secret(env="MAIL"))
    with pytest.raises(Refused, match="does not offer"):
        await notifier.notify(NOTICE)
    assert box.mails == []


async def test_starttls_and_login(
    tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MAIL", PASSWORD)
    (chain, key), authority = throwaway_tls(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)

    def login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    controller = Controller(
        box, hostname="127.0.0.1", port=number, tls_context=context, require_starttls=True,
        authenticator=login, auth_required=True,
    )  # fmt: skip
    controller.start()
    try:
        more: dict[str, Any] = {"tls": SmtpTls.STARTTLS, "username": "trueup", "password": Secret(env="MAIL")}
        await smtp(number, ca_file=authority, **more).notify(NOTICE)
        assert len(box.mails) == 1
        with pytest.raises(Transient):
            await smtp(number, **more).notify(NOTICE)  # an unknown authority is not trusted
        monkeypatch.setenv("MAIL", "wrong-" + PASSWORD)
        with pytest.raises(Unauthorised) as caught:
            await smtp(number, ca_file=authority, **more).notify(NOTICE)
        assert PASSWORD not in str(caught.value)
        (check,) = await smtp(number, ca_file=authority, **more).check()
        assert (check.state, bool(check.remedy)) == (HealthState.BROKEN, True)
    finally:
        controller.stop()
    assert len(box.mails) == 1


@pytest.mark.parametrize("bad", [
    {"tls": "none", "host": "smtp.acme.example"}, {"username": "x"}, {"sender": "nobody"},
    {"sender": "a@b.example\r\nBcc: x@y.example"}, {"recipients": ()}, {"channels": {"pmo": ()}}, {"port": 0},
])  # fmt: skip
def test_mail_settings_refuse_what_cannot_work(bad: dict[str, Any]) -> None:
    good = {"host": "127.0.0.1", "sender": "a@b.example", "recipients": ("c@d.example",)}
    assert SmtpSettings.model_validate(good).domain == "b.example"
    with pytest.raises(ValidationError):
        SmtpSettings.model_validate({**good, **bad})


def test_digests_follow_where_messages_go() -> None:
    one = smtp(1)
    assert one.mapping_digest == smtp(2).mapping_digest
    assert one.mapping_digest != smtp(1, recipients=("x@y.example",)).mapping_digest
