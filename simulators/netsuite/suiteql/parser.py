"""SuiteQL text to a syntax tree.

Served: SELECT (columns, ``*``, aliases, COUNT, SUM, MIN, MAX, functions), FROM with [INNER|LEFT] JOIN .. ON,
WHERE with =, !=, <>, <, >, <=, >=, [NOT] IN, [NOT] LIKE, [NOT] BETWEEN, IS [NOT] NULL, AND, OR, NOT and
parentheses, GROUP BY, ORDER BY.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

AGGREGATES = ("COUNT", "SUM", "MIN", "MAX")
FUNCTIONS = ("UPPER", "LOWER", "TO_TIMESTAMP", "TO_DATE", "TO_CHAR", "NVL", "COALESCE", "TO_NUMBER")

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w.$]*)"
    r"|(?P<op><=|>=|<>|!=|\|\||[=<>(),*+-]))"
)
_RESERVED = {
    "SELECT",
    "DISTINCT",
    "FROM",
    "WHERE",
    "JOIN",
    "INNER",
    "LEFT",
    "OUTER",
    "ON",
    "GROUP",
    "ORDER",
    "BY",
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "BETWEEN",
    "IS",
    "NULL",
    "ASC",
    "DESC",
    "AS",
}


class SyntaxRefused(Exception):
    """The query cannot be read."""


@dataclass(frozen=True)
class Literal:
    """A string, number or NULL."""

    value: str | Decimal | None


@dataclass(frozen=True)
class Column:
    """A column, lower-cased, with its table's alias when given."""

    name: str
    table: str | None


@dataclass(frozen=True)
class Function:
    """A function call; ``star`` is ``COUNT(*)``."""

    name: str
    arguments: tuple[Expr, ...]
    star: bool = False


@dataclass(frozen=True)
class Binary:
    """A comparison, AND, or OR."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Not:
    """Negation."""

    inner: Expr


@dataclass(frozen=True)
class IsNull:
    """``IS NULL``."""

    inner: Expr


@dataclass(frozen=True)
class In:
    """``IN`` a list of expressions."""

    inner: Expr
    options: tuple[Expr, ...]


Expr = Literal | Column | Function | Binary | Not | IsNull | In


@dataclass(frozen=True)
class Output:
    """A selected expression and the key of its value."""

    expr: Expr
    name: str


@dataclass(frozen=True)
class Join:
    """A joined table."""

    table: str
    alias: str
    on: Expr
    outer: bool


@dataclass(frozen=True)
class Query:
    """A whole SELECT."""

    outputs: tuple[Output, ...]
    """Empty means ``*``."""
    table: str
    alias: str
    joins: tuple[Join, ...]
    where: Expr | None
    group: tuple[Expr, ...]
    order: tuple[tuple[Expr, bool], ...]
    """Expression and whether descending."""
    distinct: bool


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        SyntaxRefused: with what was expected.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        place = 0
        text = text.strip().rstrip(";")
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise SyntaxRefused(f"unexpected character at {text[place : place + 20]!r}")
            kind = str(match.lastgroup)
            self.tokens.append((kind, match[kind]))
            place = match.end()
        self.at = 0

    # --- tokens -------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ("end", "")

    def keyword(self, *words: str) -> bool:
        """Take the words when they come next."""
        for ahead, word in enumerate(words):
            kind, text = self.peek(ahead)
            if kind != "word" or text.upper() != word:
                return False
        self.at += len(words)
        return True

    def op(self, *symbols: str) -> str | None:
        kind, text = self.peek()
        if kind == "op" and text in symbols:
            self.at += 1
            return text
        return None

    def expect(self, symbol: str) -> None:
        if self.op(symbol) is None:
            raise SyntaxRefused(f"expected {symbol!r} near {self.peek()[1]!r}")

    def name(self) -> str:
        kind, text = self.peek()
        if kind != "word" or text.upper() in _RESERVED:
            raise SyntaxRefused(f"expected a name near {text!r}")
        self.at += 1
        return text

    # --- clauses ------------------------------------------------------------------------------

    def query(self) -> Query:
        if not self.keyword("SELECT"):
            raise SyntaxRefused("only SELECT statements are supported")
        distinct = self.keyword("DISTINCT")
        outputs: list[Output] = []
        if self.op("*") is None:
            outputs.append(self.output(len(outputs)))
            while self.op(","):
                outputs.append(self.output(len(outputs)))
        if not self.keyword("FROM"):
            raise SyntaxRefused(f"expected FROM near {self.peek()[1]!r}")
        table, alias = self.table()
        joins = []
        while True:
            outer = self.keyword("LEFT", "OUTER", "JOIN") or self.keyword("LEFT", "JOIN")
            if not outer and not self.keyword("INNER", "JOIN") and not self.keyword("JOIN"):
                break
            joined, joined_alias = self.table()
            if not self.keyword("ON"):
                raise SyntaxRefused("expected ON")
            joins.append(Join(joined, joined_alias, self.either(), outer))
        where = self.either() if self.keyword("WHERE") else None
        group: list[Expr] = []
        if self.keyword("GROUP", "BY"):
            group.append(self.value())
            while self.op(","):
                group.append(self.value())
        order: list[tuple[Expr, bool]] = []
        if self.keyword("ORDER", "BY"):
            order.append(self.ordering())
            while self.op(","):
                order.append(self.ordering())
        if self.peek()[0] != "end":
            raise SyntaxRefused(f"unexpected {self.peek()[1]!r}")
        return Query(tuple(outputs), table, alias, tuple(joins), where, tuple(group), tuple(order), distinct)

    def output(self, place: int) -> Output:
        expr = self.value()
        if self.keyword("AS"):
            return Output(expr, self.name().lower())
        kind, text = self.peek()
        if kind == "word" and text.upper() not in _RESERVED:
            self.at += 1
            return Output(expr, text.lower())
        return Output(expr, expr.name if isinstance(expr, Column) else f"expr{place + 1}")

    def table(self) -> tuple[str, str]:
        table = self.name().lower()
        self.keyword("AS")
        kind, text = self.peek()
        if kind == "word" and text.upper() not in _RESERVED:
            self.at += 1
            return table, text.lower()
        return table, table

    def ordering(self) -> tuple[Expr, bool]:
        expr = self.value()
        if self.keyword("DESC"):
            return expr, True
        self.keyword("ASC")
        return expr, False

    # --- conditions ---------------------------------------------------------------------------

    def either(self) -> Expr:
        left = self.both()
        while self.keyword("OR"):
            left = Binary("OR", left, self.both())
        return left

    def both(self) -> Expr:
        left = self.negated()
        while self.keyword("AND"):
            left = Binary("AND", left, self.negated())
        return left

    def negated(self) -> Expr:
        if self.keyword("NOT"):
            return Not(self.negated())
        kind, text = self.peek()
        if kind == "op" and text == "(":
            self.at += 1
            inner = self.either()
            self.expect(")")
            return inner
        return self.condition()

    def condition(self) -> Expr:
        left = self.value()
        symbol = self.op("=", "!=", "<>", "<=", ">=", "<", ">")
        if symbol is not None:
            return Binary("!=" if symbol == "<>" else symbol, left, self.value())
        if self.keyword("IS", "NOT", "NULL"):
            return Not(IsNull(left))
        if self.keyword("IS", "NULL"):
            return IsNull(left)
        negated = self.keyword("NOT")
        if self.keyword("IN"):
            self.expect("(")
            options = [self.value()]
            while self.op(","):
                options.append(self.value())
            self.expect(")")
            found: Expr = In(left, tuple(options))
        elif self.keyword("LIKE"):
            found = Binary("LIKE", left, self.value())
        elif self.keyword("BETWEEN"):
            low = self.value()
            if not self.keyword("AND"):
                raise SyntaxRefused("expected AND in BETWEEN")
            found = Binary("AND", Binary(">=", left, low), Binary("<=", left, self.value()))
        else:
            raise SyntaxRefused(f"expected a comparison near {self.peek()[1]!r}")
        return Not(found) if negated else found

    def value(self) -> Expr:
        if self.op("-"):
            kind, text = self.peek()
            if kind != "number":
                raise SyntaxRefused("expected a number after '-'")
            self.at += 1
            return Literal(-Decimal(text))
        kind, text = self.peek()
        if kind == "string":
            self.at += 1
            return Literal(text[1:-1].replace("''", "'"))
        if kind == "number":
            self.at += 1
            return Literal(Decimal(text))
        if self.keyword("NULL"):
            return Literal(None)
        name = self.name()
        if self.op("("):
            return self.function(name.upper())
        table, _, column = name.lower().rpartition(".")
        return Column(column, table or None)

    def function(self, name: str) -> Expr:
        if name not in AGGREGATES and name not in FUNCTIONS:
            raise SyntaxRefused(f"unknown function {name}")
        if name == "COUNT" and self.op("*"):
            self.expect(")")
            return Function(name, (), star=True)
        arguments = [self.value()]
        while self.op(","):
            arguments.append(self.value())
        self.expect(")")
        return Function(name, tuple(arguments))
