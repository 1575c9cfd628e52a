"""The vendor's limit: a bare script that makes posting's calls to NetSuite and does nothing else.

``python -m bench.billing_floor``: per hundred lines one list call, one look at its job, one query that shows
the records, as ``connectors.netsuite.bulk`` makes them, as many at once as NetSuite allows. It reads no
approval, keeps no intent, checks nothing, and its lines are made before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx

from connectors.kit.http import encode
from connectors.netsuite import billing_queries as sql
from connectors.netsuite.auth import make_auth
from connectors.netsuite.bulk import LIMIT
from connectors.netsuite.client import COLLECTION, QUERY, RECORD, STRICT
from connectors.netsuite.settings import NetSuiteMapping, NetSuiteSettings
from runtime.settings import load
from wiring.systems import vendor_settings

AHEAD = 2
"""Batches under way per allowed call: no call slot is ever idle."""


class Floor:
    """Posts lines as fast as NetSuite takes them."""

    def __init__(self, system: str, settings: NetSuiteSettings, cap: int) -> None:
        limits = httpx.Limits(max_connections=cap, max_keepalive_connections=cap)
        self.http = httpx.AsyncClient(
            base_url=settings.base_url, timeout=60, trust_env=False, verify=False, limits=limits
        )
        self.auth = make_auth(system, settings, lambda: self.http)
        self.mapping: NetSuiteMapping = settings.mapping
        self.cap = cap
        self.slots = asyncio.Semaphore(cap)
        self.calls = 0

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One call within the cap.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        async with self.slots:
            request = self.http.build_request(method, path, **more)
            request.headers.update(await self.auth.headers(request))
            answer = await self.http.send(request)
            self.calls += 1
            answer.raise_for_status()
            return answer

    async def batch(self, content: bytes, names: list[str]) -> int:
        """One batch, from the list call to the query; answers how many records the query shows.

        Raises:
            RuntimeError: the simulator lets jobs wait.
        """
        taken = await self.call(
            "POST",
            f"{RECORD}/timeBill",
            content=content,
            headers={
                **STRICT,
                "Content-Type": COLLECTION,
                "Prefer": "respond-async",
                "X-NetSuite-Idempotency-Key": str(uuid.uuid4()),
            },
        )
        job = httpx.URL(taken.headers["Location"]).path
        state = await self.call("GET", job)
        if not state.json()["completed"]:
            raise RuntimeError(f"job {job} has not ended: these jobs are to end at once")
        shown = await self.call(
            "POST",
            QUERY,
            content=encode({"q": sql.time_by_external_id(self.mapping, names)}),
            params={"limit": "1000", "offset": "0"},
            headers={"Content-Type": "application/json", "Prefer": "transient"},
        )
        return len(shown.json()["items"])

    async def run(self, lines: list[dict[str, Any]]) -> float:
        """Seconds for all lines.

        Raises:
            RuntimeError: not all of them are there.
        """
        batches = []
        for start in range(0, len(lines), LIMIT):
            part = [
                {**line, "externalId": f"floor-{uuid.uuid4().hex}"} for line in lines[start : start + LIMIT]
            ]
            batches.append((encode({"items": part}), [line["externalId"] for line in part]))
        await self.call("GET", f"{RECORD}/subsidiary")  # signs in
        waiting, shown = iter(batches), list[int]()

        async def lane() -> None:
            for content, names in waiting:
                shown.append(await self.batch(content, names))

        began = time.monotonic()
        await asyncio.gather(*(lane() for _ in range(AHEAD * self.cap)))
        seconds = time.monotonic() - began
        if sum(shown) != len(lines):
            raise RuntimeError(f"{sum(shown)} of {len(lines)} lines are there")
        return seconds


async def measured(config: Path, system: str, lines: list[dict[str, Any]], cap: int) -> dict[str, float]:
    """Seconds, lines and calls of posting ``lines`` once."""
    settings = vendor_settings(system, load(config).systems[system])
    assert isinstance(settings, NetSuiteSettings)
    floor = Floor(system, settings, cap)
    seconds = await floor.run(lines)
    await floor.http.aclose()
    return {"seconds": seconds, "lines": len(lines), "calls": floor.calls}


def main() -> None:
    """Entry point: prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench.billing_floor", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--system", default="netsuite-emea")
    parser.add_argument("--like", type=Path, required=True, help="JSON list of the records to post")
    parser.add_argument("--cap", type=int, required=True)
    given = parser.parse_args()
    lines = json.loads(given.like.read_text())
    print(json.dumps(asyncio.run(measured(given.config, given.system, lines, given.cap))))


if __name__ == "__main__":
    main()
