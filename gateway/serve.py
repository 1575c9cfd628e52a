"""The gateway as a process: everything opened from the settings, served by uvicorn until a signal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from temporalio.client import Client

from gateway.api.callers import Callers
from gateway.app import create_app
from gateway.dispatch import Dispatcher
from gateway.front import Front
from gateway.relay import Relay
from runtime.client import connect
from runtime.settings import Settings
from runtime.telemetry import client_plugins
from wiring.events import Desk
from wiring.ledger import open_ledger
from wiring.systems import ConnectedSystems
from wiring.webhooks import receivers

DRAIN_SECONDS = 20


class Connection:
    """Temporal, connected when first needed: events are taken while it is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None

    async def __call__(self) -> Client:
        """The client.

        Raises:
            ConfigurationError: no server can be used now.
        """
        if self._client is None:
            self._client = await connect(
                self._settings.temporal,
                plugins=client_plugins(self._settings.telemetry, "trueup-gateway"),
                process="trueup-gateway",
            )
        return self._client


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Front]:
    """A front door with everything behind it.

    Raises:
        ConfigurationError: something is wrong with the installation.
    """
    known = receivers(settings)
    ledger = await open_ledger(settings, bring_up_to_date=True)
    try:
        systems = ConnectedSystems(settings, ledger)
        try:
            desk = Desk(settings, systems, ledger, Connection(settings))
            yield Front(settings, desk, known, Dispatcher(desk), Relay(desk), Callers(settings.gateway))
        finally:
            await systems.close()
    finally:
        await ledger.close()


async def serve(settings: Settings, *, as_json: bool = False) -> None:
    """Serve until a signal, then let requests in flight finish.

    Raises:
        ConfigurationError: something is wrong with the installation; nothing was served.
    """
    section = settings.gateway
    async with opened(settings) as front:
        config = uvicorn.Config(
            create_app(front),
            host=section.host,
            port=section.port,
            # Addresses of some sources hold their secret.
            access_log=False,
            log_config=None,
            lifespan="on",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
            h11_max_incomplete_event_size=32_768,
        )
        server = _Server(config, as_json=as_json)
        await server.serve()


class _Server(uvicorn.Server):
    """Says where it listens once it does; the port may have been chosen by the system."""

    def __init__(self, config: uvicorn.Config, *, as_json: bool) -> None:
        super().__init__(config)
        self._as_json = as_json

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.started:
            return
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                told = {"message": "serving", "exit_code": 0, "host": host, "port": port}
                said = json.dumps(told) if self._as_json else f"Serving at http://{host}:{port}"
                print(said, flush=True)
