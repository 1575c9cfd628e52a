"""A real Temporal server for tests: up in a fraction of a second, so every test process has its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from runtime import search_attributes
from runtime.client import connect
from runtime.devserver import DevServer
from runtime.sections import TemporalSection

T = TypeVar("T")
DAY = 86_400


@dataclass
class TemporalServer:
    """The server behind the fixture ``temporal``; usable from sync and async tests of any event loop."""

    server: DevServer = field(default_factory=DevServer)

    def start(self) -> None:
        """Start and wait until it serves requests."""
        _run(self.server.start())

    def stop(self) -> None:
        """Stop and wait for its end."""
        self.server.stop()

    @property
    def address(self) -> str:
        """``host:port`` of the gRPC service."""
        return self.server.address

    @property
    def ui_url(self) -> str | None:
        """Address of the Web UI."""
        return self.server.ui_url

    def section(self, namespace: str = "default") -> TemporalSection:
        """Settings that lead a client to this server."""
        return self.server.section(namespace)

    async def client(self, namespace: str = "default") -> Client:
        """A client of the running event loop."""
        return await connect(self.section(namespace), process="test")

    def new_namespace(self) -> str:
        """Create a namespace with the search attributes, so that a test sees only its own workflows."""
        return _run(self.create_namespace())

    async def create_namespace(self, *, attributes: bool = True) -> str:
        """The same for async callers; without ``attributes`` it is bare."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        client = await self.client()
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=name, workflow_execution_retention_period=Duration(seconds=DAY)
            )
        )
        if attributes:
            of_namespace = await self.client(name)
            await search_attributes.create(of_namespace)
            # The server takes a moment to know them; a workflow started before would be refused.
            for _ in range(200):
                if not await search_attributes.missing(of_namespace):
                    break
                await asyncio.sleep(0.05)
        return name


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a thread of its own: the caller may be inside or between runs of another loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
