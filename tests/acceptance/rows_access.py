"""Rows about credentials, secrets and transport."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canonical.failures import SystemFailure, Transient, Unauthorised
from canonical.writes import VendorWrite
from connectors.ports import Writer
from simulators.kit.serve import throwaway_tls
from tests.acceptance.bench import Bench, logged, told
from tests.acceptance.rows import row


@row(
    "Expired token",
    "The vendor forgets the token. Where tokens can be renewed, one renewal and one repetition of the "
    "call do; "
    "where they cannot, the step stops at once.",
)
async def expired_token(bench: Bench) -> str:
    subject = bench.subject
    write = subject.create()
    assert await subject.connector.find(write) is None
    subject.fault("expired_token", method=subject.creating.method, path=subject.creating.path)
    if subject.token is None:
        before = len(subject.calls())
        with pytest.raises(Unauthorised):
            await subject.connector.send(write)
        assert len(subject.calls()) == before + 1, "nothing to renew: exactly one call"
        return "tokens cannot be renewed: stops at once"
    fetched = subject.token.seen(subject.calls())
    assert await bench.perform(write)
    assert subject.token.seen(subject.calls()) == fetched + 1
    assert subject.creating.seen(subject.calls()) == 2, "refused once, repeated once"
    assert len(subject.made(write)) == 1
    return "renewed once, call repeated once"


@row(
    "Secret rotated",
    "The secret is replaced at the vendor and where the settings point, and the old token dies: the running "
    "connector goes on.",
)
async def rotated_secret(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    assert await subject.connector.find(write) is None
    subject.rotate()
    assert await bench.perform(write)
    assert len(subject.made(write)) == 1
    return "used without a restart"


@row(
    "Refused credentials",
    "Wrong credentials: every call says so with a remedy, does not loop and does nothing; `trueup "
    "doctor` shows it.",
)
async def refused_credentials(bench: Bench) -> str:
    subject = bench.subject
    settings, _ = subject.wrong_credentials()
    wrong = subject.build(**settings)
    try:
        before = len(subject.calls())
        for attempt in (wrong.find, wrong.send):
            with pytest.raises(Unauthorised) as caught:
                await attempt(subject.create())
            assert caught.value.failure.remedy
        assert len(subject.calls()) - before <= 4, "no loop"
        checks = await wrong.check()
        assert any(check.state == "broken" for check in checks)
        assert all(check.remedy for check in checks if check.state == "broken")
    finally:
        await wrong.close()
    assert subject.made(subject.create()) == []
    return "re-authorise, with a remedy; nothing done"


@row(
    "Secrets stay secret",
    "Keys, passwords and tokens are in no log line (debug lines of the HTTP libraries included), no "
    "failure, no "
    "chained error, no printed setting and no printed connector, whatever goes wrong.",
)
async def secrets_absent(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    where = {"method": subject.creating.method, "path": subject.creating.path}
    faults = (
        {"kind": "drop_after", **where},
        {"kind": "error_before", "status": 400, **where},
        {"kind": "error_before", "status": 500, **where},
        {"kind": "business", **where},
        {"kind": "reset_mid_body", "method": subject.looking.method, "path": subject.looking.path},
        {"kind": "expired_token", "times": 9},
    )
    shown: list[str] = []
    with logged() as lines:
        assert await subject.connector.find(write) is None
        secrets = await subject.secrets()
        for fault in faults:
            subject.fault(**fault)
            with pytest.raises(SystemFailure) as caught:
                await _look_and_send(subject.connector, write)
            shown.append(told(caught.value))
        settings, wrong_secret = subject.wrong_credentials()
        wrong = subject.build(**settings)
        with pytest.raises(SystemFailure) as refused:
            await wrong.find(write)
        shown += [told(refused.value), repr(await wrong.check()), repr(await subject.connector.check())]
        await wrong.close()
    shown += [repr(subject.connector), repr(vars(subject.connector)), subject.shown_settings()]
    shown += [write.model_dump_json(), *lines]
    assert lines, "the HTTP libraries do log"
    assert all(len(secret) >= 8 for secret in secrets)
    leaks = [text[:200] for text in shown for secret in (*secrets, wrong_secret) if secret in text]
    assert leaks == []
    return "in no log, failure, setting or printed object"


@row(
    "TLS with an own authority",
    "The vendor's certificate comes from a throw-away authority. With `ca_file` the connector works over "
    "TLS; "
    "without it, and with another authority's file, it refuses the connection and sends nothing.",
)
async def own_authority(bench: Bench) -> str:
    tls, authority = throwaway_tls(bench.folder / "tls")
    _, stranger = throwaway_tls(bench.folder / "stranger")
    trusted = replace(bench.site, tls=tls, ca_file=authority)
    subject = await bench.move_to(trusted)
    assert subject.running.base_url.startswith("https://")
    write = subject.create()
    assert await bench.perform(write)
    assert len(subject.made(write)) == 1
    answered = len(subject.calls())
    for ca_file in (None, stranger):
        await _refuses(subject.build(ca_file=ca_file), write)
    assert len(subject.calls()) == answered
    return "works with `ca_file`; an unknown authority is refused, nothing sent"


async def _look_and_send(connector: Writer, write: VendorWrite) -> None:
    await connector.find(write)
    await connector.send(write)


async def _refuses(connector: Writer, write: VendorWrite) -> None:
    try:
        for attempt in (connector.find, connector.send):
            with pytest.raises(Transient) as caught:
                await attempt(write)
            assert "cannot be reached" in str(caught.value)
        assert any(check.state == "broken" for check in await connector.check())
    finally:
        await connector.close()
