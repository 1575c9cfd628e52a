"""The organisation's schema as it is now: standard and custom fields and objects, features, visibility."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from simulators.salesforce.fields import Field, SObject, custom_field, sobject, system_fields, words
from simulators.salesforce.ids import ALPHABET
from simulators.salesforce.schema import STANDARD

Settings = Mapping[str, Any]

_SHAPING = (
    "multi_currency",
    "state_country_picklists",
    "hidden_fields",
    "opportunity_stages",
    "countries",
    "states",
    "duplicate_rules",
)
_CODES = ("CountryCode", "StateCode")


class View:
    """What the integration user can see under one set of settings. Immutable once built."""

    def __init__(self, objects: Mapping[str, SObject], settings: Settings) -> None:
        present = [o for o in objects.values() if o.feature is None or settings[o.feature]]
        hidden = {(name.lower(), f.lower()) for name, fs in settings["hidden_fields"].items() for f in fs}
        self.objects: dict[str, SObject] = {}
        self.whole: dict[str, SObject] = {}
        """By canonical name, with the fields that are hidden from the user."""
        self.indexed: dict[str, tuple[Field, ...]] = {}
        self.by_prefix: dict[str, SObject] = {}
        self.children: dict[tuple[str, str], tuple[SObject, Field]] = {}
        self.references: dict[str, list[tuple[SObject, Field]]] = {}
        for one in present:
            fields = {
                n: self._tuned(f, settings)
                for n, f in one.fields.items()
                if not f.feature or settings[f.feature]
            }
            compared = settings["duplicate_rules"].get(one.name, {}).get("fields", ())
            by_name = {n.lower(): f for n, f in fields.items()}
            self.whole[one.name] = dataclasses.replace(one, fields=fields, by_name=by_name)
            self.indexed[one.name] = tuple(f for f in fields.values() if f.indexed or f.name in compared)
            for made in fields.values():
                for target in made.reference_to:
                    self.references.setdefault(target, []).append((one, made))
            visible = {n: f for n, f in fields.items() if (one.name.lower(), n.lower()) not in hidden}
            seen = dataclasses.replace(
                one, fields=visible, by_name={n.lower(): f for n, f in visible.items()}
            )
            self.objects[one.name.lower()] = self.by_prefix[one.prefix] = seen
            for made in visible.values():
                for target in made.reference_to if made.children else ():
                    self.children[target.lower(), str(made.children).lower()] = (seen, made)

    @staticmethod
    def _tuned(made: Field, settings: Settings) -> Field:
        if made.name == "StageName":
            return dataclasses.replace(made, values=tuple(settings["opportunity_stages"]))
        if made.name.endswith(_CODES) and made.feature:
            codes = settings["countries"] if made.name.endswith("CountryCode") else {
                code: name for states in settings["states"].values() for code, name in states.items()
            }  # fmt: skip
            return dataclasses.replace(made, values=tuple(codes))
        return made

    def object(self, name: str) -> SObject | None:
        """The object of this name in any case, or None."""
        return self.objects.get(name.lower())

    def child(self, parent: SObject, relationship: str) -> tuple[SObject, Field] | None:
        """The child object and its reference field behind a child relationship name, or None."""
        return self.children.get((parent.name.lower(), relationship.lower()))


class Catalogue:
    """Standard objects plus what ``POST /_sim/schema`` added; survives a reset."""

    def __init__(self) -> None:
        self.objects: dict[str, SObject] = dict(STANDARD)
        self.custom: dict[str, dict[str, dict[str, Any]]] = {}
        self._view: tuple[str, View] | None = None

    def view(self, settings: Settings) -> View:
        """The schema under these settings (cached until one that shapes it changes)."""
        key = json.dumps([settings[name] for name in _SHAPING])
        if self._view is None or self._view[0] != key:
            self._view = (key, View(self.objects, settings))
        return self._view[1]

    def define(self, spec: Mapping[str, Any]) -> None:
        """Add or replace custom fields; an unknown name ending in ``__c`` makes a custom object.

        Args:
            spec: ``{"<object>": [{"name": "..__c", "type": "...", ...}]}``.

        Raises:
            ValueError: what is wrong, before anything changed.
        """
        objects = dict(self.objects)
        custom = {name: dict(fields) for name, fields in self.custom.items()}
        for name, fields in spec.items():
            if name not in objects:
                objects[name] = self._custom_object(name, objects)
            one = objects[name]
            own = {f.name: f for f in one.fields.values()}
            for field_spec in fields:
                made = custom_field(field_spec)
                if made.name in own and not own[made.name].custom:
                    raise ValueError(f"{name}.{made.name} is a standard field")
                own[made.name] = made
                custom.setdefault(name, {})[made.name] = dict(field_spec)
            by_name = {n.lower(): f for n, f in own.items()}
            objects[name] = dataclasses.replace(one, fields=own, by_name=by_name)
        for one in objects.values():
            for made in one.fields.values():
                missing = [t for t in made.reference_to if t not in objects]
                if missing:
                    raise ValueError(f"{one.name}.{made.name} refers to unknown objects {missing}")
        self.objects, self.custom, self._view = objects, custom, None

    @staticmethod
    def _custom_object(name: str, objects: Mapping[str, SObject]) -> SObject:
        if not name.endswith("__c"):
            raise ValueError(f"no object {name}; a custom object's name ends in __c")
        count = sum(1 for o in objects.values() if o.custom)
        prefix = "a" + ALPHABET[count // 62] + ALPHABET[count % 62]
        iso = Field("CurrencyIsoCode", "picklist", 255, feature="multi_currency")
        label = words(name)
        return sobject(name, prefix, [Field("Name", "string", 80), iso], custom=True, label=label)


SYSTEM_NAMES = frozenset(f.name for f in system_fields(owned=False))
"""Stamps that seeds may give and API writes may not."""
