"""One command's connections: settings, Temporal, ledger, connected systems, each opened when first used."""

from __future__ import annotations

import getpass
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from rich.console import Console
from temporalio.client import Client

from canonical.failures import ConfigurationError
from canonical.refs import SystemRole
from canonical.saga import Actor
from cli.output import Complaint, Exit, clean
from ledger.store import Ledger
from runtime import logging as logs
from runtime.client import connect, target
from runtime.settings import Settings, load
from wiring.ledger import open_ledger
from wiring.systems import ConnectedSystems


class Session:
    """What a command works with."""

    def __init__(
        self, config: Path | None = None, *, as_json: bool = False, actor: str | None = None
    ) -> None:
        self.config = config
        self.as_json = as_json
        self._actor = actor
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._ledger: Ledger | None = None
        self._systems: ConnectedSystems | None = None

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @cached_property
    def settings(self) -> Settings:
        """The installation's settings.

        Raises:
            ConfigurationError: every problem at once.
        """
        settings = load(self.config)
        # A command answers by what it prints; what its libraries say would only be in the way.
        logs.configure(settings.logging.model_copy(update={"level": "ERROR", "file": None}))
        return settings

    @cached_property
    def actor(self) -> Actor:
        """Who types: the operating system's user, or a configured name (rule 14); never verified here.

        Raises:
            Complaint: the name is not configured.
        """
        if self._actor is None:
            return self.settings.actor(user())
        if self._actor not in self.settings.actors:
            known = ", ".join(self.settings.actors) or "nobody"
            raise Complaint(
                f"{self._actor!r} is not configured as an actor; configured: {known}.",
                remedy="Add the name with its roles to [actors] in trueup.toml.",
                code=Exit.USAGE,
            )
        return self.settings.actor(self._actor)

    async def client(self) -> Client:
        """A Temporal client.

        Raises:
            ConfigurationError: no server can be used.
        """
        if self._client is None:
            self._client = await connect(self.settings.temporal, process="trueup-cli")
        return self._client

    async def client_if_up(self) -> tuple[Client | None, str | None]:
        """(client, None), or (None, why there is none): for commands that the ledger can answer as well."""
        try:
            return await self.client(), None
        except ConfigurationError as away:
            return None, away.problems[0]

    async def ledger(self) -> Ledger:
        """The ledger.

        Raises:
            ConfigurationError: its schema is not this release's.
            Transient: it does not answer.
        """
        if self._ledger is None:
            self._ledger = await open_ledger(self.settings)
            self._stack.push_async_callback(self._ledger.close)
        return self._ledger

    async def systems(self) -> ConnectedSystems:
        """The connected systems.

        Raises:
            ConfigurationError: a section is wrong.
        """
        if self._systems is None:
            self._systems = ConnectedSystems(self.settings, await self.ledger())
            self._stack.push_async_callback(self._systems.close)
        return self._systems

    def crm(self, named: str | None) -> str:
        """The CRM instance that is named, or the only one.

        Raises:
            Complaint: it is not a CRM, or there are several.
        """
        known = self.settings.systems_with(SystemRole.CRM)
        if named is None and len(known) == 1:
            return known[0]
        if named in known:
            assert named is not None
            return named
        listing = ", ".join(known) or "none"
        raise Complaint(
            f"{named!r} is not a configured CRM; configured: {listing}."
            if named
            else f"Which CRM? Configured: {listing}.",
            remedy="Name one with --system.",
            code=Exit.USAGE,
        )

    def web(self, saga_id: str) -> str | None:
        """Where Temporal's Web UI shows a saga."""
        base = self.settings.temporal.ui_url
        if base is None:
            return None
        namespace = target(self.settings.temporal).namespace
        return f"{base.rstrip('/')}/namespaces/{namespace}/workflows/{quote(saga_id, safe=':')}"

    @contextmanager
    def working(self, what: str) -> Iterator[Progress]:
        """A line on the terminal for as long as something takes; silent elsewhere."""
        if self.as_json or not sys.stderr.isatty():
            yield Progress(None)
            return
        with Console(stderr=True, highlight=False).status(clean(what)) as status:
            yield Progress(status)


class Progress:
    """Where a long command tells how far it is."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def tell(self, text: str) -> None:
        """Show what is being done now."""
        if self._status is not None:
            self._status.update(clean(text))


def user() -> str:
    """The operating system's user; a number where a container has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


def command_id() -> str:
    """Makes one operator command idempotent."""
    return uuid.uuid4().hex
