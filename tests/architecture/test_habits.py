"""Habits that a reader relies on: small modules, a sentence on top of each, names built in one place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from activities.contracts import FeedbackPace, Pace
from activities.options import Timings
from canonical.names import LEDGER_QUEUE, PLAN_PREFIX, WORKFLOW_QUEUE, SearchAttribute, system_queue
from runtime.sections import BillingSection, FeedbackSection, RetrySection
from tests.architecture.source import PACKAGES, ROOT, modules, parse, tracked, where

LINES = 500
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".lock",
    ".txt",
    ".yaml",
    ".yml",
    ".json",
    ".cfg",
    ".ini",
    ".sh",
    ".html",
    ".in",
    "",
}
# Written apart, so that this file does not contain what it forbids.
FORBIDDEN = tuple(
    re.compile(pattern)
    for pattern in (
        "py" + r"pi\.(org|python)",
        "python" + "hosted",
        "npm" + r"js\.(org|com)",
        "registry" + r"\.[a-z]",
        r"(?<![\w/-])(\.\./)*shared/[a-zA-Z]",
        "/wo" + "rk/",
    )
)
NAMES = ROOT / "canonical" / "names.py"
QUEUE_WORDS = ("trueup-workflows", "trueup-ledger", "trueup-system")


def texts() -> list[tuple[Path, str]]:
    return [
        (path, path.read_text(encoding="utf-8"))
        for path in tracked()
        if path.suffix in TEXT and not path.is_symlink() and path.stat().st_size < 2_000_000
    ]


def test_the_files_under_version_control_are_found() -> None:
    assert {ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "requirements.lock", NAMES} <= set(tracked())


def test_no_module_outgrows_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path, text in texts()
        if path.suffix == ".py" and (lines := len(text.splitlines())) > LINES
    }
    assert long == {}


def test_every_package_says_what_it_is() -> None:
    folders = {module.path.parent for module in modules()} - {ROOT}
    silent = [
        str(folder.relative_to(ROOT))
        for folder in sorted(folders)
        if folder != ROOT / "activities"
        and not ((init := folder / "__init__.py").is_file() and ast.get_docstring(parse(init)))
    ]
    assert silent == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(module.path.relative_to(ROOT))
        for module in modules()
        if module.path != ROOT / "activities" / "__init__.py" and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def test_no_registry_and_no_neighbouring_folder_is_named() -> None:
    found = [
        f"{where(path, number)}: {line.strip()[:120]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if any(pattern.search(line) for pattern in FORBIDDEN)
    ]
    assert not found, "\n".join(found)


def test_locks_pin_every_package_by_hash_and_name_no_place() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        pinned = re.findall(r"^[a-z0-9][^\s=]*==\S+", text, re.MULTILINE)
        hashed = re.findall(r"^[a-z0-9][^\s=]*==[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
        assert len(pinned) > 40
        assert len(hashed) == len(pinned)
        assert "://" not in text
        assert "setuptools==" in text
    runtime, dev = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))
    versions = re.findall(r"^([a-z0-9][^\s=]*==[^\s;]+)", runtime, re.MULTILINE)
    assert [version for version in versions if f"{version} " not in dev] == []


def spelled_names(tree: ast.Module) -> list[tuple[str, int]]:
    """Texts in code that are, or build, a queue, saga id, key or search attribute."""
    ignored = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    # How a database session shows itself to its administrator is no name of ours.
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            ignored |= {
                id(v) for k, v in pairs if isinstance(k, ast.Constant) and k.value == "application_name"
            }
    attributes = {attribute.value for attribute in SearchAttribute} - _ORDINARY_WORDS
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in ignored:
            text = node.value
            if text.startswith(QUEUE_WORDS) or text in attributes or re.match(_ID_START, text):
                found.append((text, node.lineno))
    return found


_ORDINARY_WORDS = {SearchAttribute.SYSTEM.value, SearchAttribute.REGION.value}
"""Also words of other people's languages: a search attribute only beside the others."""
_ID_START = r"(plan:)?(o2p|t2b|pat|bill|cr|rev|rel|inv|poll|co|coc):"


def test_names_are_built_in_one_place() -> None:
    found = [
        f"{where(module.path, line)}: {text!r}"
        for module in modules()
        if module.path != NAMES and module.package != "simulators"
        for text, line in spelled_names(module.tree)
    ]
    assert not found, "use canonical.names:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'queue = "trueup-workflows"',
        'queue = f"trueup-system-{name}"',
        'saga = f"o2p:{region}:{system}:{deal}"',
        'plan = f"plan:o2p:{region}"',
        'key = SearchAttributeKey.for_keyword("SagaStatus")',
    ],
)
def test_a_name_built_elsewhere_is_noticed(source: str) -> None:
    assert len(spelled_names(ast.parse(source))) == 1


def test_documentation_may_show_names() -> None:
    assert spelled_names(ast.parse('"""o2p:emea:sf-main:006"""\nx = 1')) == []


def test_the_words_looked_for_are_the_real_ones() -> None:
    assert QUEUE_WORDS[:2] == (WORKFLOW_QUEUE, LEDGER_QUEUE)
    assert system_queue("x").startswith(QUEUE_WORDS[2])
    assert PLAN_PREFIX == "plan:"


def test_time_limits_in_the_settings_are_the_sagas_own() -> None:
    """``[retry]`` and ``Timings`` cannot import each other; this keeps their names and defaults one."""
    assert Timings(**RetrySection().model_dump()) == Timings()
    assert set(RetrySection.model_fields) == set(Timings.model_fields)


def test_the_pace_in_the_settings_is_the_runs_own() -> None:
    assert Pace(**BillingSection().model_dump()) == Pace()
    assert set(BillingSection.model_fields) == set(Pace.model_fields)


def test_the_pace_of_feedback_in_the_settings_is_the_runs_own() -> None:
    assert FeedbackPace(**FeedbackSection().model_dump()) == FeedbackPace()
    # Whether margin is told is no matter of pace: it holds at once, for runs under way too.
    assert set(FeedbackSection.model_fields) - {"margin"} == set(FeedbackPace.model_fields)


def test_packages_are_what_gets_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for package in PACKAGES:
        if (ROOT / package).is_dir():
            assert f'"{package}*"' in text, f"{package} would be missing from an installation"
