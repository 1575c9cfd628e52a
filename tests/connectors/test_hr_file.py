"""The HR export: rows to workers, problems by line and column, a file that changes."""

from __future__ import annotations

import asyncio
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from canonical.causes import Cause
from canonical.delivery import RoleSupply
from canonical.failures import ConfigurationError, Refused, Transient
from canonical.operations import HealthState
from connectors.hr_file import HrFileConnector
from connectors.hr_file.mapping import SHOWN, read_workers
from connectors.hr_file.settings import Columns, HrFileSettings
from connectors.ports import HrPort

pytestmark = pytest.mark.anyio

DAY = date(2026, 11, 21)
HEADER = (
    "worker_id,name,email,role,practice,region,legal_entity,"
    "cost_rate,cost_currency,effective_from,effective_to"
)
ROWS = f"""{HEADER}
W1,Zoë Müller,zoe@x.example,Architect,Cloud,emea,DE01,85.50,EUR,2026-01-01,
W2,"Smith, Ann",,Architect,,emea,,120,GBP,,2026-12-31
W3,田中,,Consultant,,,,9000,JPY,,
W4,Gone,,Architect,,emea,,,,,2026-11-20
W5,Coming,,Architect,,emea,,,,2026-11-22,
"""


def settings(**more: Any) -> HrFileSettings:
    return HrFileSettings(path=Path("workers.csv"), **more)


def put(path: Path, text: str, encoding: str = "utf-8-sig") -> None:
    path.write_text(text, encoding=encoding)


def problems(text: str, **more: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_workers(text, settings(**more))
    return caught.value.problems


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "workers.csv"
    put(path, ROWS)
    return path


@pytest.fixture
def hr(export: Path) -> HrFileConnector:
    return HrFileConnector("hr", HrFileSettings(path=export))


async def test_workers_in_force(hr: HrFileConnector) -> None:
    port: HrPort = hr
    assert (port.system, len(port.mapping_digest), port.link("worker", "W1")) == ("hr", 64, None)
    found = {worker.id: worker for worker in await port.workers(DAY)}
    assert set(found) == {"W1", "W2", "W3"}
    zoe = found["W1"]
    assert (zoe.name, zoe.cost_rate, zoe.cost_currency) == ("Zoë Müller", Decimal("85.50"), "EUR")
    assert found["W2"].name == "Smith, Ann"
    assert (found["W3"].region, found["W3"].cost_rate) == (None, Decimal(9000))
    assert {worker.id for worker in await port.workers(date(2026, 11, 20))} == {"W1", "W2", "W3", "W4"}
    assert {worker.id for worker in await port.workers(date(2027, 1, 1))} == {"W1", "W3", "W5"}


async def test_workers_of_a_stretch_are_all_that_hold_on_some_day_of_it(hr: HrFileConnector) -> None:
    port: HrPort = hr
    found = {worker.id for worker in await port.workers_between(date(2026, 11, 20), date(2026, 11, 22))}
    assert found == {"W1", "W2", "W3", "W4", "W5"}
    found = {worker.id for worker in await port.workers_between(date(2025, 1, 1), date(2025, 12, 31))}
    assert found == {"W2", "W3", "W4"}


async def test_role_supply_counts_and_says_no_more(hr: HrFileConnector) -> None:
    supply = await hr.role_supply(DAY)
    assert supply == [
        RoleSupply(role="Architect", region="emea", workers=2),
        RoleSupply(role="Consultant", region=None, workers=1),
    ]
    assert set(RoleSupply.model_fields) == {"role", "region", "workers"}


async def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    hr: HrFileConnector, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    def counted(text: str, used: HrFileSettings) -> list[Any]:
        reads.append(1)
        return read_workers(text, used)

    monkeypatch.setattr("connectors.hr_file.connector.read_workers", counted)
    await asyncio.gather(hr.workers(DAY), hr.role_supply(DAY), hr.workers(DAY))
    assert len(reads) == 1
    text = ROWS.replace("Zoë Müller", "Zoë Maier")
    put(export, text)
    os.utime(export, ns=(1, 1))
    assert {worker.name for worker in await hr.workers(DAY)} >= {"Zoë Maier"}
    assert len(reads) == 2


async def test_a_bad_file_is_refused_until_it_is_mended(hr: HrFileConnector, export: Path) -> None:
    put(export, ROWS.replace("85.50", "much"))
    with pytest.raises(Refused) as caught:
        await hr.role_supply(DAY)
    assert caught.value.failure.cause is Cause.CONFIGURATION
    assert "line 2, column 'cost_rate'" in str(caught.value)
    assert "much" not in str(caught.value)
    (check,) = await hr.check()
    assert check.state is HealthState.BROKEN
    assert check.remedy
    put(export, ROWS)
    assert await hr.role_supply(DAY)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    hr = HrFileConnector("hr", HrFileSettings(path=tmp_path / "none.csv"))
    with pytest.raises(Transient) as caught:
        await hr.workers(DAY)
    assert "none.csv" in str(caught.value)
    assert caught.value.failure.remedy
    (check,) = await hr.check()
    assert check.state is HealthState.BROKEN


async def test_a_file_being_written(hr: HrFileConnector, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(range(100))
    monkeypatch.setattr(hr, "_version", lambda: (1, next(sizes)))
    with pytest.raises(Transient, match="being written"):
        await hr.workers(DAY)


async def test_the_wrong_encoding_names_the_line(export: Path) -> None:
    put(export, f"{HEADER}\nW1,Zoë,,Architect,,,,,,,\n", "latin-1")
    with pytest.raises(Refused, match="line 2: not utf-8-sig"):
        await HrFileConnector("hr", HrFileSettings(path=export)).workers(DAY)
    latin = HrFileConnector("hr", HrFileSettings(path=export, encoding="latin-1"))
    assert (await latin.workers(DAY))[0].name == "Zoë"


async def test_check_of_a_sound_and_of_an_old_file(hr: HrFileConnector, export: Path) -> None:
    (check,) = await hr.check()
    assert (check.state, check.detail) == (HealthState.OK, "5 rows, all readable")
    os.utime(export, ns=(1, 1))
    assert [check.state for check in await hr.check()] == [HealthState.OK, HealthState.WARNING]
    await hr.close()
    assert hr._known is None


def test_tabs_german_numbers_and_dates() -> None:
    text = "Nr\tName\tRolle\tSatz\tAb\n7\tAnna\tBeraterin\t85,50\t01.11.2026\n"
    columns = Columns(
        worker_id="Nr", name="Name", role="Rolle", cost_rate="Satz", effective_from="Ab",
        email="", practice="", region="", legal_entity="", cost_currency="", effective_to="",
    )  # fmt: skip
    (anna,) = read_workers(
        text,
        settings(
            delimiter="\t",
            decimal_comma=True,
            date_format="%d.%m.%Y",
            default_currency="EUR",
            columns=columns,
        ),
    )
    assert (anna.cost_rate, anna.cost_currency, anna.effective_from) == (
        Decimal("85.50"),
        "EUR",
        date(2026, 11, 1),
    )


@pytest.mark.parametrize(("row", "line", "column"), [
    (",Ann,,Architect,,,,,,,", 3, "worker_id"),
    ("W9,,,Architect,,,,,,,", 3, "name"),
    ("W9,Ann,,,,,,,,,", 3, "role"),
    ("W9,Ann,,A,,,,-1,EUR,,", 3, "cost_rate"),
    ("W9,Ann,,A,,,,1e3,EUR,,", 3, "cost_rate"),
    ('W9,Ann,,A,,,,"1,5",EUR,,', 3, "cost_rate"),
    ("W9,Ann,,A,,,,5,,,", 3, "cost_rate"),
    ("W9,Ann,,A,,,,5,XXQ,,", 3, "cost_currency"),
    ("W9,Ann,,A,,,,,,31.12.2026,", 3, "effective_from"),
    ("W9,Ann,,A,,,,,,2026-12-31,2026-12-30", 3, "effective_to"),
    ("W0,Ann,,A,,,,,,2026-01-01,", 3, "worker_id"),
])  # fmt: skip
def test_each_bad_cell_is_named(row: str, line: int, column: str) -> None:
    (problem,) = problems(f"{HEADER}\nW0,Ok,,A,,,,,,,2026-06-30\n{row}\n")
    assert problem.startswith(f"workers.csv: line {line}, column '{column}':")


def test_rows_one_after_another_are_one_worker() -> None:
    text = f"{HEADER}\nW0,A,,Junior,,,,,,,2026-06-30\nW0,A,,Senior,,,,,,2026-07-01,\n"
    assert [worker.role for worker in read_workers(text, settings())] == ["Junior", "Senior"]


@pytest.mark.parametrize(("text", "words"), [
    ("", "file is empty"),
    ("\n\n", "file is empty"),
    (HEADER.replace("role", "Rolle", 1), "column 'role': no such header"),
    (HEADER + ",role", "column 'role': the header is there twice"),
    (f"{HEADER}\nW1,Ann\n", "line 2: 2 columns where the header has 11"),
    (f'{HEADER}\nW1,"Ann', "not readable as delimited text"),
])  # fmt: skip
def test_broken_structure(text: str, words: str) -> None:
    (problem,) = problems(text)
    assert words in problem


def test_many_problems_are_counted_not_poured_out() -> None:
    found = problems(HEADER + "\n" + ",,,,,,,,,,x\n" * 30)
    assert len(found) == SHOWN + 1
    assert found[-1].endswith("more problems")


@pytest.mark.parametrize("bad", [
    {"delimiter": ""}, {"delimiter": "ab"}, {"delimiter": '"'}, {"encoding": "klingon"},
    {"columns": {"role": ""}}, {"columns": {"role": "name"}}, {"default_currency": "XXQ"}, {"surprise": 1},
])  # fmt: skip
def test_settings_refuse_what_cannot_work(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HrFileSettings.model_validate({"path": "x", **bad})


def test_the_digest_is_about_reading_not_about_the_place() -> None:
    one = settings()
    assert one.mapping_digest == HrFileSettings(path=Path("elsewhere")).mapping_digest
    assert one.mapping_digest != settings(delimiter=";").mapping_digest
