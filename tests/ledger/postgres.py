"""A throw-away PostgreSQL server from the machine's own programs.

Missing programs are a visible skip for a newcomer and a failure where ``CI`` is set: a build that
silently tests one database proves nothing about the other.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

_ROOTS = (Path("/usr/lib/postgresql"), Path("/usr/local/opt"), Path("/opt/homebrew/opt"))
_SETTINGS = {
    # No test pulls the plug of the machine. What the ledger must survive, a server that dies, it asks
    # for itself: its connections commit synchronously, against this default.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
}
_START_SECONDS = 30


def find_programs() -> Path | None:
    """Folder with ``initdb`` and ``postgres``: the PATH's, else the newest installed."""
    on_path = shutil.which("initdb")
    if on_path is not None and (Path(on_path).resolve().parent / "postgres").exists():
        return Path(on_path).resolve().parent
    found = [program.parent for root in _ROOTS for program in root.glob("*/bin/initdb")]
    return max(found, key=lambda folder: folder.parent.name.zfill(20), default=None)


def _as_user() -> tuple[list[str], str]:
    """Command prefix that leaves root, which PostgreSQL refuses to run as, and the user's name."""
    if os.geteuid() != 0:
        return [], pwd.getpwuid(os.geteuid()).pw_name
    name = next(
        user for user in ("postgres", "nobody") if user in {entry.pw_name for entry in pwd.getpwall()}
    )
    entry = pwd.getpwnam(name)
    prefix = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    return prefix, name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """A server on a loopback port with trust authentication; ``new_database`` for each test."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._prefix, user = _as_user()
        self._folder = Path(tempfile.mkdtemp(prefix="trueup-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, user)
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self.port = 0

    def start(self) -> None:
        """Make a cluster and start it."""
        initdb = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", "postgres"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*self._prefix, *initdb], check=True, capture_output=True, cwd="/", timeout=120)
        self.resume()

    def resume(self) -> None:
        """Start the server again after ``stop_hard``, on the same port when it had one."""
        self.port = self.port or _free_port()
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._prefix,
                    str(self._programs / "postgres"),
                    *("-D", str(self._folder / "data")),
                    *("-p", str(self.port)),
                    *("-k", str(self._folder)),
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )
        until = time.monotonic() + _START_SECONDS
        while self._sql("SELECT 1").returncode != 0:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop_hard(self) -> None:
        """Cut all connections and stop at once, as a crash would; the data stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=20)
            self._process = None

    def kill(self) -> None:
        """SIGKILL to the server and all its processes at once: a machine that is gone; the data stay."""
        if self._process is None:
            return
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        # Where there is no such list they end by themselves, a moment after the server.
        children = listed.read_text().split() if listed.exists() else []
        for process in [self._process.pid, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait(timeout=20)
        self._process = None

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop_hard()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sql(self, statement: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._programs / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return subprocess.run(
            [*command, "-d", "postgres", "-qAtc", statement], capture_output=True, timeout=60, check=False
        )

    def url(self, database: str) -> str:
        """URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Make a database of its own, a copy of ``template``, and return its name."""
        self._count += 1
        name = f"test_{self._count}"
        made = self._sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        if made.returncode != 0:
            raise RuntimeError(made.stderr.decode())
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and everybody's connections to it."""
        self._sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def start_postgres() -> PostgresServer:
    """A running server; skips, or fails where ``CI`` is set, when the programs are missing."""
    programs = find_programs()
    if programs is None:
        message = "PostgreSQL's server programs are not installed: the ledger is tested on SQLite only"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    server = PostgresServer(programs)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of this process."""
    server = start_postgres()
    yield server
    server.close()
