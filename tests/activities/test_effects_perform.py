"""Performing writes: claimed, looked for, sent once, proven, recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.failures import Conflict, Defect, OutcomeUnknown, Refused, Transient
from canonical.writes import VendorWrite, symbol
from ledger.rows import EffectState
from tests.activities.fakes import LEASE, SAGA, Bench, Record, create, ref, update

pytestmark = pytest.mark.anyio


async def test_a_first_write_is_looked_for_sent_once_and_recorded(bench: Bench) -> None:
    write = create()
    done = await bench.perform(write)
    assert bench.vendor.calls == ["find", "send"]
    assert done.values == {"project:006A.NL01.EUR.id": "101", "project:006A.NL01.EUR.code": "P101"}
    assert [str(record) for record in done.records] == ["erp/job/101"]
    row = await bench.ledger.effect(write.key)
    assert row is not None
    assert (row.state, row.created_by_us, row.attempts) == (EffectState.DONE, True, 1)
    links = await bench.ledger.links_of("project", "006A.NL01.EUR", system="erp")
    assert [link.record.id for link in links] == ["101"]


async def test_done_answers_without_any_call(bench: Bench) -> None:
    await bench.perform(create())
    calls = list(bench.vendor.calls)
    done = await bench.perform(create())
    assert bench.vendor.calls == calls
    assert done.values["project:006A.NL01.EUR.code"] == "P101"
    assert [str(record) for record in done.records] == ["erp/job/101"]


async def test_later_writes_use_what_earlier_ones_made(bench: Bench) -> None:
    first = create("a")
    second = create(
        "b", ordinal=2, body={"companyName": "b", "parent": symbol("project:a")}, sets={
            "companyName": "project.title", "parent": "project.client",
        },
    )  # fmt: skip
    await bench.perform(first, second)
    assert bench.vendor.records["102"].fields == {"companyName": "b", "parent": "101"}


async def test_values_of_earlier_steps_are_filled_in_and_only_new_ones_returned(bench: Bench) -> None:
    write = create(body={"companyName": symbol("client:001X", "name")})
    done = await bench.perform(write, values={"client:001X.name": "Northwind"})
    assert bench.vendor.records["101"].fields == {"companyName": "Northwind"}
    assert sorted(done.values) == ["project:006A.NL01.EUR.code", "project:006A.NL01.EUR.id"]


async def test_a_write_that_nothing_gives_a_value_for_is_a_defect_and_not_sent(bench: Bench) -> None:
    with pytest.raises(Defect, match=r"nothing gives a value for nobody\.id") as ours:
        await bench.perform(create("a"), create("b", ordinal=2, body={"companyName": symbol("nobody")}))
    assert ours.value.failure.maybe_landed
    assert [str(record) for record in ours.value.failure.survivors] == ["erp/job/101"]
    assert [record.fields["companyName"] for record in bench.vendor.live] == ["Northwind"]


async def test_a_lost_answer_is_found_and_not_sent_again(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown) as lost:
        await bench.perform(create())
    assert lost.value.failure.maybe_landed
    done = await bench.perform(create())
    assert bench.vendor.count("send") == 1
    assert done.values["project:006A.NL01.EUR.id"] == "101"
    row = await bench.ledger.effect(create().key)
    assert row is not None
    assert row.created_by_us


async def test_a_write_that_never_arrived_is_sent_again_after_looking(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.never_hears_it)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(create())
    await bench.perform(create())
    assert bench.vendor.calls == ["find", "send", "find", "send"]
    assert len(bench.vendor.live) == 1


async def test_where_the_search_lags_it_looks_twice_before_sending_again(bench: Bench) -> None:
    write = create(settle_seconds=8)
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write)
    bench.vendor.blind = 1
    done = await bench.perform(write)
    assert bench.slept == [8]
    assert bench.vendor.calls == ["find", "send", "find", "find"]
    assert len(bench.vendor.live) == 1
    assert done.values["project:006A.NL01.EUR.id"] == "101"


async def test_the_first_look_does_not_wait_for_a_search_that_lags(bench: Bench) -> None:
    await bench.perform(create(settle_seconds=8))
    assert bench.slept == []


async def test_an_answer_that_does_not_come_in_time_is_an_unknown_outcome(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.commits_and_hangs)
    with pytest.raises(OutcomeUnknown, match="no answer in time"):
        await bench.perform(create(), call_seconds=0.02)
    await bench.perform(create())
    assert bench.vendor.count("send") == 1
    assert len(bench.vendor.live) == 1


async def test_a_record_that_was_there_before_is_linked_not_made(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", create().stamp, {"companyName": "older"})
    done = await bench.perform(create())
    assert bench.vendor.count("send") == 0
    assert bench.vendor.records["7"].fields == {"companyName": "older"}
    assert done.made == {create().key: False}
    row = await bench.ledger.effect(create().key)
    assert row is not None
    assert row.created_by_us is False


async def test_an_amended_input_does_not_overwrite_a_linked_record(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", create().stamp, {"companyName": "older"})
    await bench.perform(create())
    await bench.perform(create(title="Northwind B.V."))
    assert bench.vendor.records["7"].fields == {"companyName": "older"}
    assert bench.vendor.count("amend") == 0


async def test_a_linked_record_stays_linked_when_its_proof_fails_first(bench: Bench) -> None:
    """The second attempt must not take it for one that an earlier attempt of ours has made."""
    write = create(expect={"companyName": "Northwind"})
    bench.vendor.records["7"] = Record("7", write.stamp, {"companyName": "older"})
    with pytest.raises(Refused):
        await bench.perform(write)
    bench.vendor.records["7"].fields["companyName"] = "Northwind"
    await bench.perform(write)
    assert await bench.undo() == ("Create 006A.NL01.EUR: released",)
    assert "7" in bench.vendor.records


async def test_a_refusal_releases_the_claim_so_that_a_repair_need_not_wait(bench: Bench) -> None:
    bench.vendor.faults["send"].append(Refused("no such tax code"))
    with pytest.raises(Refused) as no:
        await bench.perform(create())
    assert not no.value.failure.maybe_landed
    await bench.perform(create())
    assert bench.slept == []
    assert len(bench.vendor.live) == 1


async def test_a_failed_look_releases_the_claim_too(bench: Bench) -> None:
    """Else the server's retry would sit out the whole lease of an attempt that sent nothing."""
    bench.vendor.faults["find"].append(Transient("503"))
    with pytest.raises(Transient) as away:
        await bench.perform(create())
    assert not away.value.failure.maybe_landed
    await bench.perform(create())
    assert bench.slept == []
    assert len(bench.vendor.live) == 1


async def test_a_failed_look_after_an_unknown_outcome_still_looks_next_time(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(create())
    bench.vendor.faults["find"].append(Transient("503"))
    with pytest.raises(Transient) as away:
        await bench.perform(create())
    assert away.value.failure.maybe_landed
    await bench.perform(create())
    assert bench.slept == []
    assert bench.vendor.count("send") == 1
    assert len(bench.vendor.live) == 1


async def test_a_key_in_use_is_waited_for_until_its_lease_is_over(bench: Bench) -> None:
    """The first attempt's worker died: nobody says whether it sent."""
    write = create()
    await bench.ledger.claim(
        write,
        saga_id=SAGA,
        actor=ref().actor,
        attempt_id="dead",
        deadline=bench.clock() + timedelta(seconds=LEASE),
        asked_at=bench.clock(),
        body_hash="h",
        business_key="crm/006A",
        region="emea",
    )
    await bench.perform(write)
    assert sum(bench.slept) >= LEASE
    assert bench.vendor.calls == ["find", "send"]


async def test_an_attempt_past_its_lease_does_not_send(bench: Bench) -> None:
    async def takes_too_long(write: VendorWrite) -> None:
        bench.clock.turn(LEASE + 1)

    bench.vendor.faults["connect"].append(takes_too_long)
    with pytest.raises(Transient, match="time is over"):
        await bench.perform(create())
    assert bench.vendor.count("send") == 0
    await bench.perform(create())
    assert bench.vendor.count("send") == 1


async def test_an_overtaken_attempt_does_not_send(bench: Bench) -> None:
    """A stalled worker wakes up after another attempt has taken over and finished."""

    async def is_overtaken(write: VendorWrite) -> None:
        bench.clock.turn(LEASE + 1)
        await bench.perform(create(), attempt="the other")
        bench.vendor.blind = 1

    bench.vendor.faults["connect"].append(is_overtaken)
    with pytest.raises(Transient):
        await bench.perform(create(), attempt="stalled")
    assert bench.vendor.count("send") == 1
    assert len(bench.vendor.live) == 1


async def test_a_key_that_turns_out_to_be_taken_is_found(bench: Bench) -> None:
    """The vendor's search missed it, its uniqueness rule did not."""
    bench.vendor.records["7"] = Record("7", create().stamp, {"companyName": "Northwind"})
    bench.vendor.blind = 1
    done = await bench.perform(create())
    assert done.values["project:006A.NL01.EUR.id"] == "7"
    assert len(bench.vendor.live) == 1


async def test_a_worker_that_froze_puts_no_old_values_back(bench: Bench) -> None:
    """It was told before the input was amended, and wakes up after the amended one is there."""
    told = bench.clock()
    await bench.perform(create(title="Old"), attempt="z", asked_at=told)
    bench.clock.turn(60)
    await bench.perform(create(title="New"))
    bench.clock.turn(60)
    for attempt in ("z", "its retry"):
        with pytest.raises(Transient):
            await bench.perform(create(title="Old"), attempt=attempt, asked_at=told)
    assert bench.vendor.records["101"].fields == {"companyName": "New"}
    await bench.perform(create(title="Old"))
    assert bench.vendor.records["101"].fields == {"companyName": "Old"}, "asked for again is asked for again"


async def test_what_was_asked_for_meanwhile_keeps_an_amendment_from_the_wire(bench: Bench) -> None:
    """Two amendments: the first one's worker freezes between its claim and its call."""
    await bench.perform(create(title="First"))
    asked = bench.clock()
    bench.clock.turn(60)

    async def meanwhile(write: VendorWrite) -> None:
        await bench.perform(create(title="Third"))

    bench.vendor.faults["connect"].append(meanwhile)
    with pytest.raises(Transient):
        await bench.perform(create(title="Second"), asked_at=asked + timedelta(seconds=30))
    assert bench.vendor.records["101"].fields == {"companyName": "Third"}


async def test_an_amended_input_changes_the_record_that_is_there(bench: Bench) -> None:
    await bench.perform(create())
    await bench.perform(create(title="Northwind B.V."))
    assert bench.vendor.calls == ["find", "send", "amend"]
    assert bench.vendor.records["101"].fields == {"companyName": "Northwind B.V."}
    assert len(bench.vendor.live) == 1
    await bench.perform(create(title="Northwind B.V."))
    assert bench.vendor.count("amend") == 1


async def test_an_amended_input_after_a_lost_answer_changes_what_is_found(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(create())
    await bench.perform(create(title="Northwind B.V."))
    assert bench.vendor.calls == ["find", "send", "find", "amend"]
    assert [record.fields for record in bench.vendor.live] == [{"companyName": "Northwind B.V."}]


async def test_an_amendment_without_an_answer_in_time_is_an_unknown_outcome(bench: Bench) -> None:
    """It is tried again by the server; a bare time-out would park as our own fault."""
    await bench.perform(create())
    bench.vendor.faults["amend"].append(bench.vendor.hangs)
    with pytest.raises(OutcomeUnknown, match="no answer in time") as lost:
        await bench.perform(create(title="Northwind B.V."), call_seconds=0.02)
    assert lost.value.failure.maybe_landed
    await bench.perform(create(title="Northwind B.V."))
    assert [record.fields for record in bench.vendor.live] == [{"companyName": "Northwind B.V."}]


async def test_a_read_back_that_differs_refuses_and_names_record_and_values(bench: Bench) -> None:
    write = create(expect={"companyName": "Northwind"})
    bench.vendor.shows = {"companyName": "NORTHWIND"}
    with pytest.raises(Refused) as wrong:
        await bench.perform(write)
    failure = wrong.value.failure
    assert failure.cause is Cause.READ_BACK_DIFFERS
    assert "companyName is 'NORTHWIND', written was 'Northwind'" in failure.message
    assert str(failure.record) == "erp/job/101"
    assert failure.remedy is not None
    assert failure.maybe_landed
    assert len(bench.vendor.live) == 1


async def test_after_a_repair_the_record_that_differed_is_proven_not_made_again(bench: Bench) -> None:
    write = create(expect={"companyName": "Northwind"})
    bench.vendor.shows = {"companyName": "NORTHWIND"}
    with pytest.raises(Refused):
        await bench.perform(write)
    bench.vendor.shows = {}
    await bench.perform(write)
    assert bench.vendor.count("send") == 1
    assert await bench.undo() == ("Create 006A.NL01.EUR: deleted",)


@pytest.mark.parametrize(
    ("shown", "written", "equal"),
    [
        ("100.0", 100, True),
        (100, "100.00", True),
        ("0042", "42", False),
        ("1", True, False),
        (None, "", False),
        ("abc", 1, False),
    ],
)
async def test_read_back_compares_numbers_by_value_and_text_to_the_letter(
    bench: Bench, shown: Any, written: Any, equal: bool
) -> None:
    bench.vendor.shows = {"companyName": shown}
    write = create(expect={"companyName": written})
    if equal:
        await bench.perform(write)
        return
    with pytest.raises(Refused):
        await bench.perform(write)


async def test_a_field_that_another_system_owns_is_refused_before_anything_is_claimed(bench: Bench) -> None:
    write = create(phase=Phase.AFTER_APPROVAL, sets={"companyName": "client.tax_registration"})
    with pytest.raises(Refused) as no:
        await bench.perform(write)
    failure = no.value.failure
    assert failure.cause is Cause.FIELD_NOT_OURS
    assert failure.message == (
        "Create 006A.NL01.EUR: client.tax_registration may not be written to erp after approval "
        "(field-authority table)."
    )
    assert failure.field == "companyName"
    assert not failure.maybe_landed
    assert bench.vendor.calls == []
    assert await bench.ledger.effect(write.key) is None


async def test_a_body_field_without_a_canonical_meaning_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="the body sets 'comments', which no canonical field stands for"):
        await bench.perform(create(body={"companyName": "x", "comments": "y"}))
    assert bench.vendor.calls == []


async def test_fields_inside_a_wrapped_body_are_checked(bench: Bench) -> None:
    with pytest.raises(Refused, match="'rate'"):
        await bench.perform(create(body={"job": {"companyName": "x", "rate": "y"}}, body_root="job"))


async def test_a_failure_names_what_exists_of_the_step(bench: Bench) -> None:
    bench.vendor.faults["send"] += [_nothing, Refused("no")]
    with pytest.raises(Refused) as no:
        await bench.perform(create("a"), create("b", ordinal=2))
    failure = no.value.failure
    assert failure.maybe_landed
    assert [str(record) for record in failure.survivors] == ["erp/job/101"]
    assert failure.key == create("b", ordinal=2).key


async def test_independent_writes_all_come_to_an_end_before_the_failure(bench: Bench) -> None:
    bench.vendor.faults["send"].append(Refused("no"))
    writes = [create(name, ordinal=place, independent=True) for place, name in enumerate("abc", start=1)]
    with pytest.raises(Refused):
        await bench.perform(*writes)
    assert len(bench.vendor.live) == 2
    await bench.perform(*writes)
    assert len(bench.vendor.live) == 3


async def test_an_update_keeps_what_was_there_before_it_is_sent(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", "", {"status": "pending"})
    write = update("7")
    await bench.perform(write)
    assert bench.vendor.calls == ["before_image", "send"]
    row = await bench.ledger.effect(write.key)
    assert row is not None
    assert row.before == {"status": "pending"}


async def test_a_lost_update_is_recognised_by_the_values_it_wrote(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", "", {"status": "pending"})
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(update("7"))
    await bench.perform(update("7"))
    assert bench.vendor.count("send") == 1
    row = await bench.ledger.effect(update("7").key)
    assert row is not None
    assert row.before == {"status": "pending"}


async def test_after_a_restore_of_the_ledger_it_looks_before_it_sends(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", create().stamp, {"companyName": "Northwind"})
    bench.ledger.look_always = True
    await bench.perform(create())
    assert bench.vendor.calls == ["find"]
    row = await bench.ledger.effect(create().key)
    assert row is not None
    assert row.created_by_us, "the lost ledger knew it as ours: an undo must find it"


async def test_an_undone_key_is_closed_for_good(bench: Bench) -> None:
    await bench.perform(create())
    await bench.undo()
    with pytest.raises(Conflict) as closed:
        await bench.perform(create())
    assert closed.value.failure.cause is Cause.KEY_CLOSED
    assert closed.value.failure.remedy is not None
    assert bench.vendor.live == []


async def _nothing(write: VendorWrite) -> None:
    return None
