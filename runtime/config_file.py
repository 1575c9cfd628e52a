"""Reading ``trueup.toml`` and its overrides, and saying what is wrong with them so that one can mend it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from canonical.failures import ConfigurationError

FILE_VARIABLE = "TRUEUP_CONFIG"
OVERRIDE_PREFIX = "TRUEUP__"
DEFAULT_FILE = Path("trueup.toml")

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: which key, what, and what to do about it."""

    path: KeyPath
    what: str
    remedy: str


@dataclass(frozen=True)
class RawConfig:
    """The file's content with the environment's overrides laid over it."""

    file: Path
    data: dict[str, Any]
    overrides: dict[KeyPath, str]
    """Environment variable by the key it sets."""

    def where(self, path: KeyPath) -> str:
        """Where a key's value comes from: the environment variable that set it, else the file."""
        for length in range(len(path), 0, -1):
            if variable := self.overrides.get(path[:length]):
                return f"environment variable {variable}"
        return str(self.file)

    def error(self, problems: Iterable[Problem]) -> ConfigurationError:
        """All problems, a line each: place, key, what is wrong, what to do."""
        return ConfigurationError(
            [f"{self.where(p.path)}: {show(p.path)}: {p.what}. {p.remedy}" for p in problems]
        )


def show(path: KeyPath) -> str:
    """A key path as TOML users write it; list items count from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if text else part
    return text or "(the file as a whole)"


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: the argument, else ``TRUEUP_CONFIG``, else ``./trueup.toml``."""
    if path is not None:
        return path
    named = environ.get(FILE_VARIABLE)
    return Path(named) if named else DEFAULT_FILE


def read(path: Path, environ: Mapping[str, str]) -> RawConfig:
    """Read the file and lay ``TRUEUP__SECTION__KEY`` variables over it. Fractions stay exact decimals.

    Raises:
        ConfigurationError: no such file, not UTF-8, not TOML (with line and column), or an override that
            does not fit the file's shape.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            [
                f"{path}: there is no such file. Name the configuration with --config or the environment "
                f"variable {FILE_VARIABLE}, or run `trueup demo`, which brings its own."
            ]
        ) from None
    except OSError as problem:
        raise ConfigurationError(
            [f"{path}: cannot be read ({problem.strerror}). Check its permissions."]
        ) from None
    except UnicodeDecodeError as problem:
        raise ConfigurationError(
            [f"{path}: byte {problem.start + 1} is not UTF-8. Save the file as UTF-8."]
        ) from None
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigurationError([_toml_problem(path, text, str(problem))]) from None
    return _with_overrides(RawConfig(path, data, {}), environ)


def _toml_problem(path: Path, text: str, message: str) -> str:
    """tomllib's message with the place in front and the offending line behind."""
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    if place is None:
        lines = text.splitlines() or [""]
        line, column = len(lines), len(lines[-1]) + 1
    else:
        line, column = int(place[1]), int(place[2])
    reason = re.sub(r"\s*\(at [^)]*\)", "", message)
    lines = text.splitlines()
    # Only up to the equals sign: what follows may be a secret that should not have been there.
    shown = lines[line - 1].split("=", 1)[0].strip() if line <= len(lines) else ""
    near = f" near `{shown}`" if shown else ""
    return f"{path}, line {line}, column {column}: not valid TOML: {reason}{near}. Correct that line."


def _with_overrides(raw: RawConfig, environ: Mapping[str, str]) -> RawConfig:
    problems = []
    for variable in sorted(environ):
        if not variable.startswith(OVERRIDE_PREFIX):
            continue
        parts = variable.removeprefix(OVERRIDE_PREFIX).split("__")
        try:
            value = _override_value(environ[variable])
        except tomllib.TOMLDecodeError as problem:
            problems.append(
                f"environment variable {variable}: not a TOML value: {problem}. Quote it as in the file."
            )
            continue
        path = _place(raw.data, parts, value) if all(parts) else None
        if path is None:
            problems.append(
                f"environment variable {variable}: does not name a key. Write {OVERRIDE_PREFIX}SECTION__KEY, "
                f"with an existing item's number (from 0) for lists."
            )
        else:
            raw.overrides[path] = variable
    if problems:
        raise ConfigurationError(problems)
    return raw


def _override_value(text: str) -> Any:
    """Lists, tables and quoted text are TOML; all else stays text, which the section's types convert."""
    if text[:1] in ("[", "{", '"'):
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    return text


def _place(data: dict[str, Any], parts: list[str], value: Any) -> KeyPath | None:
    """Put ``value`` at the named key; upper case and underscores find what the file spells differently.

    Returns:
        The outermost key that the file did not have, or the key itself; None when there is no such place.
    """
    node: Any = data
    path: list[str | int] = []
    created = 0
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        key: str | int
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                return None
            key = int(part)
        elif isinstance(node, dict):
            key = next((k for k in node if _folded(k) == _folded(part)), part.lower())
            if not last and key not in node:
                node[key] = {}
                created = created or len(path) + 1
        else:
            return None
        path.append(key)
        if last:
            node[key] = value
        else:
            node = node[key]
    return tuple(path[: created or len(path)])


def _folded(key: str) -> str:
    return key.lower().replace("-", "_")


def problems_of(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """pydantic's findings in words of the file: nearest valid key, and what to do."""
    details = error.errors(include_url=False)
    return [_problem(model, detail) for detail in details if not _only_follows(detail, details)]


def _only_follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """A list that is too short only because its items were refused needs no message of its own."""
    path = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(path) and other["loc"][: len(path)] == path for other in details
    )


def _problem(model: type[BaseModel], detail: ErrorDetails) -> Problem:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    kind: str = detail["type"]
    if kind == "extra_forbidden":
        valid = keys_at(model, path[:-1])
        near = nearest(str(path[-1]), valid)
        listing = f"Valid keys here: {', '.join(sorted(valid))}." if valid else "Remove it."
        return Problem(path, "unknown key", f'Did you mean "{near}"? {listing}' if near else listing)
    if kind == "missing":
        return Problem(path, "is missing", "Add it.")
    if kind == "value_error":
        return Problem(path, str(detail["ctx"]["error"]), "Correct the value.")
    what = detail["msg"][0].lower() + detail["msg"][1:]
    if kind == "string_pattern_mismatch":
        return Problem(
            path, f"{detail['input']!r} is not allowed here", _pattern_remedy(detail["ctx"]["pattern"])
        )
    if kind in ("enum", "literal_error"):
        expected = str(detail["ctx"]["expected"])
        near = nearest(str(detail["input"]), re.findall(r"'([^']+)'", expected))
        remedy = f'Did you mean "{near}"? ' if near else ""
        return Problem(path, f"{detail['input']!r} is not known", f"{remedy}Use {expected}.")
    return Problem(path, what, "Correct the value.")


def _pattern_remedy(pattern: str) -> str:
    if r"\d" in pattern:
        return "Write host:port."
    return "Use lower-case letters, digits, - and _, beginning with a letter or digit."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Valid keys of the table at ``path``; empty where keys are free."""
    found: Any = model
    for part in path:
        found = _inner(found, part)
        if found is None:
            return []
    target = _model_in(found)
    return [field.alias or name for name, field in target.model_fields.items()] if target else []


def _inner(annotation: Any, part: str | int) -> Any:
    """Annotation of a field, list item or table value inside ``annotation``."""
    if isinstance(part, str) and (model := _model_in(annotation)) is not None:
        for name, field in model.model_fields.items():
            if (field.alias or name) == part:
                return field.annotation
        return None
    for option in _options(annotation):
        arguments = get_args(option)
        if isinstance(part, int) and get_origin(option) in (tuple, list):
            return arguments[0]
        if isinstance(part, str) and get_origin(option) is dict:
            return arguments[1]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next(
        (o for o in _options(annotation) if isinstance(o, type) and issubclass(o, BaseModel)),
        None,
    )


def _options(annotation: Any) -> list[Any]:
    """The annotation without ``Annotated`` and ``None``, one entry per alternative."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [option for argument in get_args(annotation) for option in _options(argument)]
    return [annotation]
