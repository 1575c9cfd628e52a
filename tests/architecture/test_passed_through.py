"""What the workflow sandbox does not watch, because every run shares it, is watched by reading it.

That no module of ``workflows`` asks a clock, draws lots or does input and output is in the import table
(``test_imports``).
"""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import Module, modules, where
from wiring.workers import PASSED_THROUGH

READ_ONLY = ("Mapping", "tuple", "frozenset", "Sequence")
"""Types of module constants: a type checker refuses writes to them."""
KEEPING = ("cache", "lru_cache", "global")


def test_everything_but_the_definitions_of_workflows_is_passed_through() -> None:
    found = []
    for module in _workflow_modules():
        passed = any(module.name == name or module.name.startswith(f"{name}.") for name in PASSED_THROUGH)
        if passed and _defines_a_workflow(module):
            found.append(f"{module.name} defines a workflow: the sandbox has to load it for every run")
        if not passed and not _defines_a_workflow(module):
            found.append(f"{module.name} is loaded for every run: add it to PASSED_THROUGH in wiring/workers")
    assert not found, "\n".join(found)


def test_no_name_is_passed_through_that_is_not_there() -> None:
    names = {module.name for module in modules()}
    gone = [name for name in PASSED_THROUGH if name.startswith("workflows") and name not in names]
    assert not gone


def test_workflows_keep_nothing_between_runs() -> None:
    found = [f"{where(module.path, line)} {words}" for module in _workflow_modules()
             for words, line in kept(module.tree)]  # fmt: skip
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "SEEN = {}",
        "SEEN: dict[str, int] = {}",
        "SEEN = []",
        "SEEN = set()",
        "SEEN = defaultdict(list)",
        "from functools import cache\n@cache\ndef f(): ...",
        "import functools\n@functools.lru_cache(9)\ndef f(): ...",
        "N = 0\ndef f():\n    global N\n    N += 1",
        "class A:\n    seen = []",
    ],
)
def test_what_is_kept_is_noticed(source: str) -> None:
    assert kept(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "WORDS: Mapping[str, str] = {'a': 'b'}",
        "NAMES = ('a', 'b')",
        "KNOWN = frozenset({'a'})",
        "def f():\n    return {}",
        "class A:\n    ends: dict[str, str] = field(default_factory=dict)",
        "class A(BaseModel):\n    steps: list[str] = []",
    ],
)
def test_constants_are_allowed(source: str) -> None:
    assert not kept(ast.parse(source))


def kept(tree: ast.Module) -> list[tuple[str, int]]:
    """(words, line) of what could carry something from one run to the next."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.append((f"changes the module's {', '.join(node.names)}", node.lineno))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found += [
                (f"caches what {node.name} answered", node.lineno)
                for one in node.decorator_list
                if _called(one) in KEEPING
            ]
        if isinstance(node, ast.Module) or (isinstance(node, ast.ClassDef) and not _is_model(node)):
            found += [
                ("keeps something that can be written to", one.lineno)
                for one in node.body
                if isinstance(one, (ast.Assign, ast.AnnAssign)) and _writable(one)
            ]
    return found


def _writable(node: ast.Assign | ast.AnnAssign) -> bool:
    if isinstance(node, ast.AnnAssign) and _head(node.annotation) in READ_ONLY:
        return False
    displays = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
    makers = ("dict", "list", "set", "defaultdict", "Counter", "deque", "OrderedDict", "bytearray")
    return isinstance(node.value, displays) or (
        isinstance(node.value, ast.Call) and _called(node.value) in makers
    )


def _is_model(node: ast.ClassDef) -> bool:
    """Whether each instance gets a copy of its own of what stands in the class, as pydantic's do."""
    return any(_called(base) in ("BaseModel",) for base in node.bases)


def _called(node: ast.expr) -> str:
    """The last part of a name, of what is called or read."""
    if isinstance(node, ast.Call):
        return _called(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _head(annotation: ast.expr) -> str:
    return _called(annotation.value if isinstance(annotation, ast.Subscript) else annotation)


def _workflow_modules() -> list[Module]:
    found = [module for module in modules() if module.package == "workflows"]
    # A package's own file is loaded with whatever lies in it; an empty one costs and keeps nothing.
    return [module for module in found if module.path.name != "__init__.py" or len(module.tree.body) > 1]


def _defines_a_workflow(module: Module) -> bool:
    return any(
        _called(one) == "defn"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        for one in node.decorator_list
    )
