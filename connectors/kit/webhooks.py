"""What all receivers of vendors' webhooks share: a delivery, what it is refused for, and the checks. Pure.

A receiver verifies before it parses, compares in constant time, and takes out of a delivery only hints:
which record changed. What is done about it is decided by reading the record again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

import jwt
from pydantic import BaseModel, ConfigDict, Field

from canonical.failures import Unauthorised
from connectors.kit.secrets import Secret

TOLERANCE_SECONDS = 300
"""How far a signed time may lie from ours, both ways, where the vendor names no other figure."""
ID_LIMIT = 120
"""Characters of a record's id or an event's type that we take: they become parts of ids and lists."""
HINT_LIMIT = 1_000
"""Hints of one delivery; no vendor documents more than 100."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./@+=,-]*")


class Why(StrEnum):
    """What a delivery is refused for."""

    AUTHENTICITY = "authenticity"
    """Signature, secret or sender is missing or wrong."""
    TIME = "time"
    """Signed too long ago, or for the future."""
    FORM = "form"
    """Authentic, and not of the form that the vendor documents."""


class DeliveryRefused(ValueError):
    """Not an event of ours. The message carries nothing of the delivery."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True)
class Delivery:
    """One request of a sender, body unparsed."""

    method: str
    url: str
    """As the sender called it: scheme, public host, path, query."""
    headers: Mapping[str, str]
    """By lower-case name; a repeated header's values joined by commas."""
    body: bytes
    at: datetime
    key: str | None = None
    """The last part of the path, for senders whose only secret is their address."""


@dataclass(frozen=True)
class Hint:
    """One change that a delivery tells of."""

    id: str
    """What repetitions are recognised by, within the source."""
    type: str
    record_type: str = ""
    record_id: str = ""
    at: datetime | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """Values at the time of sending, for conditions only."""


@dataclass(frozen=True)
class Answer:
    """What the sender expects to hear when all is well."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A verified delivery."""

    hints: tuple[Hint, ...]
    answer: Answer = Answer()


class Receiver(BaseModel, ABC):
    """One source of events: how its deliveries are verified and read. Its fields are configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_address: ClassVar[bool] = False
    """Whether the secret is the last part of the address."""

    secrets: tuple[Secret, ...] = Field(min_length=1, max_length=2)
    """The secret shared with the sender; two while it is being exchanged. Each is `{ env = "NAME" }` or
    `{ file = "PATH" }`."""

    def keys(self) -> list[bytes]:
        """The secrets that are there now.

        Raises:
            Unauthorised: none is.
        """
        found, missing = [], []
        for secret in self.secrets:
            try:
                found.append(secret.read().encode())
            except Unauthorised as absent:
                missing.append(absent)
        if not found:
            raise missing[0]
        return found

    def missing(self) -> list[str]:
        """Where secrets were looked for and not found."""
        return absent(self.secrets)

    @abstractmethod
    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery.

        Raises:
            DeliveryRefused: it is not authentic, not of this time, or not of the vendor's form.
            Unauthorised: our secret is not there; nothing can be verified.
        """


def absent(secrets: Iterable[Secret]) -> list[str]:
    """Where secrets are looked for and not found now."""
    found = []
    for secret in secrets:
        try:
            secret.read()
        except Unauthorised:
            found.append(secret.describe())
    return found


def refuse_authenticity(message: str) -> DeliveryRefused:
    """Not from whom it says."""
    return DeliveryRefused(Why.AUTHENTICITY, message)


def refuse_form(message: str) -> DeliveryRefused:
    """Not of the vendor's form."""
    return DeliveryRefused(Why.FORM, message)


def same(presented: bytes, expected: Iterable[bytes]) -> bool:
    """Whether a value is one of those expected; in time that says nothing about where they differ."""
    # Digests are of one length, so that a secret's length does not show either; no early end.
    shown = hashlib.sha256(presented).digest()
    found = False
    for one in expected:
        found |= hmac.compare_digest(shown, hashlib.sha256(one).digest())
    return found


def sha256_hmac(key: bytes, message: bytes) -> bytes:
    """HMAC with SHA-256."""
    return hmac.digest(key, message, "sha256")


def hex_signature(presented: str | None, keys: Sequence[bytes], message: bytes) -> None:
    """Check a hexadecimal HMAC-SHA-256.

    Raises:
        DeliveryRefused: missing or wrong.
    """
    if not presented or not re.fullmatch(r"[0-9a-f]{64}", presented):
        raise refuse_authenticity("The signature is missing or is not one.")
    if not same(bytes.fromhex(presented), (sha256_hmac(key, message) for key in keys)):
        raise refuse_authenticity("The signature does not fit the body and the secret.")


def shared_secret(delivery: Delivery, header: str, keys: Sequence[bytes]) -> None:
    """Check a secret that a header carries as it is.

    Raises:
        DeliveryRefused: missing or wrong.
    """
    presented = delivery.headers.get(header.lower())
    if not presented or not same(presented.encode("latin-1", "replace"), keys):
        raise refuse_authenticity(f"The shared secret in the header {header} is missing or wrong.")


def in_time(signed: datetime, now: datetime, seconds: float) -> None:
    """Check that a signed time is of now.

    Raises:
        DeliveryRefused: it is older, or more in the future, than ``seconds``.
    """
    if abs(now - signed) > timedelta(seconds=seconds):
        raise DeliveryRefused(
            Why.TIME, f"The signed time is more than {seconds:g} s away from ours; repeat it freshly signed."
        )


def from_epoch(text: str | None, *, milliseconds: bool = False) -> datetime:
    """A time written as whole seconds or milliseconds since 1970.

    Raises:
        DeliveryRefused: it is not.
    """
    if text is None or not re.fullmatch(r"[0-9]{1,14}", text):
        raise refuse_authenticity("The time that belongs to the signature is missing or is not one.")
    try:
        return datetime.fromtimestamp(int(text) / (1000 if milliseconds else 1), UTC)
    except (OverflowError, ValueError, OSError):
        raise refuse_authenticity("The time that belongs to the signature is not one.") from None


def token(
    presented: str | None,
    keys: Sequence[bytes],
    now: datetime,
    *,
    issuer: str | None,
    audience: str | None,
    require: Sequence[str],
) -> Mapping[str, Any]:
    """The claims of a JWT signed with HS256 and one of the keys.

    Raises:
        DeliveryRefused: missing, another algorithm, key, issuer or audience, expired or not valid yet.
    """
    if not presented:
        raise refuse_authenticity("The signed token is missing.")
    claims: Mapping[str, Any] | None = None
    for key in keys:
        try:
            claims = jwt.decode(
                presented,
                key,
                algorithms=["HS256"],
                issuer=issuer,
                audience=audience,
                # Times are judged below, by the clock that this delivery was received by.
                options={
                    "require": list(require),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": audience is not None,
                },
            )
        except jwt.PyJWTError:
            continue
        break
    if claims is None:
        raise refuse_authenticity("The signed token does not fit secret, algorithm, issuer or audience.")
    _token_times(claims, now)
    return claims


def _token_times(claims: Mapping[str, Any], now: datetime) -> None:
    leeway = 60
    at = now.timestamp()
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse_authenticity(f"The signed token's {name} is not a time.")
        if (name == "exp" and value <= at - leeway) or (name != "exp" and value > at + leeway):
            raise DeliveryRefused(Why.TIME, f"The signed token is not valid now ({name}).")


def parse(body: bytes) -> Any:
    """A body's JSON. Call it after verifying.

    Raises:
        DeliveryRefused: it is none.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise refuse_form("The body is not JSON.") from None


def parse_object(body: bytes) -> Mapping[str, Any]:
    """A body's JSON object.

    Raises:
        DeliveryRefused: it is none.
    """
    found = parse(body)
    if not isinstance(found, dict):
        raise refuse_form("The body is not a JSON object.")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(name)


def plain(value: Any, what: str) -> str:
    """A value as part of an id: short, printable, without separators of ours.

    Raises:
        DeliveryRefused: missing or not such a value.
    """
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if len(text) > ID_LIMIT or not _PLAIN.fullmatch(text):
        raise refuse_form(f"{what} is missing or malformed.")
    return text


def words(value: Any) -> str:
    """A scalar as text, for conditions; empty for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)[:ID_LIMIT] if isinstance(value, str | int | float) else ""


def at_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901); None where there is none."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def moment(value: Any) -> datetime | None:
    """An ISO 8601 time with its zone; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def epoch_moment(value: Any) -> datetime | None:
    """A time in milliseconds since 1970; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def digest(*parts: bytes | str) -> str:
    """An event's id made of what was signed, for vendors that sign none."""
    joined = b"\x1f".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).hexdigest()[:40]
