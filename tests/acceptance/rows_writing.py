"""Rows about one record per create, unknown outcomes, undo and amendments."""

from __future__ import annotations

import pytest

from canonical.causes import Cause
from canonical.failures import Conflict, OutcomeUnknown, Transient
from canonical.writes import KeyStyle, UndoResult
from tests.acceptance.bench import Bench
from tests.acceptance.rows import row
from tests.support.moves import reading_of

_STYLE = {
    KeyStyle.NATIVE: "the vendor recognises the key",
    KeyStyle.STAMPED: "found by the stamp it carries",
    KeyStyle.GUARDED: "known from the ledger",
}


def _word(result: UndoResult) -> str:
    return result.value.replace("_", " ")


@row(
    "Idempotent create",
    "A create is made, looked for, and made again by two more attempts of the executor, one of them with a "
    "ledger that knows nothing: there is one record.",
)
async def idempotent_create(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    assert await subject.connector.find(write) is None
    assert await bench.perform(write)
    found = await subject.connector.find(write)
    assert found is not None
    assert await reading_of(subject.connector, write, found) == write.expect
    assert await bench.perform(write), "the ledger remembers who made it"
    await bench.forget()
    assert not await bench.perform(write), "without its row it is found and linked"
    assert len(subject.made(write)) == 1
    assert subject.creating.seen(subject.calls()) == 1, "it was sent once"
    return f"one record; {_STYLE[write.key_style]}"


@row(
    "Lost answer after commit",
    "The connection drops after the vendor has stored a create: the outcome is unknown, the next attempt "
    "finds "
    "the record and sends nothing.",
)
async def lost_answer(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    subject.fault("drop_after", method=subject.creating.method, path=subject.creating.path)
    with pytest.raises(OutcomeUnknown) as caught:
        await bench.perform(write)
    failure = caught.value.failure
    assert subject.fired() == 1
    assert (failure.key, failure.maybe_landed) == (write.key, True)
    assert await bench.perform(write), "what an unknown attempt left is ours"
    assert len(subject.made(write)) == 1
    assert subject.creating.seen(subject.calls()) == 1
    return "unknown, then found; sent once"


@row(
    "Lost answer of an update",
    "The same with an update: the next attempt sees that the record already shows our values.",
)
async def lost_answer_of_update(bench: Bench) -> str:
    subject, write = bench.subject, await bench.subject.an_update()
    assert await subject.connector.find(write) is None
    before = len(subject.writes())
    subject.fault("drop_after", method=write.method)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write)
    assert subject.fired() == 1
    await bench.perform(write)
    assert len(subject.writes()) == before + 1
    return "unknown, then recognised by its values"


@row(
    "Stale read after write",
    "After an unknown outcome the first look is answered from before the write. That is not believed: the "
    "executor looks again after the vendor's search delay, or sends again where the vendor itself recognises "
    "the key. There is one record.",
)
async def stale_read(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    assert await subject.connector.find(write) is None
    subject.fault("drop_after", method=subject.creating.method, path=subject.creating.path)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write)
    looks = {"method": subject.looking.method, "path": subject.looking.path}
    subject.fault("stale_read", **looks)
    await bench.perform(write)
    assert subject.fired() == 2
    assert len(subject.made(write)) == 1
    sent = subject.creating.seen(subject.calls())
    if write.settle_seconds:
        assert any(seconds >= write.settle_seconds for seconds in bench.slept), "it waited for the search"
        assert sent == 1
    if sent == 1:
        return "looks again later; sent once"
    assert write.key_style is KeyStyle.NATIVE, "only a vendor that honours the key may be sent it twice"
    assert sent == 2
    return "sent again under the same key: the same record"


@row("Undo of nothing", "The undo of a record that is not there, and of a step that never sent anything.")
async def undo_of_nothing(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    landed = await subject.connector.send(write)
    first = await subject.connector.undo(write, landed, None)
    assert first.result is UndoResult.DELETED
    written = len(subject.writes())
    nothing = await subject.connector.undo(write, landed, None)
    assert nothing.result is UndoResult.NOTHING_THERE
    assert (await bench.undo(write)).done == ()
    assert len(subject.writes()) == written
    # A record of one saga: its key is closed for good. One that sagas share: planned again, under a new key.
    with pytest.raises((Conflict, Transient)):
        await bench.perform(write)
    assert len(subject.writes()) == written, "a late attempt does not send"
    return f"{_word(nothing.result)}; a late attempt may not send"


@row(
    "Undo twice",
    "A create is undone twice, the first time with a lost answer; an update likewise.",
)
async def undo_twice(bench: Bench) -> str:
    subject, write = bench.subject, bench.subject.create()
    await bench.perform(write)
    subject.fault("drop_after", method=subject.deleting.method, path=subject.deleting.path)
    with pytest.raises(OutcomeUnknown):
        await bench.undo(write)
    assert subject.fired() == 1
    again = await bench.undo(write)
    assert [line.rpartition(": ")[2] for line in again.done] == ["nothing there"]
    assert (await bench.undo(write)).done == ()
    assert subject.made(write) == []

    update = await subject.an_update()
    before = await subject.connector.before_image(update)
    landed = await subject.connector.send(update)
    results = [await subject.connector.undo(update, landed, before) for _ in (1, 2)]
    assert [outcome.result for outcome in results] == [UndoResult.RESTORED] * 2
    assert await subject.connector.before_image(update) == before
    return "create: deleted, then nothing there; update: restored, then still restored"


@row(
    "Undo of a record somebody else changed",
    "Somebody at the client's changes what we wrote. An update is not put back and a create is not deleted: "
    "their work stays, and either a person decides or the record is taken out of use.",
)
async def undo_of_changed(bench: Bench) -> str:
    subject = bench.subject
    # Nothing refers to the record yet, so that nothing but the change stands in the way of deleting it.
    write = subject.create()
    made = await subject.connector.send(write)
    await subject.edit_created(made)
    cause, result = None, None
    try:
        result = (await subject.connector.undo(write, made, None)).result
    except Conflict as conflict:
        cause = conflict.failure.cause
    assert (cause, result) in ((Cause.CHANGED_BY_SOMEBODY, None), (None, UndoResult.INACTIVATED))
    word = "a person decides" if result is None else _word(result)
    (kept,) = subject.made(write)
    assert subject.name_of(kept) == "Renamed by somebody"

    subject = await bench.move_to(bench.site)
    update = await subject.an_update()
    before = await subject.connector.before_image(update)
    landed = await subject.connector.send(update)
    await subject.edit_updated(landed)
    theirs = await subject.connector.before_image(update)
    with pytest.raises(Conflict) as caught:
        await subject.connector.undo(update, landed, before)
    assert caught.value.failure.cause is Cause.CHANGED_BY_SOMEBODY
    assert caught.value.failure.remedy
    assert await subject.connector.before_image(update) == theirs
    return f"update: a person decides; create: {word}"


@row(
    "Amended input",
    "A create that landed is performed again with another title under the same key: the record is changed, "
    "not made a second time.",
)
async def amended(bench: Bench) -> str:
    subject = bench.subject
    first, second = await subject.own("First title"), await subject.own("Other title")
    assert (first.key, first.shared) == (second.key, None)
    await bench.perform(first)
    landed = await subject.connector.find(first)
    assert landed is not None
    assert subject.title_in(landed) == "First title"
    await bench.perform(second)
    changed = await subject.connector.find(second)
    assert changed is not None
    assert changed.id == landed.id
    assert subject.title_in(landed) == "Other title"
    assert await reading_of(subject.connector, second, landed) == second.expect
    written = len(subject.writes())
    await bench.perform(second)
    assert len(subject.writes()) == written, "the same form again changes nothing"
    return "changed in place; one record"
