"""One HTTP session per system instance and process: plain httpx, no retries (Temporal owns them).

Only a connection that never came to be counts as *not sent*. Everything later is, for a write, an
unknown outcome. A 401 is answered once by a fresh token and a repetition: the vendor did nothing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import isfinite
from pathlib import Path
from time import monotonic, time
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import simplejson

from canonical.failures import TIMED_OUT, OutcomeUnknown, Transient
from canonical.refs import RecordRef
from connectors.kit.errors import ErrorTable, VendorError
from connectors.kit.silence import PAUSE, Silence
from connectors.ports import PERMIT, Traffic

POOL_CEILING = 16
"""Connections of one client. Measured: httpx's throughput collapses beyond some 16 in one client."""
DEFAULT_TIMEOUT = httpx.Timeout(connect=5, read=30, write=30, pool=30)
"""Seconds. The sum stays below every write activity's start-to-close time."""
USER_AGENT = "trueup/1"

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Auth(Protocol):
    """Adds credentials to a request and renews them on demand."""

    async def headers(self, request: httpx.Request) -> Mapping[str, str]:
        """Headers for this request.

        Raises:
            Unauthorised: no credentials to be had.
            Transient: the token endpoint is away.
        """
        ...

    def forget(self) -> bool:
        """Drop the cached token after a 401. False when there is nothing to renew: do not try again."""
        ...


@dataclass
class HttpSession:
    """Calls one instance of a vendor. ``read_errors`` turns a refusal into the vendor's own errors."""

    system: str
    base_url: str
    auth: Auth
    errors: ErrorTable
    read_errors: Callable[[httpx.Response], Sequence[VendorError]]
    connections: int = 8
    """The vendor's concurrency for us; never above ``POOL_CEILING``."""
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: httpx.Timeout = field(default_factory=lambda: DEFAULT_TIMEOUT)
    rejected: Callable[[httpx.Response], bool] = lambda response: response.status_code == 401
    """Whether an answer means that the token was not accepted."""

    def __post_init__(self) -> None:
        self._size = min(self.connections, POOL_CEILING)
        self.client = self._new_client()
        self._retired: list[httpx.AsyncClient] = []
        # Calls wait here for a free connection, not in the client's pool: a wait of ours must not
        # count as the vendor's.
        self._free = asyncio.Semaphore(self._size)
        self.traffic = Traffic(limit=self._size)
        self._silence = Silence()

    def _new_client(self) -> httpx.AsyncClient:
        return new_client(self.base_url, self._size, self.ca_file, self.timeout)

    def _renew_client(self, worn: httpx.AsyncClient) -> None:
        """Go on with a fresh pool. Whoever may call has a place in the pool, so a pool without a free
        connection has lost some: those of calls that were cancelled at an unlucky moment.
        """
        if self.client is worn:
            self._retired.append(worn)  # calls under way still use it
            self.client = self._new_client()

    async def close(self) -> None:
        """Close the connections."""
        for client in (*self._retired, self.client):
            await client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        write: bool,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
        record: RecordRef | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """One call; the answer when it is 2xx or listed in ``accept``.

        Args:
            method: HTTP method.
            path: relative to the instance, already escaped (see ``escape``).
            what: for people, what is being done; begins every error message.
            write: whether the call may change something at the vendor.
            body: JSON body.
            form: form fields, instead of ``body``.
            query: query parameters.
            headers: in addition to the session's.
            accept: further statuses that are answers, not failures (a 404 that means "none").
            record: the record concerned, for the failure.
            key: effect key of the write, for the failure.

        Raises:
            SystemFailure: by the vendor's error table.
        """
        for attempt in (1, 2):
            request = self.client.build_request(
                method,
                path,
                content=None if body is None else encode(body),
                data=form,
                params=query,
                headers={
                    "Accept": "application/json",
                    "User-Agent": USER_AGENT,
                    **({"Content-Type": "application/json"} if body is not None else {}),
                    **self.headers,
                    **(headers or {}),
                },
            )
            request.headers.update(await self.auth.headers(request))
            response = await self._send(request, what=what, write=write, record=record, key=key)
            if response.is_success or response.status_code in accept:
                if write and response.is_success and (permit := PERMIT.get()) is not None:
                    permit.accepted()
                return response
            if attempt == 1 and self.rejected(response) and self.auth.forget():
                continue
            break
        raise self.errors.failure(
            self.read_errors(response) or [VendorError(response.status_code)],
            system=self.system,
            write=write,
            what=what,
            record=record,
            key=key,
            retry_after=retry_after(response),
        )

    async def _send(
        self, request: httpx.Request, *, what: str, write: bool, record: RecordRef | None, key: str | None
    ) -> httpx.Response:
        permit, client = PERMIT.get() if write else None, self.client
        try:
            async with self._free:
                client = self.client
                if not self._silence.may_call():
                    raise Transient(
                        f"{what}: not sent, {self.system} left the last {self._silence.unanswered} calls "
                        f"without any answer; it is tried again within {PAUSE:.0f} s.",
                        system=self.system,
                        record=record,
                        key=key,
                    )
                if permit is not None:
                    await permit.confirm()
                async with asyncio.timeout(permit.seconds if permit else None):
                    return await self._counted(client, request)
        except _NOT_SENT as error:
            if isinstance(error, httpx.PoolTimeout):
                self._renew_client(client)
            raise Transient(
                f"{what}: {self.system} cannot be reached ({type(error).__name__}).",
                system=self.system,
                record=record,
                key=key,
            ) from error
        except (httpx.HTTPError, TimeoutError) as error:
            if write:
                timed_out = isinstance(error, (httpx.TimeoutException, TimeoutError))
                raise OutcomeUnknown(
                    f"{what}: sent to {self.system}, no answer ({type(error).__name__}).",
                    system=self.system,
                    record=record,
                    key=key,
                    vendor_code=TIMED_OUT if timed_out else None,
                ) from error
            raise Transient(
                f"{what}: {self.system} broke off its answer ({type(error).__name__}).",
                system=self.system,
                record=record,
                key=key,
            ) from error

    async def _counted(self, client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        began = monotonic()
        try:
            response = await client.send(request)
        except (httpx.ReadTimeout, asyncio.CancelledError):
            # Cancelled: by the time limit of a write, or of the activity that asks.
            self._silence.no_answer(monotonic() - began)
            raise
        else:
            self._silence.answered()
            return response
        finally:
            self.traffic.calls += 1
            self.traffic.seconds += monotonic() - began


def new_client(
    base_url: str, connections: int, ca_file: Path | None, timeout: httpx.Timeout = DEFAULT_TIMEOUT
) -> httpx.AsyncClient:
    """A keep-alive client without retries or redirects, trusting ``ca_file`` when given."""
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
    if base_url.startswith("http://"):
        verify = False  # nothing to verify; building a context costs 20 ms
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=timeout,
        verify=verify,
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


def encode(body: Any) -> bytes:
    """JSON with decimals as plain numbers, digit for digit: vendors refuse amounts in quotes."""
    return simplejson.dumps(body, use_decimal=True, ensure_ascii=False, separators=(",", ":")).encode()


def decode(response: httpx.Response) -> Any:
    """The answer's JSON with exact decimals; None for an empty body.

    Raises:
        ValueError: not JSON.
    """
    return json.loads(response.content, parse_float=Decimal) if response.content else None


def escape(part: str) -> str:
    """A value as one path segment: a slash in a key must not open a sub-path."""
    return quote(part, safe="")


def fill(template: str, values: Mapping[str, Any]) -> str:
    """A path with its ``{name}`` placeholders replaced by escaped values."""
    return template.format(**{name: escape(str(value)) for name, value in values.items()})


def retry_after(response: httpx.Response) -> float | None:
    """The answer's Retry-After in seconds, given as seconds or as a date; None for what is no time."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None
