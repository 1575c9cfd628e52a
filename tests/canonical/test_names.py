"""Names and keys: business identity only, unique, safe in any address, short enough for any field."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.names import (
    PLAN_PREFIX,
    STAMP_LIMIT,
    SagaName,
    SearchAttribute,
    allocation_key,
    batch_key,
    billing_group_key,
    billing_name,
    cap_key,
    case_id,
    contract_key,
    credit_key,
    effect_key,
    fee_source,
    invoice_key,
    item_key,
    movement_key,
    project_key,
    purchase_order_key,
    retainer_account,
    saga_id,
    saga_parts,
    shared_key,
    stamp,
    step_key,
    system_queue,
)
from canonical.operations import WriteContext
from canonical.refs import RecordRef

PARTS = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=":|"), min_size=1, max_size=40
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
KEYS = st.builds(
    effect_key, NAMES, NAMES, PARTS, st.integers(1, 99), st.integers(1, 999)
)  # fmt: skip


@given(KEYS)
def test_a_stamp_is_short_and_safe_in_any_address(key: str) -> None:
    assert len(stamp(key)) <= STAMP_LIMIT == 60
    assert re.fullmatch(r"tu-[A-Za-z0-9-]+", stamp(key))
    assert stamp(key) == stamp(key)


@given(KEYS, KEYS)
def test_different_keys_have_different_stamps(one: str, other: str) -> None:
    assert (stamp(one) == stamp(other)) == (one == other)


def test_long_keys_that_differ_at_the_end_are_kept_apart() -> None:
    keys = [effect_key("erp", "set_up_contract", "x" * 200 + end, 1) for end in "ab"]
    assert stamp(keys[0]) != stamp(keys[1])
    assert all(len(stamp(key)) <= STAMP_LIMIT for key in keys)


def test_a_stamp_starts_with_what_a_person_can_read() -> None:
    assert stamp(effect_key("erp", "ensure_client", "001X", 1)).startswith("tu-ensure-client-001X-g1-1-")


def test_a_key_tells_generation_and_ordinal_apart() -> None:
    keys = {effect_key("erp", "op", "id", generation, place) for generation in (1, 2) for place in (1, 2)}
    assert len(keys) == 4


@given(saga=st.sampled_from(SagaName), region=NAMES, system=NAMES, record=PARTS)
def test_a_saga_id_can_be_taken_apart_again(saga: SagaName, region: str, system: str, record: str) -> None:
    name = saga_id(saga, region, system, record)
    assert saga_parts(name) == (saga, region, system, record)
    assert saga_parts(saga_id(saga, region, system, record, plan=True)) == (saga, region, system, record)


@given(one=st.tuples(NAMES, NAMES, PARTS), other=st.tuples(NAMES, NAMES, PARTS))
def test_saga_ids_of_different_records_differ(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    ids = [saga_id(SagaName.OPPORTUNITY_TO_PROJECT, *parts) for parts in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


@pytest.mark.parametrize("bad", ["", "a:b", "a\nb", "a\x00", "x" * 260])
def test_what_would_blur_a_saga_id_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be part|at most 255"):
        saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", bad)


@pytest.mark.parametrize("bad", ["", "o2p:emea:sf-main", "xyz:emea:sf-main:006", "o2p:a:b:c:d"])
def test_what_is_no_saga_id_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a saga id"):
        saga_parts(bad)


def test_a_plan_has_an_id_of_its_own_and_the_sagas_own_keys() -> None:
    """A plan must never be taken for the saga, and must show the keys that the saga will use."""
    real = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", "006")
    plan = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", "006", plan=True)
    assert plan == PLAN_PREFIX + real
    assert step_key(plan, 1, "clients") == step_key(real, 1, "clients")


def test_no_key_depends_on_a_run() -> None:
    """Everything a key is made of is an argument, and none of the arguments is a run."""
    first = WriteContext(saga_id="o2p:emea:sf:006", generation=2, step="s", region="emea")
    again = WriteContext(saga_id="o2p:emea:sf:006", generation=2, step="s", region="emea")
    assert first.key("erp", "set_up", "006.NL01.EUR") == again.key("erp", "set_up", "006.NL01.EUR")
    assert first.key("erp", "set_up", "006.NL01.EUR") == "erp|set_up|006.NL01.EUR|g2|1"
    assert first.step_key == "o2p:emea:sf:006|g2|s"


def test_a_shared_record_keeps_its_key_whoever_writes_it() -> None:
    """Its generation is its own: another saga's second attempt must not make a second client."""
    one = WriteContext(saga_id="o2p:emea:sf:006A", generation=1, step="s", region="emea")
    other = WriteContext(saga_id="o2p:emea:sf:006B", generation=7, step="s", region="emea")
    assert one.key_of_shared("erp", "ensure_client", "001") == other.key_of_shared(
        "erp", "ensure_client", "001"
    )
    undone = other.model_copy(update={"shared_generations": {shared_key("erp", "ensure_client", "001"): 2}})
    assert undone.key_of_shared("erp", "ensure_client", "001") == "erp|ensure_client|001|g2|1"
    assert undone.key_of_shared("erp", "ensure_client", "002") == "erp|ensure_client|002|g1|1"


def test_identities_of_contracts_and_projects() -> None:
    contract = contract_key("006", "NL01", "EUR")
    assert contract == "006.NL01.EUR"
    assert project_key(contract, "emea", "IMPL") == "006.NL01.EUR.emea.IMPL"
    assert case_id("o2p:emea:sf:006", 1, "clients") == "o2p:emea:sf:006|g1|clients"
    assert system_queue("netsuite-emea") == "trueup-system-netsuite-emea"


def test_there_are_nine_search_attributes() -> None:
    assert len({attribute.value for attribute in SearchAttribute}) == 9


@given(system=NAMES, type_=NAMES, id_=PARTS)
def test_a_record_reference_is_read_as_it_is_printed(system: str, type_: str, id_: str) -> None:
    ref = RecordRef(system=system, type=type_, id=id_)
    assert RecordRef.parse(str(ref)) == ref


@pytest.mark.parametrize("bad", ["", "erp", "erp/job", "erp//7", "/job/7", "erp/job/"])
def test_what_is_no_record_reference_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="expected system/type/id"):
        RecordRef.parse(bad)


GROUP = st.lists(st.none() | st.text(max_size=60), min_size=3, max_size=7)


@given(GROUP)
def test_a_billing_group_fits_into_a_workflow_id(parts: list[str | None]) -> None:
    """Purchase order numbers are free text; the workflow id takes no colon and has a limit."""
    group = billing_group_key(*parts)
    assert re.fullmatch(r"[A-Za-z0-9.-]+", group)
    name = saga_id(SagaName.BILL_CONTRACT, "emea", "netsuite-emea", billing_name(group, "2026-W53"))
    assert saga_parts(name) == (SagaName.BILL_CONTRACT, "emea", "netsuite-emea", f"{group}.2026-W53")
    assert "|" not in invoice_key(group, "2026-11", 1)


@given(GROUP, GROUP)
def test_different_groups_have_different_keys(one: list[str | None], other: list[str | None]) -> None:
    def same(parts: list[str | None]) -> list[str]:
        return [part or "" for part in parts]

    assert (billing_group_key(*one) == billing_group_key(*other)) == (same(one) == same(other))


def test_keys_of_billing_are_business_identity() -> None:
    entry = RecordRef(system="kantata-main", type="time_entries", id="991")
    item = item_key(entry, "2026-11-18T10:00:00+00:00/12.approved")
    assert item == "kantata-main/time_entries/991@2026-11-18T10:00:00+00:00/12.approved"
    assert allocation_key(item, 2) == f"{item}#2"
    assert allocation_key(item, 2, release=1) == f"{item}#2-1"
    assert str(fee_source("milestone", "006.NL01.EUR", "006.NL01.EUR.1")) == (
        "contract/milestone/006.NL01.EUR/006.NL01.EUR.1"
    )
    invoice = invoice_key("g", "2026-11", 2)
    assert (invoice, credit_key(invoice, 1)) == ("g/2026-11/2", "g/2026-11/2/credit-1")
    assert movement_key(retainer_account("c", "l"), "billed", "2026-11") == "retainer/c/l/billed/2026-11"


def test_keys_of_billing_can_become_parts_of_effect_keys() -> None:
    """An effect key has four separators; a vendor's revision or an order number may contain one."""
    odd = RecordRef(system="k", type="t", id="a|b")
    for key in (item_key(odd, "1|2"), cap_key("c", "role", "x|y"), purchase_order_key("NL01", "1", "PO|7")):
        assert effect_key("erp", "op", key, 1).count("|") == 4


def test_purchase_orders_are_shared_by_contracts_and_caps_are_not() -> None:
    assert cap_key("c1", "contract", None) != cap_key("c2", "contract", None)
    assert purchase_order_key("NL01", "001", "PO7") == purchase_order_key("NL01", "001", "PO7")


def test_a_batch_key_names_its_lines() -> None:
    assert batch_key("erp", "post_cost", 1, ["a", "b"]) == batch_key("erp", "post_cost", 1, ["b", "a"])
    assert batch_key("erp", "post_cost", 1, ["a", "b"]) != batch_key("erp", "post_cost", 1, ["a", "c"])
    assert batch_key("erp", "post_cost", 1, ["ab"]) != batch_key("erp", "post_cost", 1, ["a", "b"])
