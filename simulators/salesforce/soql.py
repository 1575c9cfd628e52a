"""A parser for the part of SOQL that integrations use. No evaluation here: see ``query``.

Grammar: ``SELECT`` fields (dotted parents), ``COUNT()`` and child sub-queries ``FROM`` object ``WHERE`` with
``= != <> < <= > >= IN``, ``NOT IN``, ``LIKE``, ``AND``, ``OR``, ``NOT``, parentheses, semi-joins; ``ORDER
BY``, ``LIMIT``, ``OFFSET``. As the platform does, it refuses ``AND`` and ``OR`` mixed without parentheses.
Anything else is MALFORMED_QUERY.

Source: vendor documentation, SOQL reference: "SELECT", "Condition Expression Syntax", "Date Formats and Date
Literals", "Quoted String Escape Sequences".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["string", "number", "date", "datetime", "boolean", "null"]


class SoqlError(Exception):
    """The query is refused: error code, message, and the character where it went wrong."""

    def __init__(self, code: str, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.at = at

    def text(self, query: str) -> str:
        """The platform's message: the line, a caret, the position, the reason."""
        line = query.replace("\n", " ")
        return f"\n{line}\n{' ' * self.at}^\nERROR at Row:1:Column:{self.at + 1}\n{self.message}"


@dataclass(frozen=True)
class Path:
    """A field, possibly of a parent: ``Account.Owner.Email``."""

    parts: tuple[str, ...]
    at: int

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True)
class Value:
    """A literal. Dates and datetimes keep their text."""

    kind: Kind
    value: Any
    at: int


@dataclass(frozen=True)
class Comparison:
    """``path operator value``; for IN and NOT IN the value is a tuple or a semi-join query."""

    path: Path
    operator: str
    value: Value | tuple[Value, ...] | Query
    at: int


@dataclass(frozen=True)
class Group:
    """``AND``, ``OR`` (any number of items) or ``NOT`` (one)."""

    word: Literal["AND", "OR", "NOT"]
    items: tuple[Condition, ...]


Condition = Comparison | Group


@dataclass(frozen=True)
class Order:
    """One ORDER BY item. Nulls come first unless said otherwise."""

    path: Path
    descending: bool
    nulls_last: bool


@dataclass(frozen=True)
class Query:
    """A whole query or sub-query."""

    select: tuple[Path | Query, ...]
    count: bool
    source: str
    source_at: int
    where: Condition | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


_TOKENS = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)(?![\dT])
  | (?P<number>[+-]?\d+(?:\.\d+)?)(?![\w.:-])
  | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
  | (?P<symbol><=|>=|!=|<>|[=<>(),])
  )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_COMPARE = frozenset({"=", "!=", "<>", "<", "<=", ">", ">="})
_MALFORMED = "MALFORMED_QUERY"


def parse(text: str) -> Query:
    """Parse a query.

    Raises:
        SoqlError: MALFORMED_QUERY with the position.
    """
    return _Parser(text).whole()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKENS.match(text, at)
        if match is None or match.lastgroup is None:
            where = at + len(text[at:]) - len(text[at:].lstrip())
            raise SoqlError(_MALFORMED, f"unexpected token: '{text[where]}'", where)
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return [*found, _Token("end", "<EOF>", end)]


def unescape(text: str, at: int, *, pattern: bool) -> str:
    """The text of a quoted string. A LIKE pattern keeps its escaped ``%`` and ``_`` for the matcher.

    Raises:
        SoqlError: an escape that does not exist.
    """

    def one(match: re.Match[str]) -> str:
        char = match[1]
        if char[0] == "u" and len(char) == 5:
            return chr(int(char[1:], 16))
        if char in _ESCAPES:
            return "\\\\" if pattern and char == "\\" else _ESCAPES[char]
        if pattern and char in "%_":
            return "\\" + char
        raise SoqlError(_MALFORMED, f"Illegal string literal: Invalid escape sequence '\\{char}'", at)

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", one, text[1:-1], flags=re.DOTALL)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.place = 0

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def fail(self) -> SoqlError:
        return SoqlError(_MALFORMED, f"unexpected token: '{self.now.text}'", self.now.at)

    def word(self, *words: str) -> bool:
        """Take the given keywords if they come next."""
        ahead = self.tokens[self.place : self.place + len(words)]
        if [t.text.upper() for t in ahead if t.kind == "name"] != list(words):
            return False
        self.place += len(words)
        return True

    def symbol(self, symbol: str) -> bool:
        if self.now.kind != "symbol" or self.now.text != symbol:
            return False
        self.place += 1
        return True

    def need(self, taken: bool) -> None:
        if not taken:
            raise self.fail()

    def take(self, kind: str) -> _Token:
        token = self.now
        self.need(token.kind == kind)
        self.place += 1
        return token

    def whole(self) -> Query:
        query = self.query(nested=False)
        self.need(self.now.kind == "end")
        return query

    def query(self, *, nested: bool) -> Query:
        self.need(self.word("SELECT"))
        select: list[Path | Query] = []
        count = False
        while True:
            if (
                self.now.text.upper() == "COUNT"
                and self.tokens[self.place + 1].text == "("
                and not nested
                and not select
            ):
                self.place += 2
                self.need(self.symbol(")"))
                count = True
                break
            if not nested and self.symbol("("):
                select.append(self.query(nested=True))
                self.need(self.symbol(")"))
            else:
                select.append(self.path())
            if not self.symbol(","):
                break
        self.need(self.word("FROM"))
        source = self.take("name")
        where = self.condition() if self.word("WHERE") else None
        order: list[Order] = []
        if self.word("ORDER", "BY"):
            order.append(self.order())
            while self.symbol(","):
                order.append(self.order())
        limit = self.whole_number() if self.word("LIMIT") else None
        offset = self.whole_number() if self.word("OFFSET") else 0
        return Query(tuple(select), count, source.text, source.at, where, tuple(order), limit, offset)

    def whole_number(self) -> int:
        token = self.now
        self.need(token.kind == "number" and token.text.isdigit())
        self.place += 1
        return int(token.text)

    def path(self) -> Path:
        token = self.take("name")
        if token.text.upper() in ("FROM", "WHERE", "ORDER", "LIMIT", "AND", "OR", "IN", "LIKE"):
            self.place -= 1
            raise self.fail()
        return Path(tuple(token.text.split(".")), token.at)

    def order(self) -> Order:
        path = self.path()
        descending = self.word("DESC")
        if not descending:
            self.word("ASC")
        last = self.word("NULLS", "LAST")
        if not last and self.word("NULLS"):
            self.need(self.word("FIRST"))
        return Order(path, descending, last)

    def condition(self) -> Condition:
        if self.word("NOT"):
            return Group("NOT", (self.operand(),))
        items = [self.operand()]
        joiner: Literal["AND", "OR"] | None = None
        while True:
            at = self.place
            word: Literal["AND", "OR"]
            if self.word("AND"):
                word = "AND"
            elif self.word("OR"):
                word = "OR"
            else:
                break
            if joiner not in (None, word):
                self.place = at
                raise self.fail()
            joiner = word
            items.append(self.operand())
        return items[0] if joiner is None else Group(joiner, tuple(items))

    def operand(self) -> Condition:
        if self.symbol("("):
            inner = self.condition()
            self.need(self.symbol(")"))
            return inner
        path = self.path()
        at = self.now.at
        if self.now.kind == "symbol" and self.now.text in _COMPARE:
            operator = self.take("symbol").text
            return Comparison(path, "!=" if operator == "<>" else operator, self.value(), at)
        if self.word("LIKE"):
            return Comparison(path, "LIKE", self.value(pattern=True), at)
        if self.word("NOT", "IN"):
            return Comparison(path, "NOT IN", self.several(), at)
        if self.word("IN"):
            return Comparison(path, "IN", self.several(), at)
        raise self.fail()

    def several(self) -> tuple[Value, ...] | Query:
        self.need(self.symbol("("))
        if self.now.text.upper() == "SELECT":
            query = self.query(nested=True)
            self.need(self.symbol(")"))
            return query
        values = [self.value()]
        while self.symbol(","):
            values.append(self.value())
        self.need(self.symbol(")"))
        return tuple(values)

    def value(self, *, pattern: bool = False) -> Value:
        token = self.now
        self.place += 1
        match token.kind:
            case "string":
                return Value("string", unescape(token.text, token.at, pattern=pattern), token.at)
            case "number":
                return Value("number", token.text, token.at)
            case "date":
                return Value("date", token.text, token.at)
            case "datetime":
                return Value("datetime", token.text, token.at)
            case "name" if token.text.lower() in ("true", "false"):
                return Value("boolean", token.text.lower() == "true", token.at)
            case "name" if token.text.lower() == "null":
                return Value("null", None, token.at)
        self.place -= 1
        raise self.fail()
