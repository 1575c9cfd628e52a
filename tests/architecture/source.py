"""The product's source as data: its modules, what they import, the files under version control."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "canonical",
    "rules",
    "workflows",
    "activities",
    "connectors",
    "ledger",
    "runtime",
    "wiring",
    "gateway",
    "simulators",
    "cli",
    "worker",
)
"""Everything that ships; ``worker`` is a module. A folder outside this list and without a row in the
import table fails ``test_every_package_has_a_row``."""
SUPPORT = ("tests", "bench", "docs", "deploy")
STANDARD = frozenset(sys.stdlib_module_names)


@dataclass(frozen=True)
class Module:
    """One Python module of the product."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.split(".")[0]

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return parse(self.path)

    def imports(self) -> list[tuple[str, int]]:
        """(imported module, line), also of imports inside functions and under ``TYPE_CHECKING``.

        ``from package import name`` counts as an import of ``package.name`` where that is a module.
        """
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                for alias in node.names:
                    whole = f"{base}.{alias.name}"
                    found.append((whole if is_module(whole) else base, node.lineno))
            elif isinstance(node, ast.Call) and (name := _dynamic(node)) is not None:
                found.append((name, node.lineno))
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        parts = self.name.split(".")
        # A package's own name is its first parent; a module's is not.
        keep = len(parts) - node.level + (self.path.name == "__init__.py")
        return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _dynamic(call: ast.Call) -> str | None:
    """The module named by ``importlib.import_module("...")`` or ``__import__("...")``."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in ("import_module", "__import__") or not call.args:
        return None
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def is_module(name: str) -> bool:
    """Whether ``name`` is a module or package of the product."""
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@cache
def modules() -> tuple[Module, ...]:
    """All modules of the product that are there."""
    return tuple(_modules())


def _modules() -> Iterator[Module]:
    for package in PACKAGES:
        if (single := ROOT / f"{package}.py").is_file():
            yield Module(package, single)
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


def top_level() -> list[str]:
    """Top-level Python packages and modules that stand in the repository."""
    return sorted(
        {path.parent.name for path in ROOT.glob("*/*.py")} | {path.stem for path in ROOT.glob("*.py")}
    )


@cache
def tracked() -> tuple[Path, ...]:
    """Files that are, or are about to be, under version control; all of them in an exported tree."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        skipped = {".venv", ".git", "build", "__pycache__"}
        return tuple(
            path for path in sorted(ROOT.rglob("*")) if path.is_file() and not skipped & {*path.parts}
        )
    return tuple(path for name in listed if name and (path := ROOT / name).is_file())


def where(path: Path, line: int) -> str:
    """A place as editors understand it."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    return f"{shown}:{line}"
