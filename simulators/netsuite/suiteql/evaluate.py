"""Evaluating a parsed query over rows, with SQL's three truth values: a comparison with NULL is unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
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
from simulators.netsuite.suiteql.scalars import (
    QueryRefused,
    change_case,
    compare,
    conjoin,
    negate,
    order_key,
    text_of,
    to_chars,
    to_moment,
    to_number,
)

Row = Mapping[str, Any]
Scope = Mapping[str, Row]
"""Alias to row."""
Getter = Callable[[Scope], Any]


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
                return lambda scope: negate(test(scope))
            case IsNull(inner):
                get = self.compile(inner)
                return lambda scope: get(scope) is None
            case In(inner, options):
                return self._in(inner, options)
            case Binary("AND", left, right):
                first, second = self.compile(left), self.compile(right)
                return lambda scope: conjoin(first(scope), lambda: second(scope))
            case Binary("OR", left, right):
                first, second = self.compile(left), self.compile(right)
                # a OR b is NOT (NOT a AND NOT b), with unknown left unknown.
                return lambda scope: negate(conjoin(negate(first(scope)), lambda: negate(second(scope))))
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
            texts = {text_of(o.value) for o in options if isinstance(o, Literal)}

            def quick(scope: Scope) -> bool | None:
                found = get(scope)
                if found is None:
                    return None
                if isinstance(found, date):
                    return any(compare("=", found, other(scope)) for other in others)
                return text_of(found) in texts

            return quick

        def slow(scope: Scope) -> bool | None:
            found = get(scope)
            return None if found is None else any(compare("=", found, other(scope)) for other in others)

        return slow

    def _comparison(self, operator: str, left: Getter, right: Getter) -> Getter:
        return lambda scope: compare(operator, left(scope), right(scope))

    def _function(self, expr: Function) -> Getter:
        if expr.name in AGGREGATES:
            raise QueryRefused(f"{expr.name} is not allowed here")
        arguments = [self.compile(a) for a in expr.arguments]

        def values(scope: Scope) -> list[Any]:
            return [a(scope) for a in arguments]

        match expr.name:
            case "UPPER":
                return lambda scope: change_case(values(scope)[0], str.upper)
            case "LOWER":
                return lambda scope: change_case(values(scope)[0], str.lower)
            case "TO_TIMESTAMP" | "TO_DATE":
                return lambda scope: to_moment(*values(scope))
            case "TO_CHAR":
                return lambda scope: to_chars(*values(scope))
            case "TO_NUMBER":
                return lambda scope: to_number(values(scope)[0])
        return lambda scope: next((v for v in values(scope) if v is not None), None)


def _conjuncts(expr: Expr | None) -> list[Expr]:
    if isinstance(expr, Binary) and expr.operator == "AND":
        return _conjuncts(expr.left) + _conjuncts(expr.right)
    return [] if expr is None else [expr]


def _keys(expr: Expr) -> tuple[Column | None, list[str]]:
    """The column and texts of ``column IN ('a', 'b')`` or ``column = 'a'``."""
    match expr:
        case In(Column() as column, options) if all(isinstance(o, Literal) for o in options):
            return column, [text_of(o.value) for o in options if isinstance(o, Literal)]
        case Binary("=", Column() as column, Literal(value)):
            return column, [text_of(value)]
    return None, []


@dataclass
class Plan:
    """A query bound to its tables."""

    query: Query
    columns: dict[str, set[str]]
    fetch: Callable[[str], Iterable[Row]]
    """Rows of a table by its name."""
    narrow: Callable[[str, str, list[str]], Iterable[Row] | None] = lambda table, column, values: None
    """Rows of a table that have one of the values in a column, where an index gives them."""
    compiler: Compiler = field(init=False)

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.columns)

    def run(self) -> list[dict[str, Any]]:
        """Every row of the answer, in order."""
        query = self.query
        scopes: Iterable[Scope] = ({query.alias: row} for row in self._base())
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
                unique.setdefault(tuple(sorted((k, text_of(v)) for k, v in row.items())), row)
            rows = list(unique.values())
        return rows

    def _base(self) -> Iterable[Row]:
        """Rows of the first table, only those with the wanted keys when the condition names some."""
        query = self.query
        for expr in _conjuncts(query.where):
            column, options = _keys(expr)
            if column is not None and column.table in (None, query.alias):
                rows = self.narrow(query.table, column.name, options)
                if rows is not None:
                    return rows
        return self.fetch(query.table)

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
                    index.setdefault(text_of(value), []).append(row)

            def candidates(scope: Scope) -> list[Row]:
                return index.get(text_of(get_other(scope)), [])
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
            _sort(found, getters)
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
            groups.setdefault(tuple(text_of(k(scope)) for k in keys), []).append(scope)
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
            wrapped: list[Scope] = [{"": row} for row in rows]
            _sort(wrapped, getters)
            rows = [dict(scope[""]) for scope in wrapped]
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
                numbers = [n for n in (to_number(v) for v in values) if n is not None]
                return sum(numbers, Decimal(0)) if numbers else None
            case "MIN":
                return min(values, default=None)
        return max(values, default=None)


def _sort(scopes: list[Scope], getters: list[tuple[Getter, bool]]) -> None:
    """Sort in place, the last key first, so that stability makes the first one rule."""
    for get, descending in reversed(getters):
        scopes.sort(key=lambda scope, get=get: order_key(get(scope)), reverse=descending)  # type: ignore[misc]
