"""Keyed look-ups by external id, unique field and reference, so that no write scans a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from simulators.salesforce.fields import Field


def key(made: Field, value: Any) -> Any:
    """The form under which a value is indexed: text is not case-sensitive unless the field says so."""
    if isinstance(value, str) and made.type != "reference" and not made.case_sensitive:
        return value.casefold()
    return value


class Index:
    """Ids of live records by object, field and value, in insertion order."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], dict[Any, dict[str, None]]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._ids.clear()

    def add(self, type_: str, fields: Iterable[Field], record: Mapping[str, Any]) -> None:
        """Enter one record under each indexed field that has a value."""
        for made in fields:
            value = record.get(made.name)
            if value is not None:
                self._ids.setdefault((type_, made.name), {}).setdefault(key(made, value), {})[
                    record["Id"]
                ] = None

    def remove(self, type_: str, fields: Iterable[Field], record: Mapping[str, Any]) -> None:
        """Take one record out again; ``record`` is the version that was entered."""
        for made in fields:
            value = record.get(made.name)
            if value is not None:
                self._ids.get((type_, made.name), {}).get(key(made, value), {}).pop(record["Id"], None)

    def find(self, type_: str, made: Field, value: Any) -> list[str]:
        """Ids of the live records whose field has this value."""
        return list(self._ids.get((type_, made.name), {}).get(key(made, value), {}))
