"""What passed between connectors and a simulator, recorded whole to be held against a contract."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from connectors.kit.http import USER_AGENT
from simulators.kit import Simulator

SPECS = Path(
    os.environ.get("TRUEUP_SPECS")
    or Path(__file__).parents[2].joinpath(os.pardir, "shared", "specs").resolve()
)
"""Where the stored specifications are; they do not belong to the project."""


@dataclass
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes
    status: int | None = None
    """None when the connection was dropped instead."""
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    whole: bool = False
    """Whether the answer came to its end."""

    @property
    def ours(self) -> bool:
        """Whether a connector sent it, not somebody else at the client's."""
        return self.headers.get("user-agent", "") == USER_AGENT

    def sent(self) -> Any:
        """The body as JSON; None without one."""
        return json.loads(self.body, parse_float=Decimal) if self.body else None

    def got(self) -> Any:
        """The answer as JSON; None without one."""
        return json.loads(self.answer, parse_float=Decimal) if self.answer else None

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


class Recorder:
    """Stands in front of a simulator and keeps every exchange but those of the control API."""

    def __init__(self, simulator: Simulator, kept: list[Exchange]) -> None:
        self.name = simulator.name
        self._simulator = simulator
        self._kept = kept

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http" or scope["path"].startswith(Simulator.CONTROL):
            await self._simulator(scope, receive, send)
            return
        one = Exchange(
            method=scope["method"],
            path=(scope.get("raw_path") or scope["path"].encode()).decode(),
            query=parse_qsl(scope["query_string"].decode(), keep_blank_values=True),
            headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body=b"",
        )
        self._kept.append(one)

        async def hear() -> Any:
            message = await receive()
            one.body += message.get("body", b"")
            return message

        async def tell(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                one.status = message["status"]
                one.answer_headers = {
                    name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]
                }
            else:
                one.answer += message.get("body", b"")
                one.whole = not message.get("more_body")
            await send(message)

        await self._simulator(scope, hear, tell)


@dataclass
class Recording:
    """The exchanges of one vendor; ``around`` goes into a ``Site``."""

    exchanges: list[Exchange] = field(default_factory=list)

    def around(self, simulator: Simulator) -> Simulator:
        """The simulator with a recorder in front."""
        return cast(Simulator, Recorder(simulator, self.exchanges))


@dataclass
class Verdict:
    """What holding exchanges against a contract brought."""

    requests: int = 0
    """Requests that the contract says something about."""
    answers: int = 0
    violations: list[str] = field(default_factory=list)
    uncovered: set[str] = field(default_factory=set)
    """What the contract says nothing about, in words that do not change from run to run."""

    def violate(self, exchange: Exchange, why: str) -> None:
        """Note a violation, each kind once."""
        words = f"{exchange}: {why}"
        if words not in self.violations:
            self.violations.append(words)
