"""Kantata: what every connector must survive, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from canonical.failures import (
    Conflict,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SystemFailure,
    Transient,
    Unauthorised,
)
from canonical.writes import Landed, UndoResult, VendorWrite, resolve_write
from connectors.kantata.client import Envelope
from connectors.kit.secrets import Secret
from tests.acceptance.kantata import SECRET, Subject

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    one = Subject()
    yield one
    await one.close()


async def ensure(subject: Subject, write: VendorWrite) -> Landed:
    return await subject.connector.find(write) or await subject.connector.send(write)


async def test_create_is_idempotent_by_looking_first(subject: Subject) -> None:
    write = subject.create()
    first, second = await ensure(subject, write), await ensure(subject, write)
    assert first.id == second.id
    assert len(subject.records("workspace_groups")) == 1
    assert subject.record("workspace_groups", first.id)["name"] == "Ünïcödé 🚀 株式会社"


@pytest.mark.parametrize("kind", ["drop_after", "reset_mid_body", "error_after"])
async def test_a_lost_answer_is_an_unknown_outcome_and_the_record_is_found(
    subject: Subject, kind: str
) -> None:
    write = subject.create()
    subject.fault(kind, method="POST", path="workspace_groups")
    with pytest.raises(OutcomeUnknown) as failure:
        await subject.connector.send(write)
    assert failure.value.failure.key == write.key
    assert subject.fired() == 1
    found = await subject.connector.find(write)
    assert found is not None
    assert [found.id] == [str(row["id"]) for row in subject.records("workspace_groups")]


async def test_a_lost_answer_of_an_update_is_found_by_its_values(subject: Subject) -> None:
    write = await subject.update()
    assert await subject.connector.find(write) is None
    subject.fault("drop_after", method="PUT", path="workspaces")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(write)
    assert await subject.connector.find(write) is not None


@pytest.mark.parametrize(
    ("kind", "status"), [("error_before", 503), ("error_before", 500), ("drop_before", None)]
)
async def test_server_errors_retry_reads_and_leave_writes_unknown(
    subject: Subject, kind: str, status: int | None
) -> None:
    write, more = subject.create(), {"status": status} if status else {}
    subject.fault(kind, method="GET", path="workspace_groups", **more)
    with pytest.raises(Transient):
        await subject.connector.find(write)
    subject.fault(kind, method="POST", path="workspace_groups", **more)
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(write)
    assert subject.fired() == 2
    assert await subject.connector.find(write) is None


async def test_a_read_that_breaks_off_is_tried_again(subject: Subject) -> None:
    subject.fault("reset_mid_body", method="GET", path="workspace_groups")
    with pytest.raises(Transient):
        await subject.connector.find(subject.create())


async def test_a_system_that_cannot_be_reached_did_nothing() -> None:
    subject = Subject()
    write = subject.create()
    subject.running.stop()
    with pytest.raises(Transient) as failure:
        await subject.connector.send(write)
    assert failure.value.failure.key == write.key
    await subject.close()


@pytest.mark.parametrize(("named", "waits"), [(None, 20), (7, 7)])
async def test_rate_limits_with_and_without_retry_after(
    subject: Subject, named: int | None, waits: int
) -> None:
    subject.fault("rate_limit", path="workspace_groups", **({"retry_after": named} if named else {}))
    with pytest.raises(RateLimited) as failure:
        await subject.connector.send(subject.create())
    assert failure.value.failure.retry_after_seconds == waits
    assert subject.records("workspace_groups") == []


async def test_a_business_refusal_is_for_a_person(subject: Subject) -> None:
    subject.fault("business", path="workspace_groups", message="Name is not allowed")
    with pytest.raises(Refused, match="Name is not allowed") as failure:
        await subject.connector.send(subject.create())
    assert failure.value.failure.status == 422
    assert failure.value.failure.remedy


async def test_a_name_that_is_too_long_is_refused_and_not_cut(subject: Subject) -> None:
    setup = subject.setup()
    long = setup.project.milestones[0].model_copy(update={"title": "ż" * 300})
    values, _ = await subject.project(setup)
    write = subject.connector.plan_structure(subject.context(), subject.setup(milestones=(long,)))[-1]
    with pytest.raises(Refused, match=r"[Tt]itle"):
        await subject.connector.send(resolve_write(write, values))
    reference = await subject.connector.read_reference(templates=[], roles=[])
    assert len(long.title) > reference.limits["milestone.title"]


async def test_a_revoked_token_stops_at_once_and_a_new_one_needs_no_restart(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.fault("expired_token", path="workspace_groups")
    calls = len(subject.calls())
    with pytest.raises(Unauthorised):
        await subject.connector.find(subject.create())
    # Tokens do not expire: there is nothing to renew, hence exactly one call.
    assert len(subject.calls()) == calls + 1
    subject.configure(tokens=["rotated-token"])
    monkeypatch.setenv("KANTATA_TEST_TOKEN", "rotated-token")
    assert await subject.connector.find(subject.create()) is None


async def test_a_missing_secret_says_where_it_was_looked_for(subject: Subject) -> None:
    bare = subject.build(token=Secret(env="KANTATA_NOT_THERE"))
    with pytest.raises(Unauthorised, match="KANTATA_NOT_THERE"):
        await bare.find(subject.create())
    await bare.close()


async def test_undo_of_nothing_and_undo_twice(subject: Subject) -> None:
    write = subject.create()
    assert (await subject.connector.undo(write, Landed(id="424242"), None)).result is UndoResult.NOTHING_THERE
    landed = await subject.connector.send(write)
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.DELETED
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE
    assert await subject.connector.find(write) is None


async def test_undo_of_an_update_twice_and_of_nothing(subject: Subject) -> None:
    write = await subject.update()
    before = await subject.connector.before_image(write)
    landed = await subject.connector.send(write)
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.RESTORED
    sent = len(subject.writes())
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.RESTORED
    assert len(subject.writes()) == sent
    subject.vendor("DELETE", f"workspaces/{landed.id}")
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.NOTHING_THERE


async def test_an_undo_whose_answer_is_lost_is_finished_by_the_next_one(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    subject.fault("drop_after", method="DELETE", path="workspace_groups")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.undo(write, landed, None)
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE


@pytest.mark.parametrize("meanwhile", ["deleted", "inserted"])
async def test_paging_while_rows_shift(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    setup = subject.setup()
    values, _ = await subject.project(setup)
    project = int(subject.project_id(values, setup))
    stories = [{"title": f"S{n}", "story_type": "task", "workspace_id": project} for n in range(11)]
    subject.seed(stories=stories)
    client = subject.connector._client
    undisturbed, disturbances = client.slice, list[str]()

    async def disturbed(*args: Any, **kwargs: Any) -> Envelope:
        answer = await undisturbed(*args, **kwargs)
        if not disturbances:
            # All rows behind this part shift by at least one: some would be missed or read twice.
            first = str(answer.rows[0]["id"])
            disturbances.append(first)
            if meanwhile == "deleted":
                subject.vendor("DELETE", f"stories/{first}")
            else:
                body = {"title": "New", "story_type": "task", "workspace_id": project}
                subject.vendor("POST", "stories", {"story": body})
        return answer

    monkeypatch.setattr(client, "slice", disturbed)
    order = "created_at:asc" if meanwhile == "deleted" else "created_at:desc"
    query = {"workspace_id": str(project), "order": order}
    read = await client.list("stories", what="Paging", query=query, size=4)
    ids = [str(row["id"]) for row in read.rows]
    assert sorted(ids) == sorted(str(row["id"]) for row in subject.records("stories"))
    assert disturbances


async def test_a_list_that_never_settles_is_not_believed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = subject.connector._client
    subject.seed(roles=[{"name": f"Role {n}"} for n in range(6)])
    settled = client.slice

    async def shifting(*args: Any, **kwargs: Any) -> Envelope:
        answer = await settled(*args, **kwargs)
        answer.rows.reverse()
        return answer

    monkeypatch.setattr(client, "slice", shifting)
    with pytest.raises(Transient, match="faster than it could be read"):
        await client.list("roles", what="Paging", query={}, size=3)


async def test_the_token_is_in_no_failure_and_no_log(
    subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failures: list[SystemFailure] = []
    for fault in ({"kind": "error_before", "status": 500}, {"kind": "drop_before"}, {"kind": "business"}):
        subject.fault(**{"path": "workspace_groups", **fault})  # type: ignore[arg-type]
        with pytest.raises(SystemFailure) as failure:
            await subject.connector.send(subject.create())
        failures.append(failure.value)
    subject.configure(tokens=[])
    with pytest.raises(Unauthorised) as refused:
        await subject.connector.send(subject.create())
    failures.append(refused.value)
    told = " ".join(f"{one!r} {one} {one.failure!r} {one.__cause__!r}" for one in failures)
    told += "".join(record.getMessage() for record in caplog.records) + repr(subject.connector._settings)
    assert SECRET not in told
    assert len(failures) == 4


async def test_a_conflict_of_uniqueness_is_a_conflict(subject: Subject) -> None:
    subject.fault("business", path="workspace_groups", message="Name has already been taken")
    with pytest.raises(Conflict):
        await subject.connector.send(subject.create())


async def test_a_search_that_lags_is_only_silent_never_wrong(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    subject.fault("stale_read", method="GET", path="workspace_groups")
    assert await subject.connector.find(write) is None
    assert write.settle_seconds == 5
    found = await subject.connector.find(write)
    assert found is not None
    assert found.id == landed.id


async def test_a_filter_that_the_server_ignores_finds_nothing_foreign(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    subject.seed(workspace_groups=[{"name": "Somebody else's"}])
    client, returned = subject.connector._client, list[int]()
    filtered = client.list

    async def unfiltered(kind: str, *, what: str, query: dict[str, str]) -> Envelope:
        kept = {name: value for name, value in query.items() if not name.startswith("external_reference_")}
        answer = await filtered(kind, what=what, query=kept)
        returned.append(len(answer.rows))
        return answer

    monkeypatch.setattr(client, "list", unfiltered)
    found = await subject.connector.find(write)
    assert found is not None
    assert found.id == landed.id
    assert await subject.connector.find(write.model_copy(update={"stamp": "tu-another"})) is None
    assert returned == [2, 2]
