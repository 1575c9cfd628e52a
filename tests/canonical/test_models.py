"""What every canonical model promises: immutable, tolerant of the future, failures as data."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import canonical
from canonical.base import Canonical, DataClass, data_class_of
from canonical.billing import Invoice, TimeEntry
from canonical.delivery import Worker
from canonical.failures import FAILURES_BY_KIND, MESSAGE_LIMIT, Failure, FailureKind, Refused, SystemFailure
from canonical.money import Money
from canonical.parties import Client
from canonical.refs import RecordRef
from canonical.saga import Actor, SagaStatus


def models() -> list[type[BaseModel]]:
    found: set[type[BaseModel]] = set()
    for info in pkgutil.iter_modules(canonical.__path__):
        module = importlib.import_module(f"canonical.{info.name}")
        found |= {one for _, one in inspect.getmembers(module, inspect.isclass) if issubclass(one, Canonical)}
    return sorted(found, key=lambda one: one.__name__)


def test_all_models_are_found() -> None:
    assert len(models()) > 50


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_model_is_frozen_and_ignores_fields_of_a_newer_release(model: type[BaseModel]) -> None:
    assert model.model_config.get("frozen") is True
    assert model.model_config.get("extra") == "ignore"


@pytest.mark.parametrize(
    ("model", "field", "expected"),
    [
        (TimeEntry, "worker_id", DataClass.PERSONAL),
        (Worker, "email", DataClass.PERSONAL),
        (Actor, "name", DataClass.PERSONAL),
        (Client, "key", DataClass.INTERNAL),
        (Worker, "name", DataClass.PERSONAL),
    ],
)
def test_text_about_people_is_marked(model: type[BaseModel], field: str, expected: DataClass) -> None:
    assert data_class_of(model, field) is expected


def invoice(**more: Any) -> Invoice:
    amounts = {"net": "100", "gross": "121", "paid": "50", "credited": "20", "balance": "40"}
    amounts |= {"withheld": "1", "written_off": "10"}
    values: dict[str, Any] = {
        "ref": RecordRef(system="erp", type="invoice", id="1"),
        "number": "INV-1",
        "seller": "NL01",
        "bill_to": "001",
        "contract_keys": ("c",),
        "issued_on": date(2026, 1, 31),
        "modified_at": datetime(2026, 1, 31, tzinfo=UTC),
        **{name: Money(amount=Decimal(amount), currency="EUR") for name, amount in amounts.items()},
        **more,
    }
    return Invoice(**values)


def test_an_invoice_balances() -> None:
    """gross = paid + credited + withheld + written off + balance (rule 6)."""
    assert invoice().balance.minor == 4000
    with pytest.raises(ValidationError, match="does not balance"):
        invoice(paid=Money(amount=Decimal("50.01"), currency="EUR"))


def test_every_kind_of_failure_has_its_exception() -> None:
    assert set(FAILURES_BY_KIND) == set(FailureKind)
    for kind, cls in FAILURES_BY_KIND.items():
        failure = cls("words").failure
        assert failure.kind is kind
        assert Failure.model_validate_json(failure.model_dump_json()) == failure


def test_what_passes_by_itself_needs_nobody() -> None:
    passing = {kind for kind in FailureKind if kind.passes_by_itself}
    assert passing == {FailureKind.RETRY, FailureKind.WAIT, FailureKind.REAUTHORISE}


def test_a_vendors_words_are_bounded() -> None:
    """Failures travel in workflow histories, where a payload has a limit."""
    error: SystemFailure = Refused("x" * 50_000)
    assert len(error.failure.message) == MESSAGE_LIMIT
    assert str(error) == error.failure.message


def test_final_states_are_the_five_in_which_nothing_happens_any_more() -> None:
    final = {status for status in SagaStatus if status.is_final}
    ends = {SagaStatus.COMPLETE, SagaStatus.UNDONE, SagaStatus.STOPPED}
    assert final == ends | {SagaStatus.FAILED, SagaStatus.PLANNED}
