"""Refusals in Kantata's own words.

Source: vendor documentation, "Errors": ``{"errors":[{"type","message","field"}]}`` with the types ``oauth``,
``system`` and ``validation``; ``field`` only on validation errors. There are no stable error codes.
"""

from __future__ import annotations

from typing import Any

from simulators.kit import Answer, VendorError

Problem = dict[str, Any]


def problem(message: str, field: str | None = None) -> Problem:
    """One entry of the ``errors`` list: a validation problem when it names a field, else a system one."""
    if field is None:
        return {"type": "system", "message": message}
    return {"type": "validation", "message": message, "field": field}


class Refused(VendorError):
    """A refusal that keeps its list of problems, so that a bulk call can put several together."""

    def __init__(self, status: int, problems: list[Problem]) -> None:
        super().__init__(Answer(status, {"errors": problems}))
        self.problems = problems


def system(status: int, message: str) -> Refused:
    """A refusal of the request as a whole."""
    return Refused(status, [problem(message)])


def invalid(field: str, message: str) -> Refused:
    """A 422 that names one field."""
    return Refused(422, [problem(message, field)])


def not_found(what: str) -> Refused:
    """The 404 of a missing or hidden record, or of an unknown path."""
    return system(404, f"{what} not found")


def unauthorised() -> Refused:
    """The 401 of a missing, unknown or revoked token (vendor documentation, "Auth": observed body)."""
    return Refused(401, [{"type": "oauth", "message": "Invalid OAuth 2 Request"}])


class Problems:
    """Collects what is wrong with one row before anything is written."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, field: str, message: str) -> None:
        """Note a validation problem."""
        self.found.append(problem(message, field))

    def refuse(self) -> None:
        """Raise the collected problems as one 422, if there are any."""
        if self.found:
            raise Refused(422, self.found)
