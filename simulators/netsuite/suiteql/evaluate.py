"""Evaluating a parsed query over rows. NULL makes every comparison false, as WHERE needs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cmp_to_key
from typing import Any

from simulators.netsuite.suiteql.parser import (
    AGGREGATES,
    Binary,
    Column,
    Expr,
    Function,
    In,
    IsNull,
    Literal,
    Not,
    Query,
)

Row = Mapping[str, Any]
Scope = Mapping[str, Row]
"""Alias to row."""
Getter = Callable[[Scope], Any]


class QueryRefused(Exception):
    """The query names something that does not exist, or compares what cannot be."""


_FORMATS = (
    ("YYYY", "%Y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH24", "%H"),
    ("MI", "%M"),
    ("SS", "%S"),
)


def python_format(oracle: str) -> str:
    """An Oracle date format in Python's terms.

    Raises:
        QueryRefused: an element that is not served.
    """
    text = oracle.upper().replace('"T"', "T")
    for theirs, ours in _FORMATS:
        text = text.replace(theirs, ours)
    if re.search(r"[A-SU-Za-z]", re.sub(r"%[YmdHMS]", "", text)):
        raise QueryRefused(f"date format {oracle!r} is not supported")
    return text


@dataclass
class Compiler:
    """Turns expressions into functions of a scope, checking names on the way."""

    columns: dict[str, set[str]]
    """Alias to the columns of its table."""
    groups: list[Scope] | None = None

    def compile(self, expr: Expr) -> Getter:
        """A function computing the expression."""
        match expr:
            case Literal(value):
                return lambda scope: value
            case Column(name, table):
                return self._column(name, table)
            case Function():
                return self._function(expr)
            case Not(inner):
                test = self.compile(inner)
                return lambda scope: not test(scope)
            case IsNull(inner):
                get = self.compile(inner)
                return lambda scope: get(scope) is None
            case In(inner, options):
                return self._in(inner, options)
            case Binary("AND", left, right):
                first, second = self.compile(left), self.compile(right)
                return lambda scope: first(scope) and second(scope)
            case Binary("OR", left, right):
                first, second = self.compile(left), self.compile(right)
                return lambda scope: first(scope) or second(scope)
            case Binary(operator, left, right):
                return self._comparison(operator, self.compile(left), self.compile(right))
        raise QueryRefused(f"cannot evaluate {expr}")

    def _column(self, name: str, table: str | None) -> Getter:
        if table is None:
            holders = [alias for alias, known in self.columns.items() if name in known]
            if len(holders) > 1:
                raise QueryRefused(f"Field '{name}' is ambiguous")
            if not holders:
                raise QueryRefused(f"Field '{name}' was not found")
            table = holders[0]
        elif table not in self.columns:
            raise QueryRefused(f"Table alias '{table}' was not found")
        elif name not in self.columns[table]:
            raise QueryRefused(f"Field '{name}' for record '{table}' was not found")
        alias = table
        return lambda scope: scope[alias].get(name)

    def _in(self, inner: Expr, options: tuple[Expr, ...]) -> Getter:
        get = self.compile(inner)
        others = [self.compile(o) for o in options]
        if all(isinstance(o, Literal) for o in options):
            # Long lists of keys are common: look them up instead of comparing one by one.
            texts = {_text(o.value) for o in options if isinstance(o, Literal)}

            def quick(scope: Scope) -> bool:
                found = get(scope)
                return found is not None and not isinstance(found, date) and _text(found) in texts

            return quick
        return lambda scope: any(_compare("=", get(scope), other(scope)) for other in others)

    def _comparison(self, operator: str, left: Getter, right: Getter) -> Getter:
        return lambda scope: _compare(operator, left(scope), right(scope))

    def _function(self, expr: Function) -> Getter:
        if expr.name in AGGREGATES:
            raise QueryRefused(f"{expr.name} is not allowed here")
        arguments = [self.compile(a) for a in expr.arguments]

        def values(scope: Scope) -> list[Any]:
            return [a(scope) for a in arguments]

        match expr.name:
            case "UPPER":
                return lambda scope: _case(values(scope)[0], str.upper)
            case "LOWER":
                return lambda scope: _case(values(scope)[0], str.lower)
            case "TO_TIMESTAMP" | "TO_DATE":
                return lambda scope: _moment(*values(scope))
            case "TO_CHAR":
                return lambda scope: _chars(*values(scope))
            case "TO_NUMBER":
                return lambda scope: _number(values(scope)[0])
        return lambda scope: next((v for v in values(scope) if v is not None), None)


def _case(value: Any, how: Callable[[str], str]) -> Any:
    return None if value is None else how(str(value))


def _moment(text: Any, oracle: Any = "YYYY-MM-DD") -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(str(text), python_format(str(oracle)))  # noqa: DTZ007 - account time zone
    except ValueError:
        raise QueryRefused(f"'{text}' does not match the date format '{oracle}'") from None


def _chars(value: Any, oracle: Any = None) -> str | None:
    if value is None:
        return None
    if isinstance(value, date) and oracle is not None:
        return value.strftime(python_format(str(oracle)))
    return _text(value)


def _number(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise QueryRefused(f"'{value}' is not a number") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def _aligned(left: Any, right: Any) -> tuple[Any, Any]:
    """Both sides in one type, or None for what cannot be compared."""
    if isinstance(left, date) or isinstance(right, date):
        return _as_moment(left), _as_moment(right)
    numeric = isinstance(left, int | Decimal) and not isinstance(left, bool)
    numeric = numeric or (isinstance(right, int | Decimal) and not isinstance(right, bool))
    if numeric:
        try:
            return Decimal(str(left)), Decimal(str(right))
        except InvalidOperation:
            return _text(left), _text(right)
    return _text(left), _text(right)


def _as_moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - account time zone
    for shape in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(str(value), shape)  # noqa: DTZ007 - account time zone
        except ValueError:
            continue
    raise QueryRefused(f"'{value}' is not a date; use TO_DATE or TO_TIMESTAMP")


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if operator == "LIKE":
        pattern = re.escape(str(right)).replace("%", ".*").replace("_", ".")
        return re.fullmatch(pattern, _text(left), re.DOTALL) is not None
    a, b = _aligned(left, right)
    match operator:
        case "=":
            return bool(a == b)
        case "!=":
            return bool(a != b)
        case "<":
            return bool(a < b)
        case ">":
            return bool(a > b)
        case "<=":
            return bool(a <= b)
    return bool(a >= b)


def _conjuncts(expr: Expr | None) -> list[Expr]:
    if isinstance(expr, Binary) and expr.operator == "AND":
        return _conjuncts(expr.left) + _conjuncts(expr.right)
    return [] if expr is None else [expr]


@dataclass
class Plan:
    """A query bound to its tables."""

    query: Query
    columns: dict[str, set[str]]
    fetch: Callable[[str], Iterable[Row]]
    """Rows of a table by its name."""
    compiler: Compiler = field(init=False)

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.columns)

    def run(self) -> list[dict[str, Any]]:
        """Every row of the answer, in order."""
        query = self.query
        scopes: Iterable[Scope] = ({query.alias: row} for row in self.fetch(query.table))
        for join in query.joins:
            scopes = self._joined(scopes, join.table, join.alias, join.on, join.outer)
        if query.where is not None:
            test = self.compiler.compile(query.where)
            scopes = [s for s in scopes if test(s)]
        found = list(scopes)
        aggregated = any(isinstance(o.expr, Function) and o.expr.name in AGGREGATES for o in query.outputs)
        rows = self._grouped(found) if aggregated or query.group else self._plain(found)
        if query.distinct:
            unique: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
            for row in rows:
                unique.setdefault(tuple(sorted((k, _text(v)) for k, v in row.items())), row)
            rows = list(unique.values())
        return rows

    # --- joins --------------------------------------------------------------------------------

    def _joined(self, scopes: Iterable[Scope], table: str, alias: str, on: Expr, outer: bool) -> list[Scope]:
        right = list(self.fetch(table))
        equal = next((c for c in _conjuncts(on) if self._links(c, alias)), None)
        test = self.compiler.compile(on)
        joined: list[Scope] = []
        if isinstance(equal, Binary):
            mine, other = equal.left, equal.right
            if not (isinstance(mine, Column) and mine.table == alias):
                mine, other = other, mine
            get_mine, get_other = self.compiler.compile(mine), self.compiler.compile(other)
            index: dict[str, list[Row]] = {}
            for row in right:
                value = get_mine({alias: row})
                if value is not None:
                    index.setdefault(_text(value), []).append(row)

            def candidates(scope: Scope) -> list[Row]:
                return index.get(_text(get_other(scope)), [])
        else:

            def candidates(scope: Scope) -> list[Row]:
                return right

        for scope in scopes:
            matched = [s for s in ({**scope, alias: row} for row in candidates(scope)) if test(s)]
            if not matched and outer:
                matched = [{**scope, alias: {}}]
            joined.extend(matched)
        return joined

    @staticmethod
    def _links(expr: Expr, alias: str) -> bool:
        if not isinstance(expr, Binary) or expr.operator != "=":
            return False
        sides = (expr.left, expr.right)
        tables = [s.table for s in sides if isinstance(s, Column)]
        return len(tables) == 2 and None not in tables and tables.count(alias) == 1

    # --- results ------------------------------------------------------------------------------

    def _plain(self, found: list[Scope]) -> list[dict[str, Any]]:
        query = self.query
        if query.order:
            names = {o.name: o.expr for o in query.outputs}
            getters = [(self.compiler.compile(self._order(e, names)), desc) for e, desc in query.order]
            found.sort(key=cmp_to_key(lambda a, b: _ordered(a, b, getters)))
        if not query.outputs:
            return [{k: v for row in scope.values() for k, v in row.items()} for scope in found]
        outputs = [(o.name, self.compiler.compile(o.expr)) for o in query.outputs]
        return [{name: get(scope) for name, get in outputs} for scope in found]

    @staticmethod
    def _order(expr: Expr, names: dict[str, Expr]) -> Expr:
        if isinstance(expr, Column) and expr.table is None and expr.name in names:
            return names[expr.name]
        return expr

    def _grouped(self, found: list[Scope]) -> list[dict[str, Any]]:
        query = self.query
        keys = [self.compiler.compile(e) for e in query.group]
        groups: dict[tuple[str, ...], list[Scope]] = {} if query.group else {(): found}
        for scope in found if query.group else ():
            groups.setdefault(tuple(_text(k(scope)) for k in keys), []).append(scope)
        rows = []
        for members in groups.values():
            row = {}
            for output in query.outputs:
                if isinstance(output.expr, Function) and output.expr.name in AGGREGATES:
                    row[output.name] = self._aggregate(output.expr, members)
                elif output.expr in query.group:
                    row[output.name] = self.compiler.compile(output.expr)(members[0])
                else:
                    raise QueryRefused("not a GROUP BY expression")
            rows.append(row)
        if query.order:
            getters: list[tuple[Getter, bool]] = []
            for expr, desc in query.order:
                name = next((o.name for o in query.outputs if o.expr == expr), None)
                if name is None and isinstance(expr, Column):
                    name = expr.name
                if name is None or name not in {o.name for o in query.outputs}:
                    raise QueryRefused("ORDER BY must name a selected expression here")
                getters.append((lambda scope, n=name: scope[""][n], desc))  # type: ignore[misc]
            rows.sort(key=cmp_to_key(lambda a, b: _ordered({"": a}, {"": b}, getters)))
        return rows

    def _aggregate(self, function: Function, members: list[Scope]) -> Any:
        if function.star:
            return len(members)
        get = self.compiler.compile(function.arguments[0])
        values = [v for v in (get(scope) for scope in members) if v is not None]
        match function.name:
            case "COUNT":
                return len(values)
            case "SUM":
                numbers = [n for n in (_number(v) for v in values) if n is not None]
                return sum(numbers, Decimal(0)) if numbers else None
            case "MIN":
                return min(values, default=None)
        return max(values, default=None)


def _ordered(a: Scope, b: Scope, getters: list[tuple[Getter, bool]]) -> int:
    for get, descending in getters:
        left, right = get(a), get(b)
        if left is None and right is None:
            continue
        if left is None or right is None:
            # NULLs come last when ascending, first when descending, as in Oracle.
            result = 1 if left is None else -1
        else:
            one, two = _aligned(left, right)
            result = 0 if one == two else -1 if one < two else 1
        if result:
            return -result if descending else result
    return 0
