"""Settings of one Kantata OX account. What shapes written data sits in ``mapping`` and is content-hashed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.kit.http import POOL_CEILING
from connectors.kit.secrets import Secret

DEFAULT_BASE_URL = "https://api.mavenlink.com"
"""Kantata's only host; accounts are told apart by their token."""

DEFAULT_LIMITS = {"project.title": 255, "client.name": 255, "milestone.title": 200}
"""Characters. 200 for a task's title: the vendor's own Ruby SDK. The two others are not published; 255 is
the usual length of such a column and is checked before anything is sent, never by cutting."""

CODE_RESERVE = 32
"""Characters kept free in a project's title for its code, when titles carry it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StatusKeys(_Frozen):
    """Ids of the account's own project statuses (``status_key``); an empty one is not written."""

    prepared: str | None = None
    active: str | None = None
    closed: str | None = None
    """Also set on a project that an undo archives."""
    completed: str | None = None
    """Of a project that was closed because its work is done and billed (rule 45)."""

    @field_validator("prepared", "active", "closed", "completed", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value


class Closing(_Frozen):
    """What closing a project for time sets besides ``status_keys.completed``."""

    archive: bool = True
    """``archived``: it leaves the default lists. That it takes no time then is an assumption."""
    stop_time: bool = False
    """``time_trackable``: named by the vendor's own SDK as writable; that it stops time is an assumption."""


class AcceptanceFields(_Frozen):
    """Ids of the account's custom fields on milestones that tell their acceptance (rule 33)."""

    date: int | None = None
    """A date field: when the client accepted."""
    by: int | None = None
    """A text field: who accepted."""
    document: int | None = None
    """A text field: number or address of the acceptance document."""


class KantataMapping(_Frozen):
    """What decides how our words become Kantata's fields; a run is pinned to its digest."""

    service_name: str = Field(default="trueup", min_length=1)
    """``external_reference.service_name``: Kantata keeps one reference per service name and object."""
    finance_service: str | None = Field(default="trueup-finance", min_length=1)
    """``service_name`` of the reference on a project that carries finance's figures; none are shown without.
    It must differ from ``service_name``: Kantata keeps one reference per service name and object."""
    finance_margin: bool = False
    """Tell a project's margin in that line too, where ``[feedback] margin`` is on (rule 42)."""
    project_code_field: int
    """Id of the project custom field (text) that carries the project code."""
    saga_mark_field: int | None = None
    """Id of the project custom field (text) that names the saga which undid a project. The external
    reference carries the same mark in any case."""
    status_keys: StatusKeys = StatusKeys()
    closing: Closing = Closing()
    create_stage: Literal["estimate", "project"] = "project"
    """``stage`` of a project until it is activated."""
    active_stage: Literal["project"] | None = None
    """``stage`` set by the activation; empty leaves it alone."""
    creator_role: Literal["consultant", "client", "maven", "buyer"] = "consultant"
    """The current specification says consultant/client, the vendor's SDK maven/buyer."""
    require_time_approvals: bool = True
    require_expense_approvals: bool = True
    approver_ids: tuple[int, ...] = ()
    """Kantata user ids; one is sent as ``approver_id``, several as ``approver_ids``."""
    role_titles: dict[str, str] = {}
    """HR's role word -> title of the Kantata role; a role that is not listed has the same name in both."""
    seat_roles: dict[str, str] = {}
    """Name of a template's position -> our role word, where the name is not the role's title."""
    title_with_code: bool = False
    """Whether a project's title begins with its code."""
    group_is_company: bool = True
    template_ids: dict[str, int] = {}
    """Template title -> id, needed where two templates of the account share a title."""
    complete_states: tuple[str, ...] = ("completed",)
    """States of a milestone that mean complete, in lower case (the account's own words)."""
    acceptance: AcceptanceFields | None = None
    """Without: acceptance is not told here, and a contract that asks for it is accepted at our own gate."""
    estimate_field: int | None = None
    """Id of the project custom field (number) that holds the hours of the whole project, done and still to be
    done. It goes before ``task_estimates``."""
    task_estimates: bool = False
    """Whether the time estimates of a project's tasks add up to all of its work. Without either, revenue that
    follows the effort is held: nobody has estimated what is still to be worked."""
    milestone_budgets: bool = True
    """Whether billable milestones carry their amount as a fixed fee (needs budget access)."""
    bill_rate_unit: Literal["units", "cents"] = "cents"
    """Unit of a placeholder's ``bill_rate``. The reference names none; cents is its rule ("cents in most
    attributes") and a project's ``price`` one of its two exceptions."""
    recognition_unit: Literal["units", "cents"] = "cents"
    """Unit of ``amount`` in project accounting records; same reasoning."""
    limits: dict[str, int] = {}
    """Overrides of ``DEFAULT_LIMITS``, in characters."""

    @model_validator(mode="after")
    def _can_tell_active_from_prepared(self) -> Self:
        by_status = self.status_keys.active is not None
        by_stage = self.active_stage is not None and self.create_stage != self.active_stage
        if not by_status and not by_stage:
            raise ValueError(
                "activation would change nothing: name status_keys.active, or create projects in stage "
                '"estimate" and set active_stage = "project"'
            )
        if by_status and self.status_keys.active == self.status_keys.prepared:
            raise ValueError("status_keys.active and status_keys.prepared must differ")
        if not (self.closing.archive or self.closing.stop_time or self.status_keys.completed):
            raise ValueError("closing would change nothing: archive, stop time or name status_keys.completed")
        if self.finance_service == self.service_name:
            raise ValueError("finance_service and service_name must differ")
        titles = [title.casefold() for title in self.role_titles.values()]
        if len(titles) != len(set(titles)):
            raise ValueError("role_titles must be one to one: two of our roles have the same Kantata title")
        return self

    def role_title(self, role: str) -> str:
        """Kantata's title of one of our roles."""
        return self.role_titles.get(role, role)

    def role_word(self, title: str, known: Iterable[str] = ()) -> str:
        """Our word for a Kantata role title; ``known`` are words in use, as HR spells them."""
        wanted = title.casefold()
        words = (*self.role_titles, *known)
        return next((word for word in words if self.role_title(word).casefold() == wanted), title)

    def seat_role(self, name: str, known: Iterable[str] = ()) -> str:
        """Our role word of a template's position: its name, with a trailing number taken off."""
        bare = re.sub(r"\s*[#(]?\d+\)?$", "", name).strip() or name
        return self.seat_roles.get(name) or self.seat_roles.get(bare) or self.role_word(bare, known)

    def limits_in_force(self) -> dict[str, int]:
        """Longest text by canonical field; room for the code is taken off a title that carries it."""
        limits = {**DEFAULT_LIMITS, **self.limits}
        if self.title_with_code:
            limits["project.title"] -= CODE_RESERVE
        return limits


class KantataSettings(_Frozen):
    """One Kantata OX account."""

    token: Secret
    """Access token of an account administrator. It does not expire and cannot be renewed by us."""
    mapping: KantataMapping
    base_url: str = DEFAULT_BASE_URL
    ca_file: Path | None = None
    concurrency: int = Field(default=5, ge=1, le=POOL_CEILING)
    """Calls at a time. Kantata publishes no numbers; creating projects has a limit of its own."""
    rate_limit_pause: int = Field(default=20, ge=1)
    """Seconds after a 429 without Retry-After ("retry after a small delay")."""
    search_lag_seconds: float = Field(default=5, ge=0)
    """How long a search may miss a record that was just made (not published; a safe guess)."""
    subscribed_events: bool = False
    """The account has bought the add-on: deletions then come from its feed, else by comparing listings."""
    overlap_minutes: int = Field(default=10, ge=1)
    """How far every poll looks back behind its cursor."""
    link_templates: dict[str, str] = {}
    """Record type -> address of its page with ``{id}``; the API's address is used without."""

    @field_validator("base_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    def mapping_digest(self) -> str:
        """Digest of the mapping, for pinning a run; the order in which a table is written plays no part."""
        content = json.dumps(self.mapping.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()
