"""Which commands the workflow code can give Temporal, in source order: a fingerprint of every function.

Two releases with one fingerprint order the same commands in the same places, so a history of one replays
under the other (as far as the order within a function goes; the recorded histories prove the rest). A
function that calls one that gives commands gives commands itself: the order of a saga's steps counts.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
COMMANDS = frozenset(
    {
        "execute_activity",
        "start_activity",
        "sleep",
        "wait_condition",
        "continue_as_new",
        "upsert_search_attributes",
        "upsert_memo",
        "patched",
        "deprecate_patch",
        "execute_child_workflow",
        "start_child_workflow",
        "get_external_workflow_handle",
        "random",
        "uuid4",
        "now",
        "gather",
        "create_task",
        "wait_for",
        "is_continue_as_new_suggested",
    }
)
"""Temporal's own: each is an event, or decides which comes next."""


def sources() -> dict[str, str]:
    """The workflow code by module."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file.read_text()
        for file in sorted(WORKFLOWS.rglob("*.py"))
    }


def fingerprints(texts: Mapping[str, str]) -> dict[str, str]:
    """By function that gives commands: their sequence, as a short digest.

    Args:
        texts: source code by module.
    """
    functions = [one for module, text in texts.items() for one in _functions(_parsed(text), module)]
    giving = set(COMMANDS)
    while more := {
        name.rpartition(".")[2] for name, function in functions if next(_commands(function, giving), None)
    }.difference(giving):
        giving |= more
    found: dict[str, str] = {}
    for name, function in functions:
        calls = list(_commands(function, giving))
        if calls:
            found[name] = f"{len(calls)} {hashlib.sha256(chr(10).join(calls).encode()).hexdigest()[:12]}"
    return found


@functools.cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}.{child.name}")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}.{child.name}", child


def _commands(node: ast.AST, giving: set[str]) -> Iterator[str]:
    """Command calls in source order, with what they call, how they are awaited and what surrounds them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.While, ast.For, ast.If, ast.Match, ast.Try)):
            inner = list(_commands(child, giving))
            if inner:
                yield type(child).__name__
                yield from inner
                yield "end"
            continue
        if isinstance(child, ast.Await) and not _is_command(child.value, giving):
            # Whatever is waited for decides when what follows is ordered.
            yield f"await {_last(child.value)}"
        if isinstance(child, ast.Call) and _is_command(child, giving):
            yield f"{_name(child.func)}({_subject(child)})"
        yield from _commands(child, giving)


def _is_command(value: ast.expr, giving: set[str]) -> bool:
    return isinstance(value, ast.Call) and _name(value.func) in giving


def _name(function: ast.expr) -> str:
    """What is called. A question to the saga's state gives no command, whatever it is called."""
    if isinstance(function, ast.Attribute):
        return "" if _last(function.value) == "state" else function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _last(value: ast.expr) -> str:
    if isinstance(value, ast.Call):
        return _last(value.func)
    if isinstance(value, ast.Attribute):
        return value.attr
    return value.id if isinstance(value, ast.Name) else ""


def _subject(call: ast.Call) -> str:
    """The activity and step names among a command's arguments: what a history shows of it."""
    words = []
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        if isinstance(argument, ast.Attribute):
            words.append(argument.attr)
        elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            # Titles are shown, not compared: only ids count.
            words.append(argument.value if " " not in argument.value else "...")
    return ",".join(words)
