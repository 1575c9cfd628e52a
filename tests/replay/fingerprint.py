"""Which commands the workflow code can give Temporal, in source order: a fingerprint of every function.

Two releases with one fingerprint order the same commands in the same places, so a history of one replays
under the other (as far as the order within a function goes; the recorded histories prove the rest).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
COMMANDS = frozenset(
    {
        # Temporal's own: each is an event, or decides which comes next.
        "execute_activity",
        "sleep",
        "wait_condition",
        "continue_as_new",
        "upsert_search_attributes",
        "upsert_memo",
        "patched",
        "deprecate_patch",
        "execute_child_workflow",
        "start_child_workflow",
        "random",
        "uuid4",
        "now",
        "gather",
        "create_task",
        "wait_for",
        "is_continue_as_new_suggested",
        # The kernel's, which end in one of those.
        "step",
        "gate",
        "hold",
        "together",
        "retract",
        "forget",
        "settled",
        "delivery_step",
        "publish",
        "_call",
        "_book",
        "_pause",
        "_attempt",
        "_execute_patiently",
        "_open_case",
        "_close_case",
        "_remind",
        "_wait",
        "_park",
        "_changed",
        "_set_status",
    }
)


def fingerprints() -> dict[str, str]:
    """By function of ``workflows/`` that gives commands: their sequence, as a short digest."""
    found: dict[str, str] = {}
    for file in sorted(WORKFLOWS.rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for name, function in _functions(ast.parse(file.read_text()), module):
            calls = list(_commands(function))
            if calls:
                digest = hashlib.sha256("\n".join(calls).encode()).hexdigest()[:12]
                found[name] = f"{len(calls)} {digest}"
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}.{child.name}")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}.{child.name}", child


def _commands(node: ast.AST) -> Iterator[str]:
    """Command calls in source order, with what they call, how they are awaited and what surrounds them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.While, ast.For, ast.If, ast.Match, ast.Try)):
            inner = list(_commands(child))
            if inner:
                yield type(child).__name__
                yield from inner
                yield "end"
            continue
        if isinstance(child, ast.Call):
            name = _name(child.func)
            if name in COMMANDS:
                yield f"{name}({_subject(child)})"
        yield from _commands(child)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


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
