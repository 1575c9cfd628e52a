from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from runtime import lifecycle
from runtime.lifecycle import Stop, run_until_stopped, stop_on_signals
from tests.architecture.source import ROOT

pytestmark = pytest.mark.anyio

PROGRAM = """
import asyncio, sys, time
from contextlib import asynccontextmanager
from pathlib import Path
from runtime.lifecycle import exit_now, run_until_stopped

@asynccontextmanager
async def service():
    print("started", flush=True)
    try:
        yield
    finally:
        await asyncio.sleep(float(sys.argv[2]))
        print("drained", flush=True)

ready = Path(sys.argv[1])
asyncio.run(run_until_stopped(service(), ready_file=ready))
print("end, ready file", "there" if ready.exists() else "gone")
exit_now(0)
"""


def program(folder: Path, drain_seconds: float) -> tuple[subprocess.Popen[str], Path]:
    ready = folder / "ready"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ready), str(drain_seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, ready


async def until(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_with_success(tmp_path: Path, number: signal.Signals) -> None:
    process, ready = program(tmp_path, 0.2)
    await until(ready.exists)
    process.send_signal(number)
    out, error = await asyncio.to_thread(process.communicate, timeout=20)
    assert out.splitlines() == ["started", "drained", "end, ready file gone"]
    assert process.returncode == 0, error


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    process, ready = program(tmp_path, 60)
    await until(ready.exists)
    process.send_signal(signal.SIGTERM)
    await until(lambda: not ready.exists())
    assert process.poll() is None, "still draining"
    process.send_signal(signal.SIGTERM)
    out, error = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 128 + signal.SIGTERM, error
    assert out.splitlines() == ["started"]


async def test_services_end_in_reverse_order() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def service(name: str) -> AsyncIterator[None]:
        events.append(f"+{name}")
        yield
        events.append(f"-{name}")

    stop = Stop(lambda code: None)
    stop.ask()
    await run_until_stopped(service("ledger"), service("worker"), until=stop)
    assert events == ["+ledger", "+worker", "-worker", "-ledger"]


async def test_a_service_that_cannot_start_ends_those_before_it(tmp_path: Path) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def good() -> AsyncIterator[None]:
        try:
            yield
        finally:
            events.append("ended")

    class Bad(AbstractAsyncContextManager[None]):
        async def __aenter__(self) -> None:
            raise RuntimeError("no port")

        async def __aexit__(self, *_: object) -> None:
            events.append("never")

    with pytest.raises(RuntimeError, match="no port"):
        await run_until_stopped(good(), Bad(), ready_file=tmp_path / "ready", until=Stop(lambda code: None))
    assert events == ["ended"]
    assert not (tmp_path / "ready").exists()


async def test_liveness_follows_how_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "LIVE_SECONDS", 0.01)
    live = tmp_path / "run" / "live"
    well = False
    stop = Stop(lambda code: None)
    running = asyncio.create_task(run_until_stopped(live_file=live, is_well=lambda: well, until=stop))
    await asyncio.sleep(0.1)
    assert not live.exists(), "not well: not touched"
    well = True
    await until(live.exists)
    first = live.stat().st_mtime_ns
    await until(lambda: live.stat().st_mtime_ns > first)
    well = False
    await asyncio.sleep(0.05)
    stale = live.stat().st_mtime_ns
    await asyncio.sleep(0.1)
    assert live.stat().st_mtime_ns == stale
    stop.ask()
    await running
    assert not live.exists()


async def test_liveness_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "LIVE_SECONDS", 0.01)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    stop = Stop(lambda code: None)
    running = asyncio.create_task(run_until_stopped(live_file=blocked / "live", until=stop))
    await asyncio.sleep(0.05)
    assert not running.done()
    stop.ask()
    with pytest.raises(NotADirectoryError):
        await running


async def test_signal_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with stop_on_signals(lambda code: None) as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 5)
        assert stop.asked
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) in (before, signal.SIG_DFL)


async def test_the_second_signal_forces_with_its_code() -> None:
    forced: list[int] = []
    stop = Stop(forced.append)
    stop.ask()
    stop.ask()
    assert forced == [], "the program asking twice forces nothing"
    stop.ask(signal.SIGINT)
    assert forced == [130]


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_writes_everything_out_and_keeps_the_code(code: int) -> None:
    source = f"""
    import atexit, sys
    from runtime.lifecycle import exit_now
    atexit.register(lambda: print("interpreter shutdown"))
    sys.stdout.write("out without a line end")
    sys.stderr.write("err")
    exit_now({code})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "out without a line end", "err")


def test_a_closed_pipe_does_not_change_the_code() -> None:
    source = "import sys; from runtime.lifecycle import exit_now; print('x' * 10); exit_now(4)"
    shell = f'{{ {sys.executable} -c "{source}"; echo $? >&2; }} | true'
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["sh", "-c", shell], cwd=ROOT, env=buffered, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "4"
