"""The tables of the documentation that come out of the code, and the places where they stand.

A page holds a table between ``<!-- table: name -->`` and ``<!-- end -->``. ``python -m tests.docs.write``
writes them anew; ``test_tables.py`` fails when a page and the code differ.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from itertools import groupby
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from activities.failures import SERVER_RETRIES
from bench import kept
from bench.result import HEAD
from bench.result import table as measured
from canonical.authority import AUTHORITY, Phase
from canonical.failures import FAILURES_BY_KIND, FailureKind
from canonical.firm import BillingPolicy, GatePolicy, MilestoneShape, Policies, RoleNeed, Route, Service
from canonical.money import CurrencyCode
from canonical.names import SearchAttribute
from canonical.parties import LegalEntity
from canonical.saga import SagaStatus
from cli.main import app
from connectors.kit.secrets import Secret
from gateway.app import describe_app
from gateway.problems import Kind
from ledger.tables.base import Table as LedgerTable
from rules.causes import CATALOGUE
from runtime import gateway_sections, sections
from runtime.settings import Settings
from tests.architecture.test_imports import TABLE as IMPORTS
from wiring.vendors import VENDORS
from wiring.webhooks import KINDS, receiver_class
from workflows.details import STATUS_WORDS

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

MADE_BY_OTHERS = (ROOT / "docs" / "connectors.md",)
"""What the acceptance suite found; it checks that page itself."""

Row = Sequence[str]


def pages() -> list[Path]:
    """Every page of the documentation that people write."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "connectors" / "README.md"]
    return sorted(page for page in found if page.is_file() and page not in MADE_BY_OTHERS)


def render(text: str) -> str:
    """A page with its tables as the code has them now."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{TABLES[block[2]]()}\n\n{block[3]}", text)


def table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


# --- business ----------------------------------------------------------------------------------------


def authority() -> str:
    """Who owns which field, in which phase. Fields of one object with the same answers share a row."""

    def key(row: Any) -> tuple[str, ...]:
        return (row.object, row.phase.value, row.owner.value, row.update.value, row.reason, row.survivorship)

    groups: dict[tuple[Any, ...], list[str]] = {}
    for row in AUTHORITY:
        groups.setdefault((*key(row), row.propagates_to), []).append(row.field)
    rows = []
    for (object_, phase, owner, update, reason, merged, targets), fields in groups.items():
        rows.append(
            (
                object_,
                ", ".join(f"`{field}`" for field in fields),
                "before" if phase == Phase.BEFORE_APPROVAL.value else "after",
                owner,
                update.replace("_", " "),
                ", ".join(role.value for role in targets) or "nobody",
                merged,
                reason,
            )
        )
    # One object's rows stand together, before approval first; the order in the code otherwise.
    order = list(dict.fromkeys(row[0] for row in rows))
    rows.sort(key=lambda row: (order.index(row[0]), row[2] != "before"))
    head = (
        "object",
        "fields",
        "approval",
        "owner",
        "changes by",
        "we may write it to",
        "merged clients",
        "why",
    )
    return table(head, rows)


def causes() -> str:
    """The catalogue of causes, by the queue that works on them."""
    entries = sorted(CATALOGUE.values(), key=lambda one: one.queue)
    parts = []
    for queue, group in groupby(entries, key=lambda one: one.queue):
        rows = [(f"`{one.code.value}`", one.meaning, one.remedy) for one in group]
        parts.append(f"### {queue.value}\n\n" + table(("cause", "what it means", "what to do"), rows))
    return "\n\n".join(parts)


def failure_kinds() -> str:
    """What happens after a failure, by its kind."""
    rows = []
    for kind, error in FAILURES_BY_KIND.items():
        passing = kind.passes_by_itself
        rows.append(
            (
                f"`{kind.value}`",
                f"`{error.__name__}`",
                "yes" if kind in SERVER_RETRIES else "no",
                _then(kind, passing),
            )
        )
    return table(("kind", "error class", "retried by the server first", "then the saga"), rows)


def _then(kind: FailureKind, passing: bool) -> str:
    if passing:
        return "waits, goes on by itself"
    if kind is FailureKind.UNKNOWN_OUTCOME:
        return "waits and looks a bounded number of times, then parks"
    return "parks, asks a person"


def statuses() -> str:
    """A saga's states."""
    rows = [
        (f"`{status.value}`", STATUS_WORDS[status], "yes" if status.is_final else "no")
        for status in SagaStatus
    ]
    return table(("status", "what it means", "final"), rows)


# --- architecture --------------------------------------------------------------------------------------


def imports() -> str:
    """Which package may import which of ours."""
    rows = []
    for row in IMPORTS:
        shown = [name for name in row.never if name in ("httpx", "sqlmodel", "temporalio", "time")]
        never = ", ".join(dict.fromkeys(shown))
        ours = [name for name in row.ours if not _is_part(name, row.ours)]
        limits = (
            "only " + ", ".join(row.only_others) + " besides the standard library" if row.only_others else ""
        )
        rows.append((row.title, ", ".join(ours), "; ".join(part for part in (never, limits) if part)))
    return table(("package", "may import, of ours", "never, or only"), rows)


def _is_part(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in names)


def search_attributes() -> str:
    """What the saga lists can be filtered by."""
    kinds = {SearchAttribute.PARKED_SINCE: "Datetime"}
    return table(
        ("attribute", "type"), [(f"`{one.value}`", kinds.get(one, "Keyword")) for one in SearchAttribute]
    )


def ledger_tables() -> str:
    """The ledger's tables and what each holds."""
    models = sorted(_subclasses(LedgerTable), key=lambda model: str(model.__tablename__))
    rows = []
    for model in models:
        words = inspect.getdoc(model) or ""
        rows.append((f"`{model.__tablename__}`", words.split("\n\n")[0]))
    return table(("table", "what a row is"), rows)


def _subclasses(model: type[Any]) -> Iterator[type[Any]]:
    for one in model.__subclasses__():
        yield from _subclasses(one)
        if getattr(one, "__tablename__", None) and hasattr(one, "__table__"):
            yield one


# --- configuration ---------------------------------------------------------------------------------------


def settings() -> str:
    """Every section of ``trueup.toml`` with every key."""
    parts = []
    for name, field in Settings.model_fields.items():
        model = _model(field.annotation)
        if model is None or not issubclass(model, sections.Section):
            continue
        key = field.alias or name
        title = "[systems.INSTANCE]" if key == "systems" else f"[{key}]"
        many = get_origin(field.annotation) is tuple
        parts.append(_section(f"[{title}]" if many else title, model))
        if model is sections.TemporalSection:
            parts.append(_section("[temporal.tls]", sections.TlsSection))
        if model is gateway_sections.GatewaySection:
            parts += [_section(title, part) for title, part in GATEWAY_PARTS.items()]
    return "\n\n".join(parts)


GATEWAY_PARTS: dict[str, type[BaseModel]] = {
    "[gateway.sources.SOURCE]": gateway_sections.SourceSection,
    "[[gateway.sources.SOURCE.events]]": gateway_sections.EventRule,
    "[gateway.subscriptions.NAME]": gateway_sections.SubscriptionSection,
    "[gateway.tokens]": gateway_sections.TokenSection,
    "[gateway.clients.CLIENT]": gateway_sections.ClientSection,
}
"""Sections within ``[gateway]``."""


def webhook_kinds() -> str:
    """Each kind of webhook source with its own keys."""
    parts = []
    for kind in KINDS:
        model = receiver_class(kind)
        words = _sentence((inspect.getdoc(model) or "").replace("``", "`"))
        parts.append(f'### kind = "{kind}"\n\n{words}\n\n{_keys(model)}')
    return "\n\n".join(parts)


def api_operations() -> str:
    """The operations of the process API with the scope that each needs."""
    rows = []
    for address, methods in describe_app().openapi()["paths"].items():
        for method, one in methods.items():
            scopes = [scope for each in one["security"] for scope in each["oauth2"]]
            if scopes:
                words = _sentence(one["description"].split("\n\n")[0])
                rows.append((f"`{method.upper()} {address}`", f"`{scopes[0]}`", words))
    return table(("operation", "scope", "what it does"), rows)


def problem_kinds() -> str:
    """Every kind of problem document."""
    rows = [(f"`{kind.uri.rpartition(':')[2]}`", str(kind.status), kind.title) for kind in Kind]
    return table(("type, behind `urn:trueup:problem:`", "status", "title"), rows)


def catalogue() -> str:
    """The firm's own catalogue and policies."""
    places: dict[str, type[BaseModel]] = {
        "[[entities]]": LegalEntity,
        "[[services]]": Service,
        "[[services]] roles": RoleNeed,
        "[[services]] milestones": MilestoneShape,
        "[[routes]]": Route,
        "[policies]": Policies,
        "[policies.billing]": BillingPolicy,
        "[policies.credit_review], [policies.sow_gate], [policies.client_choice], "
        "[policies.billing.draft_review], [policies.billing.credit_approval]": GatePolicy,
    }
    return "\n\n".join(_section(title, model) for title, model in places.items())


def vendors() -> str:
    """Each vendor's own keys of its ``[systems.INSTANCE]`` section."""
    parts = []
    for name, vendor in VENDORS.items():
        model, _ = vendor.load()
        folder = vendor.package.replace(".", "/")
        page = f"{folder}/README.md"
        parts.append(f'### vendor = "{name}"\n\nMore about it: [{page}](../{page}).\n\n{_keys(model)}')
    return "\n\n".join(parts)


def _section(title: str, model: type[BaseModel]) -> str:
    words = (inspect.getdoc(model) or "").split("\n\n")[0]
    words = re.sub(r"^``\[+[^`]*``: ", "", words).replace("``", "`")
    return f"### `{title}`\n\n{_sentence(words)}\n\n{_keys(model)}"


def _keys(model: type[BaseModel]) -> str:
    words = _attribute_words(model)
    rows = []
    for name, field in model.model_fields.items():
        if name == "options":
            # Holds what is not ours: the vendor's own keys, see below.
            continue
        rows.append((f"`{field.alias or name}`", _type(field), _default(field), words.get(name, "")))
    return table(("key", "value", "default", "meaning"), rows)


def _attribute_words(model: type[BaseModel]) -> dict[str, str]:
    """The text under each attribute, as it stands in the source."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (isinstance(base, type) and issubclass(base, BaseModel)) or base is BaseModel:
            continue
        module = inspect.getmodule(base)
        if not isinstance(module, ModuleType) or not (module.__file__ or "").startswith(str(ROOT)):
            continue
        body = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = _sentence(text.value.value.replace("``", "`"))
    return found


def _sentence(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


PLAIN: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    Decimal: "number",
    bool: "true or false",
    Path: "path",
    date: "date",
    Any: "anything",
}


def _type(field: FieldInfo) -> str:
    return _words(field.annotation)


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is CurrencyCode:
        return "ISO 4217 code"
    if origin is Annotated:
        return _words(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(one) for one in arguments if one is not NoneType))
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return f"table of {_words(arguments[1])}"
    if str(origin) == "typing.Literal":
        return ", ".join(f'`"{one}"`' for one in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Secret):
        return "secret"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f'`"{one.value}"`' for one in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}, []):
        return "none"
    if isinstance(value, BaseModel):
        return "see its keys"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Enum):
        return f'`"{value.value}"`'
    if isinstance(value, tuple):
        return ", ".join(f"`{one.value if isinstance(one, Enum) else one}`" for one in value)
    if isinstance(value, dict):
        return "a table in `settings.py`"
    return f"`{value:_}`" if isinstance(value, int) and value >= 10_000 else f"`{value}`"


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model(argument)
        if found is not None:
            return found
    return None


COMMON = frozenset({"config", "as_json", "as_name"})
"""Options that every command takes: they stand on the README."""
BILLING_COMMANDS = (
    "start", "unbilled", "approvals list", "approvals show", "approvals approve", "approvals reject",
    "approvals send-back", "approvals hold", "approvals move", "approvals write-down", "approvals transfer",
    "approvals amend", "exceptions", "resolve", "close-check", "reverse", "opening list", "opening import",
    "rates list", "rates import", "schedules list", "schedules apply", "schedules pause", "schedules resume",
    "show", "cancel",
)  # fmt: skip


def billing_commands() -> str:
    """The commands of time-to-billing with what they take."""
    rows = [
        (f"`{' '.join(['trueup', name])}`", _takes(one), _sentence((one.help or "").split("\n\n")[0]))
        for name in BILLING_COMMANDS
        for one in [_command(name)]
    ]
    return table(("command", "takes", "what it does"), rows)


def _command(name: str) -> Any:
    found: Any = typer.main.get_command(app)
    for word in name.split():
        found = found.get_command(typer.Context(found), word)
    return found


def _takes(command: Any) -> str:
    shown = []
    for parameter in command.params:
        if parameter.name in COMMON or parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            name = (parameter.metavar or parameter.name.upper()).strip("[]")
            shown.append(f"`{name}`" if parameter.required else f"`[{name}]`")
            continue
        flag = parameter.opts[0]
        shown.append(f"`{flag}`" + (" (needed)" if parameter.required else ""))
    return " ".join(shown)


def bench() -> str:
    """What was measured and kept, with the machine it was measured on."""
    parts = kept.load()
    return "\n\n".join([table(HEAD, measured(parts)), *(f"Measured: {one}." for one in kept.places(parts))])


TABLES: dict[str, Callable[[], str]] = {
    "authority": authority,
    "causes": causes,
    "failure-kinds": failure_kinds,
    "statuses": statuses,
    "imports": imports,
    "search-attributes": search_attributes,
    "ledger-tables": ledger_tables,
    "settings": settings,
    "catalogue": catalogue,
    "vendors": vendors,
    "webhook-kinds": webhook_kinds,
    "api-operations": api_operations,
    "problem-kinds": problem_kinds,
    "bench": bench,
    "billing-commands": billing_commands,
}
"""By the name that stands in a page's mark."""
