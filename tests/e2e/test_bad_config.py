"""A malformed ``trueup.toml`` ends worker and command line with code 2, problems named, nothing polled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.local.config import SECRETS, Places, render
from ledger.personal import AesGcmSealer
from runtime.devserver import free_ports
from tests.e2e.firm import program

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

USAGE = 2
PATIENCE = 40.0
"""Seconds: importing everything on two busy cores; a process that polls never ends by itself."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A valid configuration; nobody listens at any of its addresses."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "netsuite.key").write_text("never read")
    (folder / "hr.csv").write_text("worker_id,name\n")
    AesGcmSealer.from_file(folder / "personal.key", create=True)
    temporal, *vendors = (f"127.0.0.1:{port}" for port in free_ports(4))
    salesforce, netsuite, kantata = (f"http://{address}" for address in vendors)
    places = Places(
        temporal=temporal, salesforce=salesforce, netsuite=netsuite, kantata=kantata, folder=folder
    )
    return render(places, "root")


@contextmanager
def secrets(names: dict[str, str]) -> Iterator[None]:
    """These in the environment of whatever is started, and no others of ours."""
    before = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    os.environ.update(names)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


async def both(config: Path) -> None:
    """What worker and command line say about a file goes into ``config``'s folder; both must end with 2."""
    worker, command = await asyncio.gather(
        program("worker", "--config", str(config), patience=PATIENCE),
        program("cli.main", "list", "--config", str(config), patience=PATIENCE),
    )
    for name, (code, out, err) in (("worker", worker), ("cli", command)):
        assert code == USAGE, f"{name}: {code}\n{out}{err}"
        assert "Traceback" not in out + err
        (config.parent / name).write_text(out + err)


def said(config: Path) -> list[str]:
    """What each of the two said."""
    return [(config.parent / name).read_text() for name in ("worker", "cli")]


async def test_a_file_that_is_no_toml(good: str, tmp_path: Path) -> None:
    config = tmp_path / "trueup.toml"
    config.write_text(good.replace('name = "Northgate Consulting"', "name = Northgate Consulting", 1))
    with secrets(SECRETS):
        await both(config)
    for words in said(config):
        assert str(config) in words
        assert "line 4" in words


async def test_every_problem_of_a_file_comes_at_once(good: str, tmp_path: Path) -> None:
    config = tmp_path / "trueup.toml"
    spoilt = (
        good.replace('region = "emea"', 'region = ""', 1)
        .replace("attempts = 4", "attempts = 0", 1)
        .replace('crm = "sf-main"', 'crm = "sf-elsewhere"', 1)
        .replace('base_currency = "GBP"', 'base_currency = "XXZ"', 1)
        .replace("[firm]", '[firm]\nnmae = "typing error"', 1)
    )
    config.write_text(spoilt)
    with secrets(SECRETS):
        await both(config)
    for words in said(config):
        for key in ("nmae", "attempts", "sf-elsewhere", "base_currency"):
            assert key in words, words


async def test_a_connected_system_that_cannot_be_built(good: str, tmp_path: Path) -> None:
    """What only the vendor's own settings know is found as early, all of it at once."""
    config = tmp_path / "trueup.toml"
    config.write_text(
        good.replace('vendor = "kantata"', 'vendor = "kantatta"', 1)
        .replace("concurrency = 5", 'concurrency = "many"', 1)
        .replace('certificate_id = "cert-1"', 'certificate = "cert-1"', 1)
    )
    with secrets(SECRETS):
        code, out, err = await program("worker", "--config", str(config), patience=PATIENCE)
    assert code == USAGE, out + err
    for words in (
        "systems.kantata-main.vendor: 'kantatta' is not known; known: ",
        "systems.netsuite-emea.concurrency: ",
        "systems.netsuite-emea.auth",
    ):
        assert words in err, err
    assert "Traceback" not in out + err


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "nowhere.toml"
    await both(config)
    for words in said(config):
        assert str(config) in words
