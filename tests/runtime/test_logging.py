from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr
from temporalio.exceptions import ApplicationError

from runtime.logging import MASK, TEXT_LIMIT, configure, correlated, logger, redact, redact_text
from runtime.sections import LogFormat, LoggingSection

LOGGERS = ("temporalio", "temporalio.workflow", "temporalio.activity", "httpx", "httpcore", "asyncio")
SECRET = "hunter2-geheim"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    level = root.level
    yield
    from runtime import logging as ours

    while ours._installed:
        root.removeHandler(ours._installed.pop())
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(**section: Any) -> io.StringIO:
    stream = io.StringIO()
    configure(LoggingSection(**section), stream)
    return stream


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {TOKEN}",
        f"Basic {SECRET}==",
        f'OAuth realm="1234", oauth_token="{SECRET}", oauth_signature="{SECRET}"',
        f"https://api.example/x?access_token={SECRET}&page=2",
        f"client_secret={SECRET}",
        f'{{"refresh_token": "{SECRET}", "x": 1}}',
        f"{{'password': '{SECRET}'}}",
        f"postgresql://trueup:{SECRET}@db/trueup",
        f"jwt was {TOKEN} there",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"api_key: {SECRET}",
        f"'client-secret' : '{SECRET}, {SECRET}'",
        f"assertion={TOKEN}",
    ],
)
def test_texts_lose_their_secrets(text: str) -> None:
    clean = redact_text(text)
    assert SECRET not in clean
    assert TOKEN not in clean
    assert MASK in clean


@pytest.mark.parametrize(
    "text",
    [
        "project PRJ-0001 opened in netsuite-emea",
        "no token was sent",
        "https://api.example/x?page=2",
        "o2p:emea:sf-main:0065g00000X",
        "tu-create-customer-acme-g1-1-0a1b2c3d4e5f",
        "basic plan",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.timeout(20)
def test_a_long_text_takes_linear_time() -> None:
    for text in ("x" * 1_000_000, "token" * 200_000, "eyJ" * 300_000, "a:" * 500_000, "Bearer " * 100_000):
        redact_text(text)


def test_structures_lose_their_secrets_at_every_depth() -> None:
    class Credentials(BaseModel):
        user: str
        password: SecretStr
        headers: dict[str, str] = {}

    value = {
        "Authorization": SECRET,
        "nested": [{"x-api-key": SECRET, "page": 2}, (f"Bearer {SECRET}",)],
        "model": Credentials(user="ada", password=SecretStr(SECRET), headers={"Cookie": SECRET}),
        "wrapped": SecretStr(SECRET),
        "raw": f"token={SECRET}".encode(),
        "error": ValueError(f"password={SECRET}"),
        "access_token": None,
        "count": 3,
    }
    clean = redact(value)
    assert SECRET not in str(clean)
    assert clean["nested"][0]["page"] == 2
    assert clean["model"]["user"] == "ada"
    assert clean["access_token"] is None, "that a secret is absent may be seen"
    assert clean["count"] == 3


def test_our_events_are_json_with_correlation() -> None:
    stream = configured(format=LogFormat.JSON)
    with correlated(saga_id="o2p:emea:sf-main:1", step="open_project", trace_id=None):
        logger("trueup.test").info("sent", system="netsuite-emea", token=SECRET)
    logger("trueup.test").info("after")
    first, second = lines(stream)
    assert first["event"] == "sent"
    assert first["level"] == "info"
    assert first["logger"] == "trueup.test"
    assert first["timestamp"].endswith("Z")
    assert (first["saga_id"], first["step"], first["system"]) == (
        "o2p:emea:sf-main:1",
        "open_project",
        "netsuite-emea",
    )
    assert first["token"] == MASK
    assert "trace_id" not in first
    assert "saga_id" not in second


def test_libraries_events_pass_the_same_way() -> None:
    stream = configured(format=LogFormat.JSON)
    log = logging.getLogger("somebody.else")
    log.warning(
        "GET %s", f"https://x.example/?access_token={SECRET}", extra={"headers": {"Authorization": SECRET}}
    )
    [line] = lines(stream)
    assert SECRET not in stream.getvalue()
    assert line["logger"] == "somebody.else"
    assert line["headers"] == {"Authorization": MASK}


def test_a_stack_trace_is_short_and_without_secrets() -> None:
    def deep(level: int) -> None:
        if level == 0:
            raise ValueError(f"password={SECRET} " + "x" * 10_000)
        deep(level - 1)

    stream = configured(format=LogFormat.JSON)
    try:
        deep(50)
    except ValueError:
        logging.getLogger("temporalio.activity").warning("Completing activity as failed", exc_info=True)
    [line] = lines(stream)
    assert SECRET not in stream.getvalue()
    assert "in deep" in line["exception"]
    assert len(stream.getvalue()) < 2 * TEXT_LIMIT


def test_a_failure_raised_on_purpose_is_one_sentence() -> None:
    stream = configured(format=LogFormat.JSON)
    try:
        raise ApplicationError(f"NetSuite refused: token={SECRET}", type="repair")
    except ApplicationError:
        logging.getLogger("temporalio.activity").warning("Completing activity as failed", exc_info=True)
    [line] = lines(stream)
    assert (line["failure"], line["failure_type"]) == (f"NetSuite refused: token={MASK}", "repair")
    assert "exception" not in line


def test_what_workflows_and_activities_log_is_ours() -> None:
    stream = configured(format=LogFormat.JSON, level="INFO", sdk_level="ERROR")
    logging.getLogger("temporalio.activity").info("sent")
    logging.getLogger("temporalio.workflow").info("step done")
    assert [line["event"] for line in lines(stream)] == ["sent", "step done"]


def test_the_sdks_context_becomes_our_fields() -> None:
    stream = configured(format=LogFormat.JSON)
    logging.getLogger("temporalio.activity").warning(
        "slow",
        extra={"temporal_activity": {"workflow_id": "o2p:x", "attempt": 3, "activity_type": "erp.open"}},
    )
    [line] = lines(stream)
    assert (line["saga_id"], line["attempt"], line["activity"]) == ("o2p:x", 3, "erp.open")
    assert "temporal_activity" not in line


def test_levels() -> None:
    stream = configured(format=LogFormat.JSON, level="INFO", sdk_level="ERROR")
    logging.getLogger("temporalio.worker").warning("noise")
    logging.getLogger("httpx").info("HTTP Request: GET https://...")
    logger("trueup").debug("detail")
    logger("trueup").info("kept")
    assert [line["event"] for line in lines(stream)] == ["kept"]


def test_people_read_plain_lines() -> None:
    stream = configured(format=LogFormat.CONSOLE)
    logger("trueup").info("sent", system="netsuite-emea")
    assert "sent" in stream.getvalue()
    assert "system=netsuite-emea" in stream.getvalue()
    assert "\x1b" not in stream.getvalue(), "no colours where there is no terminal"


def test_without_a_terminal_auto_means_json() -> None:
    stream = configured()
    logger("trueup").info("sent")
    assert lines(stream)[0]["event"] == "sent"


def test_configuring_twice_writes_once(tmp_path: Any) -> None:
    first = configured(format=LogFormat.JSON)
    file = tmp_path / "logs" / "trueup.log"
    configure(LoggingSection(format=LogFormat.JSON, file=file))
    logger("trueup").info("Größe", amount="12.50")
    assert first.getvalue() == ""
    assert json.loads(file.read_text(encoding="utf-8"))["event"] == "Größe"
