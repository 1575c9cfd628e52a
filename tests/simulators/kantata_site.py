"""Kantata simulator: one account for the tests of plans and feeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulators.kantata import build
from simulators.kit import serve


class Site:
    """A served simulator with a vendor client and a control client."""

    def __init__(self, base: str) -> None:
        self.api = httpx.Client(
            base_url=f"{base}/api/v1/", headers={"Authorization": "Bearer kantata-token"}, timeout=20
        )
        self.sim = httpx.Client(base_url=f"{base}/_sim/", timeout=60)

    def seed(self, **records: list[dict[str, Any]]) -> None:
        answer = self.sim.post("seed", json=records)
        assert answer.status_code == 204, answer.text

    def setting(self, **changes: Any) -> None:
        assert self.sim.post("settings", json=changes).status_code == 200

    def fault(self, **fault: Any) -> None:
        assert self.sim.post("faults", json=fault).status_code == 201

    def create(self, type_: str, singular: str, **fields: Any) -> dict[str, Any]:
        answer = self.api.post(type_, json={singular: fields})
        assert answer.status_code == 200, answer.text
        return one(answer)

    def put(self, path: str, singular: str, **fields: Any) -> httpx.Response:
        return self.api.put(path, json={singular: fields})

    def listed(self, type_: str, **params: Any) -> list[str]:
        return ids(self.api.get(type_, params=params))

    def read(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return one(answer)

    def workspace(self, **fields: Any) -> dict[str, Any]:
        return self.create("workspaces", "workspace", **{"title": "ACME", **fields})

    def project(self, **fields: Any) -> int:
        return int(self.workspace(**fields)["id"])

    def time(self, workspace: int, **fields: Any) -> int:
        body = {"workspace_id": workspace, "date_performed": "2026-01-12", "time_in_minutes": 60, **fields}
        return int(self.create("time_entries", "time_entry", **body)["id"])

    def expense(self, workspace: int, **fields: Any) -> int:
        body = {
            "workspace_id": workspace,
            "date": "2026-01-12",
            "category": "Travel",
            "amount_in_cents": 1999,
        }
        return int(self.create("expenses", "expense", **{**body, **fields})["id"])

    def sheet(self, workspace: int, *lines: int) -> int:
        body = {"title": "Week 3", "workspace_id": workspace, "line_item_ids": list(lines)}
        return int(self.create("timesheet_submissions", "timesheet_submission", **body)["id"])

    def writes(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.sim.get("writes").json()
        return rows


def one(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    hit = body["results"][0]
    record: dict[str, Any] = body[hit["key"]][hit["id"]]
    return record


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["results"]]


def fields_of(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 422, answer.text
    return {e["field"] for e in answer.json()["errors"]}


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with serve(build()) as run:
        yield run.base_url


@pytest.fixture
def site(running: str) -> Iterator[Site]:
    site = Site(running)
    site.sim.post("settings", json=build().settings)
    site.sim.delete("schema")
    site.sim.post("reset")
    yield site
    site.api.close()
    site.sim.close()
