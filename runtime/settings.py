"""The installation's settings: ``trueup.toml`` plus environment overrides, checked as a whole at start.

Order of precedence, strongest first: ``TRUEUP__SECTION__KEY`` in the environment, the file, the
defaults written beside each key in ``runtime.sections``. Paths are relative to the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from canonical.firm import Firm, Policies, Route, Service
from canonical.parties import LegalEntity
from canonical.refs import SystemRole
from canonical.saga import Actor
from runtime import checks
from runtime.config_file import Problem, RawConfig, find_file, keys_at, problems_of, read
from runtime.gateway_sections import GatewaySection
from runtime.sections import (
    NAME_PATTERN,
    BillingSection,
    FeedbackSection,
    FirmSection,
    LedgerSection,
    LoggingSection,
    NotifySection,
    RetrySection,
    ScheduleSection,
    Section,
    SystemSection,
    TelemetrySection,
    TemporalSection,
    WorkerSection,
)

InstanceName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class Settings(Section):
    """All that is configured. ``about`` is the section ``[firm]``; ``firm()`` is what the rules need."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: FirmSection = Field(alias="firm")
    temporal: TemporalSection = TemporalSection()
    ledger: LedgerSection = LedgerSection()
    worker: WorkerSection = WorkerSection()
    retry: RetrySection = RetrySection()
    billing: BillingSection = BillingSection()
    feedback: FeedbackSection = FeedbackSection()
    schedules: tuple[ScheduleSection, ...] = ()
    logging: LoggingSection = LoggingSection()
    telemetry: TelemetrySection = TelemetrySection()
    notify: NotifySection = NotifySection()
    gateway: GatewaySection = GatewaySection()
    systems: dict[InstanceName, SystemSection] = {}
    entities: tuple[LegalEntity, ...] = ()
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    policies: Policies = Policies()
    actors: dict[str, tuple[str, ...]] = {}
    """Roles by operating-system user, while single sign-on is not configured."""

    @property
    def regions(self) -> tuple[str, ...]:
        """All delivery regions, the deployment's own first."""
        return tuple(dict.fromkeys((self.about.region, *self.about.regions)))

    def firm(self) -> Firm:
        """The firm's catalogue and policies, as the rules see them."""
        return Firm(
            name=self.about.name,
            region=self.about.region,
            regions=self.regions,
            entities=self.entities,
            services=self.services,
            routes=self.routes,
            policies=self.policies,
        )

    def systems_with(self, role: SystemRole) -> tuple[str, ...]:
        """Instances that fill a role, in the file's order."""
        return tuple(name for name, system in self.systems.items() if role in system.roles)

    def actor(self, name: str) -> Actor:
        """The operating system's user as an actor: roles from ``[actors]``, never verified."""
        return Actor(name=name, roles=self.actors.get(name, ()))


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings.

    Args:
        path: the file; ``TRUEUP_CONFIG`` or ``./trueup.toml`` when empty.
        environ: the environment; this process's own when empty.

    Raises:
        ConfigurationError: every problem at once, each with file or variable, key, what is wrong and remedy.
    """
    environ = os.environ if environ is None else environ
    return check(read(find_file(path, environ), environ))


def check(raw: RawConfig) -> Settings:
    """Settings from what was read; see ``load``."""
    found: list[Problem] = []
    kept: dict[str, list[int]] = {}
    try:
        settings = _validate(raw.data)
    except ValidationError as error:
        found = problems_of(Settings, error)
        settings, kept = _valid_parts(raw.data)
    found += [_in_file(problem, kept) for problem in checks.problems(settings, _names(raw.data))]
    if found:
        raise raw.error(found)
    return settings


def _validate(data: dict[str, Any]) -> Settings:
    # The canonical models ignore unknown fields, because they travel; in a file a person wrote, an unknown
    # key is a mistake at every depth.
    return Settings.model_validate(data, extra="forbid")


def _valid_parts(data: dict[str, Any]) -> tuple[Settings, dict[str, list[int]]]:
    """The settings without what is wrong by itself, so that contradictions are reported in the same breath.

    Returns:
        The settings, and by section the places in the file of the list items that are left.
    """
    data = {key: value for key, value in deepcopy(data).items() if key in keys_at(Settings, ())}
    kept = {key: list(range(len(value))) for key, value in data.items() if isinstance(value, list)}
    while True:
        try:
            return _validate(data), kept
        except ValidationError as error:
            spots = {detail["loc"][:2] for detail in error.errors(include_url=False)}
        # From the back, so that the numbers of the items before stay right.
        for spot in sorted(spots, key=_item_number, reverse=True):
            _drop(data, kept, spot)


def _item_number(spot: tuple[str | int, ...]) -> int:
    return spot[1] if len(spot) == 2 and isinstance(spot[1], int) else -1


def _drop(data: dict[str, Any], kept: dict[str, list[int]], spot: tuple[str | int, ...]) -> None:
    section, key = str(spot[0]), spot[1] if len(spot) == 2 else None
    content = data.get(section)
    if section == "firm":
        data["firm"] = {"name": "unnamed", "region": "unnamed"}
    elif isinstance(content, list) and isinstance(key, int):
        del content[key]
        del kept[section][key]
    elif isinstance(content, dict) and key in content:
        del content[str(key)]
    else:
        data.pop(section, None)


def _in_file(problem: Problem, kept: dict[str, list[int]]) -> Problem:
    """The problem with the number that its list item has in the file."""
    section, *rest = problem.path
    if section in kept and rest and isinstance(rest[0], int):
        return replace(problem, path=(section, kept[str(section)][rest[0]], *rest[1:]))
    return problem


def _names(data: dict[str, Any]) -> checks.Names:
    """Names that the file introduces, whether or not what stands under them is valid."""
    firm = data.get("firm")
    systems = data.get("systems")
    entities = data.get("entities")
    try:
        about = FirmSection.model_validate(firm, extra="ignore")
        regions = (about.region, *about.regions)
    except ValidationError:
        regions = None
    return checks.Names(
        systems=tuple(systems) if isinstance(systems, dict) else (),
        entities=tuple(str(e.get("code")) for e in entities if isinstance(e, dict))
        if isinstance(entities, list)
        else (),
        regions=regions,
    )
