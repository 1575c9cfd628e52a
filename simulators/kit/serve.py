"""Serve simulators over loopback HTTP or TLS, in this process, on threads of their own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from simulators.kit.app import Simulator

START_TIMEOUT = 15.0
"""Seconds to wait for the server's socket; a loaded two-core machine needs several."""


class _Protocol(H11Protocol):
    """Hands the connection's transport to the application, which needs it to drop connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope["sim.transport"] = self.transport
            await inner(scope, receive, send)

        self.app = with_transport


@dataclass
class Running:
    """A simulator being served. Use as a context manager or call ``stop``."""

    simulator: Simulator
    base_url: str
    port: int
    ca_file: Path | None
    _server: uvicorn.Server
    _thread: threading.Thread

    def stop(self) -> None:
        """Stop serving and release the port."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(
    simulator: Simulator,
    *,
    port: int = 0,
    tls: tuple[Path, Path] | None = None,
    ca_file: Path | None = None,
    host: str = "127.0.0.1",
) -> Running:
    """Serve ``simulator`` on loopback until stopped.

    Args:
        simulator: what to serve.
        port: 0 picks a free one.
        tls: certificate chain and key files; plain HTTP without.
        ca_file: the authority's certificate, handed on to callers that must trust it.
        host: a loopback address.

    Raises:
        TimeoutError: the server did not come up.
        OSError: the port is taken.
    """
    # The protocol is named because asyncio switches Nagle's algorithm off only for sockets that name it:
    # without that every answer waits 40 ms for a delayed acknowledgement.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    port = sock.getsockname()[1]
    config = uvicorn.Config(
        simulator,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        timeout_keep_alive=60,
        ssl_certfile=str(tls[0]) if tls else None,
        ssl_keyfile=str(tls[1]) if tls else None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[sock])), name=f"sim-{simulator.name}", daemon=True
    )
    thread.start()
    give_up = time.monotonic() + START_TIMEOUT
    while not server.started:
        if time.monotonic() > give_up or not thread.is_alive():
            raise TimeoutError(f"simulator {simulator.name} did not start on port {port}")
        time.sleep(0.01)
    scheme = "https" if tls else "http"
    return Running(simulator, f"{scheme}://{host}:{port}", port, ca_file, server, thread)


def throwaway_tls(folder: Path, *hosts: str) -> tuple[tuple[Path, Path], Path]:
    """Make a certificate for loopback from an authority that exists only in ``folder``.

    Returns:
        ((certificate chain file, key file), authority certificate file).
    """
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost", *hosts)
    folder.mkdir(parents=True, exist_ok=True)
    chain, key, ca = folder / "server.pem", folder / "server.key", folder / "ca.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return (chain, key), ca
