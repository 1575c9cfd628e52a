"""Everything of the local firm, started and stopped together: Temporal, vendors, mail, worker processes."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from canonical.failures import ConfigurationError
from cli import simulators
from cli.local.config import SECRETS, Places, render
from ledger.personal import AesGcmSealer
from runtime.devserver import DevServer, free_ports
from runtime.settings import Settings, load

ROOT = Path(__file__).resolve().parents[2]
WORKER_START = 45.0
"""Seconds for a worker process to import everything and poll; two cores share it with the vendors."""


class Mailbox:
    """Receives the PMO's mail over real SMTP."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep one message; the name is aiosmtpd's."""
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        self.messages.append(message_from_bytes(content))
        return "250 kept"


@dataclass
class Worker:
    """A worker process of its own, so that it can be killed."""

    config: Path
    folder: Path
    queues: str = ""
    number: int = 1
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        """Start and wait until it takes work.

        Raises:
            ConfigurationError: it ended instead, with its last words.
        """
        ready = self.folder / f"worker-{self.number}.ready"
        ready.unlink(missing_ok=True)
        log = self.folder / f"worker-{self.number}.log"
        command = [sys.executable, "-m", "worker", "--config", str(self.config)]
        if self.queues:
            command += ["--queues", self.queues]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env={**os.environ, **SECRETS, "TRUEUP__WORKER__READY_FILE": str(ready)},
            )
        give_up = time.monotonic() + WORKER_START
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise ConfigurationError([f"The worker did not start; its log {log} ends:", _tail(log)])
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM: drain, then end."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class Stack:
    """The local firm. ``start`` brings everything up, ``stop`` takes it down."""

    folder: Path
    ui: bool = True
    ui_port: int | None = None
    temporal_port: int | None = None
    database: Path | None = None
    mail: bool = True
    config_changes: dict[str, Any] = field(default_factory=dict)
    """Changes of ``Places``, for tests."""
    server: DevServer = field(init=False)
    vendors: simulators.Vendors = field(init=False)
    mailbox: Mailbox = field(init=False)
    config: Path = field(init=False)
    workers: list[Worker] = field(default_factory=list)
    _smtp: Controller | None = None

    async def start(self) -> Stack:
        """Start Temporal, the vendors and mail, and write the configuration; no worker yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(SECRETS)
        self.mailbox = Mailbox()
        self.vendors = simulators.start(self.folder)
        self.server = DevServer(
            port=self.temporal_port,
            ui=self.ui,
            ui_port=self.ui_port,
            database=self.database,
            log_file=self.folder / "temporal.log",
        )
        await self.server.start()
        smtp_port = None
        if self.mail:
            (smtp_port,) = free_ports(1)
            self._smtp = Controller(self.mailbox, hostname="127.0.0.1", port=smtp_port)
            self._smtp.start()
        AesGcmSealer.from_file(self.folder / "personal.key", create=True)
        self.config = self.folder / "trueup.toml"
        places = Places(
            temporal=self.server.address,
            ui_url=self.server.ui_url,
            salesforce=self.vendors.salesforce.base_url,
            netsuite=self.vendors.netsuite.base_url,
            kantata=self.vendors.kantata.base_url,
            folder=self.folder,
            smtp_port=smtp_port,
            **self.config_changes,
        )
        self.config.write_text(render(places, getpass.getuser()))
        return self

    def settings(self) -> Settings:
        """The written configuration, loaded."""
        return load(self.config)

    def add_worker(self, queues: str = "") -> Worker:
        """Start one more worker process."""
        worker = Worker(self.config, self.folder, queues, number=len(self.workers) + 1).start()
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Take everything down, the workers first."""
        for worker in self.workers:
            worker.stop()
        if self._smtp is not None:
            self._smtp.stop()
        self.vendors.stop()
        self.server.stop()


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
