"""Asynchronous calls and batches: ``Prefer: respond-async``, jobs, tasks, results, idempotency keys.

Source: vendor documentation: Idempotency; Async and bulk. A batch becomes one task per record (setting
``list_results`` "tasks") or one task whose result holds an item per record ("items"): the documentation says
only that results come per record.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from simulators.kit import Answer, Call, VendorError
from simulators.netsuite import errors, render, values
from simulators.netsuite.records import Origin
from simulators.netsuite.service import RecordService, segments
from simulators.netsuite.state import stamp

BASE = "/services/rest/async/v1/job"
MAX_LIST = 100
"""Records of one batch, at most."""

Unit = Callable[[], Answer]


@dataclass
class Job:
    """One accepted asynchronous call."""

    id: str
    units: list[Unit]
    """What is still to be done; emptied by doing it."""
    size: int
    accepted: datetime
    ready: datetime
    is_list: bool
    answers: list[Answer] = field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None


class Jobs:
    """Accepts asynchronous calls, runs them when due, answers for them."""

    def __init__(self, service: RecordService) -> None:
        self.service = service
        self.books = service.books
        self.clear()

    def clear(self) -> None:
        """Forget all jobs and keys."""
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, str] = {}
        self.waiting: list[Job] = []

    @staticmethod
    def wanted(call: Call) -> bool:
        """Whether a call asks to be served asynchronously."""
        parts = [p.strip().lower() for p in call.headers.get("prefer", "").split(",")]
        return "respond-async" in parts

    def accept(self, call: Call) -> Answer:
        """Take a record call on: 202 with the job's address, or the refusal of a replayed key."""
        key = call.headers.get("x-netsuite-idempotency-key")
        if key is not None:
            try:
                key = str(uuid.UUID(key))
            except ValueError:
                raise errors.invalid_parameter(
                    "The idempotency key must be a UUID.", header="X-NetSuite-Idempotency-Key"
                ) from None
            if key in self.keys:
                detail = errors.Detail(
                    "The request with this idempotency key has already been accepted.",
                    "IDEMPOTENCY_ERROR",
                    header="X-NetSuite-Idempotency-Key",
                )
                refusal = errors.answer(400, detail, title="Conflict")
                refusal.headers["Location"] = self._address(call, self.keys[key])
                raise VendorError(refusal)
        parts = segments(call)
        kind = call.headers.get("content-type", "").replace(" ", "").lower()
        is_list = len(parts) == 1 and (
            call.method in ("PUT", "PATCH", "DELETE") or (call.method == "POST" and "type=collection" in kind)
        )
        units = self._list_units(call, parts[0]) if is_list else [lambda: self.service.serve(call)]
        now = self.books.clock.now()
        job = Job(
            str(self.books.store.number("async")),
            units,
            len(units),
            now,
            now + timedelta(seconds=float(self.books.settings["async_job_seconds"])),
            is_list,
        )
        self.jobs[job.id] = job
        self.waiting.append(job)
        if key is not None:
            self.keys[key] = job.id
        self.run_due()
        where = {"Location": self._address(call, job.id), "Preference-Applied": "respond-async"}
        return Answer(202, headers=where)

    def _address(self, call: Call, job_id: str) -> str:
        base = render.origin(call) if self.books.settings["async_location"] == "absolute" else ""
        return f"{base}{BASE}/{job_id}"

    # --- batches ------------------------------------------------------------------------------

    def _list_units(self, call: Call, type_: str) -> list[Unit]:
        spec = self.service.type(type_)
        if call.method == "DELETE":
            named = [i.strip() for i in (call.param("ids") or "").split(",") if i.strip()]
            self._check_size(named, query_param="ids")
            return [self._single(call, "DELETE", f"{type_}/{key}") for key in named]
        body = values.load(call, collection=True)
        items = body.get("items")
        if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
            raise errors.invalid_content('The body of a list operation must be {"items": [...]}.', "items")
        self._check_size(items)
        how = values.strictness(call)
        replaced = {n for n in (call.param("replace") or "").split(",") if n}
        records, books = self.service.records, self.books

        def unit(item: dict[str, Any]) -> Unit:
            def run() -> Answer:
                origin = Origin(call.method, call.path, item)
                given, external = item.get("id"), item.get("externalId")
                if call.method == "POST":
                    id_ = records.create(spec.name, item, how, origin)
                elif call.method == "PUT":
                    if not isinstance(external, str) or not external:
                        raise errors.invalid_content(
                            "Each item of an upsert needs an external ID.", "externalId"
                        )
                    id_ = records.upsert(spec.name, external, item, how, origin, replaced)
                else:
                    known = given if isinstance(given, str) else None
                    found = known or (
                        books.by_external(spec.name, external) if isinstance(external, str) else None
                    )
                    if found is None or books.get(spec.name, found) is None:
                        raise errors.nonexistent()
                    id_ = found
                    records.update(spec.name, id_, item, how, origin, replaced=replaced)
                return Answer(204, headers={"Location": render.location(call, spec.name, id_)})

            return run

        return [unit(item) for item in items]

    def _single(self, call: Call, method: str, path: str) -> Unit:
        whole = f"{render.BASE}/{path}"
        return lambda: self.service.serve(replace(call, method=method, path=whole, raw_path=whole, query=[]))

    @staticmethod
    def _check_size(items: list[Any], query_param: str | None = None) -> None:
        if not 1 <= len(items) <= MAX_LIST:
            raise errors.invalid_parameter(
                f"A list operation takes between 1 and {MAX_LIST} records.", query_param=query_param
            )

    # --- running ------------------------------------------------------------------------------

    def run_due(self) -> None:
        """Run every job whose time has come, the records of a batch in no particular order."""
        now = self.books.clock.now()
        due = [job for job in self.waiting if job.ready <= now]
        self.waiting = [job for job in self.waiting if job.ready > now]
        for job in due:
            job.started = self.books.accepted = job.accepted
            answers: dict[int, Answer] = {}
            order = list(range(len(job.units)))
            random.Random(job.id).shuffle(order)
            for place in order:
                self.books.at = self.books.clock.now()
                try:
                    answers[place] = job.units[place]()
                except VendorError as refusal:
                    answers[place] = refusal.answer
            job.answers = [answers[place] for place in range(len(job.units))]
            job.units = []
            job.ended = self.books.clock.now()
            self.books.accepted = None

    # --- reading ------------------------------------------------------------------------------

    def serve(self, call: Call) -> Answer:
        """``GET .../job/{id}`` and what lies below."""
        if call.method != "GET":
            raise errors.refuse(
                405, errors.Detail(f"Method {call.method} is not allowed here.", "INVALID_PARAMETER")
            )
        parts = call.path.removeprefix(BASE).strip("/").split("/")
        job = self.jobs.get(parts[0])
        if job is None:
            raise errors.nonexistent(f"The asynchronous job '{parts[0]}' does not exist.")
        root = f"{render.origin(call)}{BASE}/{job.id}"
        match parts[1:]:
            case []:
                body = {
                    "links": render.self_link(root),
                    "completed": job.ended is not None,
                    "id": job.id,
                    "progress": self._progress(job, job.answers),
                    "task": {"links": render.self_link(f"{root}/task")},
                }
                return Answer(200, body)
            case ["task"]:
                tasks = [
                    {"links": render.self_link(f"{root}/task/{n}"), "id": str(n)} for n in self._tasks(job)
                ]
                return Answer(200, render.page(call, len(tasks), tasks, render.LIMIT, 0))
            case ["task", number] if number.isdigit() and int(number) in self._tasks(job):
                return self._task(job, int(number), f"{root}/task/{number}")
            case ["task", number, "result"] if number.isdigit() and int(number) in self._tasks(job):
                if job.ended is None:
                    raise errors.nonexistent("The result is not available yet.")
                return self._result(job, int(number), call)
        raise errors.nonexistent("The requested resource does not exist.")

    def _tasks(self, job: Job) -> range:
        one = not job.is_list or self.books.settings["list_results"] == "items"
        return range(1, 2) if one else range(1, job.size + 1)

    def _answers(self, job: Job, number: int) -> list[Answer]:
        return job.answers if len(self._tasks(job)) == 1 else job.answers[number - 1 : number]

    def _progress(self, job: Job, answers: list[Answer]) -> str:
        if job.ended is None:
            halfway = job.accepted + (job.ready - job.accepted) / 2
            return "processing" if self.books.clock.now() >= halfway else "pending"
        return "failed" if all(a.status >= 400 for a in answers) else "succeeded"

    def _task(self, job: Job, number: int, url: str) -> Answer:
        body: dict[str, Any] = {
            "links": [{"rel": "related", "href": f"{url}/result"}, *render.self_link(url)],
            "completed": job.ended is not None,
            "id": str(number),
            "progress": self._progress(job, self._answers(job, number)),
        }
        if job.started is not None and job.ended is not None:
            body.update(startTime=stamp(job.started), endTime=stamp(job.ended))
        return Answer(200, body)

    def _result(self, job: Job, number: int, call: Call) -> Answer:
        if not job.is_list or self.books.settings["list_results"] == "tasks":
            done = self._answers(job, number)[0]
            return Answer(done.status, done.body, dict(done.headers), done.content_type)
        items = []
        for answer in job.answers:
            item: dict[str, Any] = {"status": answer.status}
            if "Location" in answer.headers:
                item["links"] = render.self_link(answer.headers["Location"])
                item["id"] = answer.headers["Location"].rsplit("/", 1)[-1]
            if isinstance(answer.body, dict):
                item.update(answer.body)
            items.append(item)
        return Answer(200, render.page(call, len(items), items, render.LIMIT, 0))
