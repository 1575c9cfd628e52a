"""What the pages name exists: files, links, commands with their options, make targets, settings, rules."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from canonical.causes import Cause
from canonical.saga import StepKind
from cli.main import app
from tests.architecture.source import modules
from tests.docs.tables import ROOT, pages

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
RULES = re.compile(r"\brules? (\d+(?:(?:, | and |-)\d+)*)")
FILE = re.compile(r"^(?:[a-z_]+/)+[\w.-]*$|^[\w-]+\.(?:py|md|toml|lock)$")
ELSEWHERE = {"trueup.toml", "connector.py", "deal.json"}
"""Files that an installation or a person makes, or that stand in every vendor folder."""

by_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _fences(text: str) -> Iterator[tuple[str, str]]:
    for block in FENCE.finditer(text):
        yield block[1], block[2]


def _prose(text: str) -> str:
    return FENCE.sub("", text)


def _code(text: str) -> Iterator[str]:
    """Everything that is written as something to type or to name: shell lines and inline code."""
    for language, block in _fences(text):
        if language in ("sh", "bash", "console"):
            yield from block.replace("\\\n", " ").splitlines()
    yield from INLINE.findall(_prose(text))


# --- files and links ---------------------------------------------------------------------------------


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(_prose(_text(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (heading and heading not in _anchors(_text(file))):
            broken.append(target)
    assert broken == []


def _anchors(text: str) -> set[str]:
    """Anchors of a page's headings as code hosts make them."""
    found = set()
    for line in _prose(text).splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


@by_page
def test_files_that_are_named_exist(page: Path) -> None:
    missing = []
    for name in INLINE.findall(_prose(_text(page))):
        if not FILE.match(name) or name in ELSEWHERE or name.startswith("build/"):
            continue
        if not ((ROOT / name).exists() or (page.parent / name).exists() or _generic(name)):
            missing.append(name)
    assert missing == []


def _generic(name: str) -> bool:
    """A file of every vendor folder, named without its folder."""
    return "/" not in name and bool(list((ROOT / "connectors").glob(f"*/{name}")))


# --- commands ----------------------------------------------------------------------------------------


def _commands() -> TyperGroup:
    found = typer.main.get_command(app)
    assert isinstance(found, TyperGroup)
    return found


def _typed(text: str) -> Iterator[list[str]]:
    """The words of every ``trueup`` command on a page."""
    for line in _code(text):
        found = re.search(r"(?:^|[\s(])trueup ([a-z].*)", line.split("  #")[0].split(" | ")[0])
        if found:
            yield shlex.split(found[1].replace("...", "x").rstrip(")"))


@by_page
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    wrong = [problem for words in _typed(_text(page)) if (problem := _problem(words))]
    assert wrong == []


def _problem(words: list[str]) -> str | None:
    command: Any = _commands()
    context = typer.Context(command)
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return f"no command {' '.join(words)}"
        command, rest = found, rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options = {word.split("=")[0] for word in rest if word.startswith("--")} - {"--help"}
    return f"{' '.join(words)}: no option {sorted(options - known)}" if options - known else None


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert _problem(["nonsense"]) is not None
    assert _problem(["show", "SAGA", "--nonsense"]) is not None
    assert _problem(["approvals", "approve", "SAGA", "--reason", "x"]) is None


def test_the_readme_lists_every_command() -> None:
    section = _text(ROOT / "README.md").split("## Commands", 1)[1].split("\n## ", 1)[0]
    listed = {words.split()[1] for words in INLINE.findall(section) if words.startswith("trueup ")}
    group = _commands()
    assert listed == set(group.list_commands(typer.Context(group)))


# --- make, causes, settings, rules ---------------------------------------------------------------------


@by_page
def test_make_targets_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z][a-z-]*):", _text(ROOT / "Makefile"), re.MULTILINE))
    named = {
        found
        for line in _code(_text(page))
        for found in re.findall(r"(?:^|&& )make (?:[A-Z]+=\S+ )*([a-z][a-z-]*)", line)
    }
    assert named <= known


@by_page
def test_causes_that_are_named_exist(page: Path) -> None:
    named = INLINE.findall(_prose(_text(page)))
    shouted = {name for name in named if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", name)}
    known = {cause.value for cause in Cause} | {kind.name for kind in StepKind}
    unknown = {name for name in shouted - known if not name.startswith(("TEMPORAL_", "TRUEUP_"))}
    assert unknown == set()


def test_every_rule_that_code_refers_to_is_explained() -> None:
    referred: set[int] = set()
    for module in modules():
        for found in re.findall(
            r"\brules? (\d+(?:(?:, | and |-)\d+)*)", module.path.read_text(encoding="utf-8")
        ):
            numbers = [int(one) for one in re.findall(r"\d+", found)]
            referred |= set(range(numbers[0], numbers[-1] + 1)) if "-" in found else set(numbers)
    explained = {
        int(one) for one in re.findall(r"^\| (\d+) \|", _text(ROOT / "docs" / "rules.md"), re.MULTILINE)
    }
    assert referred - explained == set()


def test_pages_do_not_lead_out_of_the_repository() -> None:
    for page in pages():
        for target in LINK.findall(_prose(_text(page))):
            if not re.match(r"[a-z]+:", target):
                inside = os.path.relpath((page.parent / target.partition("#")[0]).resolve(), ROOT)
                assert not inside.startswith(".."), f"{page.name}: {target}"
