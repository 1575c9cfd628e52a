"""As much YAML as the stored specifications use, read into plain Python.

Block mappings and sequences, flow collections, quoted, plain and literal scalars over several lines, anchors
and aliases. Anything else is refused with its line rather than misread. No YAML library is a dependency of
this project, and these files are the only YAML that it reads.
"""

from __future__ import annotations

import re
from typing import Any

_KEY = re.compile(
    r"""(?:'(?P<single>(?:[^']|'')*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s'"\[\]{}#&*!|>%@`-][^#]*?|-\S[^#]*?))"""
    r"\s*:(?:\s+(?P<rest>.*))?$"
)
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "/": "/", " ": " ", "0": "\0", "r": "\r", "_": "\xa0"}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}
_SINGLE, _DOUBLE = r"'(?:[^']|'')*'", r'"(?:[^"\\]|\\.)*"'
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")


def load(text: str) -> Any:
    """The document's value.

    Raises:
        ValueError: something this reader does not know; names the line.
    """
    reader = _Reader(text)
    value = reader.node(0)
    reader.skip()
    if reader.at < len(reader.lines):
        raise reader.refuse("more than one document, or wrong indentation")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = [line.rstrip() for line in text.split("\n") if line.strip() != "---"]
        self.at = 0
        self.anchors: dict[str, Any] = {}

    def refuse(self, why: str) -> ValueError:
        shown = self.lines[self.at] if self.at < len(self.lines) else "end of file"
        return ValueError(f"line {self.at + 1}: {why}: {shown[:80]}")

    def skip(self) -> None:
        while self.at < len(self.lines) and (
            not self.lines[self.at].strip() or self.lines[self.at].lstrip().startswith("#")
        ):
            self.at += 1

    def indent(self) -> int:
        line = self.lines[self.at] if self.at < len(self.lines) else ""
        return len(line) - len(line.lstrip()) if line.strip() else -1

    def node(self, least: int) -> Any:
        """The value that begins at the next line, indented by ``least`` at least."""
        self.skip()
        indent = self.indent()
        if indent < least:
            return None
        text = self.lines[self.at].lstrip()
        if text == "-" or text.startswith("- "):
            return self.sequence(indent)
        if text[0] not in "[{" and _KEY.fullmatch(text):
            return self.mapping(indent)
        self.at += 1
        return self.scalar(text, indent - 1)

    def sequence(self, indent: int) -> list[Any]:
        found: list[Any] = []
        while True:
            self.skip()
            text = self.lines[self.at].lstrip() if self.at < len(self.lines) else ""
            if self.indent() != indent or not (text == "-" or text.startswith("- ")):
                return found
            if text == "-":
                self.at += 1
                found.append(self.node(indent + 1))
                continue
            inner = len(text) - len(text[1:].lstrip())
            self.lines[self.at] = " " * (indent + inner) + text[inner:]
            found.append(self.node(indent + inner))

    def mapping(self, indent: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        while True:
            self.skip()
            if self.indent() != indent:
                return found
            match = _KEY.fullmatch(self.lines[self.at].lstrip())
            if match is None:
                raise self.refuse("neither key nor value")
            if match["plain"] is not None:
                key = match["plain"].strip()
            elif match["single"] is not None:
                key = match["single"].replace("''", "'")
            else:
                key = _unescape(match["double"] or "")
            if key in found:
                raise self.refuse(f"{key!r} is there twice")
            self.at += 1
            found[key] = self.value(match["rest"] or "", indent)

    def value(self, text: str, indent: int) -> Any:
        if text.startswith("&"):
            name, _, text = text[1:].partition(" ")
            self.anchors[name] = self.value(text.strip(), indent)
            return self.anchors[name]
        if text and not text.startswith("#"):
            return self.scalar(text, indent)
        self.skip()
        if self.indent() == indent and self.lines[self.at].lstrip().startswith("- "):
            return self.sequence(indent)
        return self.node(indent + 1)

    def scalar(self, text: str, indent: int) -> Any:
        """A scalar or flow collection that begins with ``text``; further lines are indented more than "
        "``indent``."""
        if text[0] == "*":
            return self.anchors[text[1:].split(" ")[0]]
        if text[0] in "|>":
            return self.literal(indent, folded=text[0] == ">")
        if text[0] in "'\"":
            return _unquote(self.gather(text, indent, _quoted))
        if text[0] in "[{":
            return _Flow(self.gather(text, indent, _balanced), self.anchors).whole()
        if text[0] in "!%@`":
            raise self.refuse("a tag or directive")
        parts = [re.sub(r"(^|\s)#.*$", "", text)]
        while self.at < len(self.lines) and (self.indent() > indent or self.indent() == -1):
            if _KEY.fullmatch(self.lines[self.at].strip()):
                raise self.refuse("a key inside a plain text")
            parts.append(self.lines[self.at].strip())
            self.at += 1
        return _plain(_fold(parts))

    def literal(self, indent: int, *, folded: bool) -> str:
        parts = []
        while self.at < len(self.lines) and (self.indent() > indent or self.indent() == -1):
            parts.append(self.lines[self.at].strip())
            self.at += 1
        return (" " if folded else "\n").join(parts).strip() + "\n"

    def gather(self, text: str, indent: int, closed: Any) -> str:
        parts = [text]
        while not closed("\n".join(parts)):
            if self.at >= len(self.lines):
                raise self.refuse("never closed")
            parts.append(self.lines[self.at].strip())
            self.at += 1
        return "\n".join(parts)


class _Flow:
    """``[a, {b: c}]``."""

    def __init__(self, text: str, anchors: dict[str, Any]) -> None:
        self.text, self.at, self.anchors = text.replace("\n", " "), 0, anchors

    def whole(self) -> Any:
        value = self.one()
        rest = self.text[self.at :].strip()
        if rest and not rest.startswith("#"):
            raise ValueError(f"after a flow collection: {rest[:60]}")
        return value

    def one(self) -> Any:
        self.space()
        char = self.text[self.at]
        if char == "{":
            return self.pairs()
        if char == "[":
            return self.items()
        if char == "*":
            return self.anchors[self.word()[1:]]
        if char in "'\"":
            return self.quoted()
        return _plain(self.word())

    def quoted(self) -> str:
        match = re.compile(_SINGLE if self.text[self.at] == "'" else _DOUBLE).match(self.text, self.at)
        if match is None:
            raise ValueError(f"never closed: {self.text[self.at : self.at + 60]}")
        self.at = match.end()
        return _unquote(match[0])

    def word(self) -> str:
        match = re.compile(r"(?:[^,\[\]{}:]|:(?!\s|$))+").match(self.text, self.at)
        if match is None:
            raise ValueError(f"in a flow collection: {self.text[self.at : self.at + 60]}")
        self.at = match.end()
        return match[0].strip()

    def items(self) -> list[Any]:
        self.at, found = self.at + 1, []
        while not self.closes("]"):
            found.append(self.one())
        return found

    def pairs(self) -> dict[Any, Any]:
        self.at, found = self.at + 1, {}
        while not self.closes("}"):
            self.space()
            key = self.quoted() if self.text[self.at] in "'\"" else self.word()
            self.space()
            if self.text[self.at] != ":":
                raise ValueError(f"no value of {key!r}")
            self.at += 1
            found[key] = self.one()
        return found

    def closes(self, bracket: str) -> bool:
        self.space()
        if self.text[self.at] == ",":
            self.at += 1
            self.space()
        if self.text[self.at] != bracket:
            return False
        self.at += 1
        return True

    def space(self) -> None:
        while self.text[self.at : self.at + 1] == " ":
            self.at += 1


def _plain(text: str) -> Any:
    text = text.strip()
    if text.casefold() in _WORDS:
        return _WORDS[text.casefold()]
    if _NUMBER.fullmatch(text):
        return float(text) if re.search(r"[.eE]", text) else int(text)
    return text


def _fold(parts: list[str]) -> str:
    text = ""
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        if not part:
            text += "\n"
        else:
            text += part if not text or text.endswith("\n") else f" {part}"
    return text


def _quoted(text: str) -> bool:
    form = _SINGLE if text[0] == "'" else _DOUBLE
    return re.fullmatch(form + r"(\s+#.*)?", text, re.DOTALL) is not None


def _unquote(text: str) -> str:
    body = text[1 : text.rindex(text[0])]
    if text[0] == "'":
        return _fold(body.split("\n")).replace("''", "'")
    return _unescape(_fold(re.sub(r"\\\n", "\x00", body).split("\n")).replace("\x00", ""))


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "xuU" else _ESCAPES[code]

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", one, text)


def _balanced(text: str) -> bool:
    depth = 0
    for token in re.findall(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"|[\[\]{}]", text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token, 0)
    return depth == 0
