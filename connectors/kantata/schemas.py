"""What we read from Kantata: the side-loaded envelope and the records in it.

Ids are strings in answers (integers in requests). ``*_id`` attributes are there only when the matching
association was included, many amounts only for users with financial access: such fields are optional
here and their absence shows up as a difference when a write is read back.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from canonical.failures import Defect


def _id(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_id)]


class Wire(BaseModel):
    """A vendor record: unknown attributes are ignored, wrong types of known ones are not."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id


WireT = TypeVar("WireT", bound=Wire)


class Reference(Wire):
    """An external reference."""

    service_name: str
    service_model: str
    service_model_ref: str
    status: str | None = None
    external_status: str | None = None
    external_message: str | None = None
    subject_type: str | None = None
    subject_id: Id | None = None


class FieldValue(Wire):
    """A custom field's value; ``value`` is text for the text fields that we use."""

    custom_field_id: Id
    value: Any = None


class Group(Wire):
    """A workspace group: the client."""

    name: str
    company: bool | None = None
    workspace_ids: tuple[Id, ...] = ()


class ProjectStatus(BaseModel):
    """A project's status; ``key`` is the account's own id of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: Id | None = None


class Workspace(Wire):
    """A project. ``price_in_cents`` counts units of 1 / ``currency_base_unit`` of the currency."""

    title: str
    archived: bool = False
    currency: str | None = None
    currency_base_unit: int | None = None
    price_in_cents: int | None = None
    stage: str | None = None
    status: ProjectStatus | None = None
    status_key: Id | None = None
    start_date: date | None = None
    due_date: date | None = None
    primary_workspace_group_id: Id | None = None
    time_trackable: bool | None = None
    require_time_approvals: bool = False
    require_expense_approvals: bool = False
    percentage_complete: int | None = None
    updated_at: str | None = None

    @property
    def changed_at(self) -> datetime | None:
        """Its last change, where that is told."""
        return datetime.fromisoformat(self.updated_at) if self.updated_at else None

    @property
    def status_id(self) -> str | None:
        """Id of the status, from whichever of the two attributes the account answers."""
        return self.status_key or (self.status.key if self.status else None)


class Story(Wire):
    """A task, deliverable, milestone or issue."""

    title: str
    story_type: str
    workspace_id: Id | None = None
    due_date: date | None = None
    start_date: date | None = None
    budget_estimate_in_cents: int | None = None
    fixed_fee: bool | None = None
    billable: bool | None = None
    archived: bool = False
    logged_billable_time_in_minutes: int | None = None
    logged_nonbillable_time_in_minutes: int | None = None
    time_estimate_in_minutes: int | None = None
    parent_id: Id | None = None
    state: str | None = None
    percentage_complete: int | None = None
    updated_at: str | None = None

    @property
    def changed_at(self) -> datetime | None:
        """Its last change, where that is told."""
        return datetime.fromisoformat(self.updated_at) if self.updated_at else None


class Resource(Wire):
    """A position of a project; unnamed while ``user_id`` is empty."""

    workspace_id: Id | None = None
    role_id: Id | None = None
    role_name: str | None = None
    label: str | None = None
    user_id: Id | None = None
    resource_bill_rate: Decimal | None = None
    bill_rate: Decimal | None = None
    allocations_count: int | None = None
    deletable: bool | None = None
    pending_resource_request_id: Id | None = None
    updated_at: str | None = None


class Role(Wire):
    """A role of the account."""

    name: str


class TemplateAssignment(Wire):
    """A position that a template brings."""

    name: str


class Template(Wire):
    """A project template; ``raw_json`` holds its task tree."""

    title: str
    currency: str | None = None
    item_count: int | None = None
    raw_json: Any = None
    project_template_assignment_ids: tuple[Id, ...] | None = None


class CustomField(Wire):
    """A custom field's definition."""

    name: str
    value_type: str | None = None


class Line(Wire):
    """What time entries and expenses have in common."""

    notes: str | None = None
    currency_base_unit: int | None = None
    is_invoiced: bool = False
    user_id: Id | None = None
    story_id: Id | None = None
    workspace_id: Id | None = None
    active_submission_id: Id | None = None
    recent_submission_id: Id | None = None
    updated_at: datetime


class Entry(Line):
    """A time entry. ``date_performed`` is a calendar date, minutes are integers."""

    date_performed: date
    time_in_minutes: int
    billable: bool = False
    rate_in_cents: int | None = None
    currency: str | None = None
    approved: bool = False
    role_id: Id | None = None


class Submission(Wire):
    """One user's timesheet of one project and week, or an expense report: where approval lives."""

    status: str
    time_entry_ids: tuple[Id, ...] = ()
    updated_at: datetime
    current_resolution_created_at_date: datetime | None = None

    @property
    def resolved_at(self) -> datetime:
        """When it was approved, rejected or cancelled; its last change where that is not told."""
        return self.current_resolution_created_at_date or self.updated_at


class Expense(Line):
    """An expense; its amount counts units of 1 / ``currency_base_unit``."""

    incurred_on: date = Field(alias="date")
    category: str
    amount_in_cents: int
    currency: str
    is_billable: bool = False
    reimbursable: bool = False


class Event(Wire):
    """A subscribed event: a hint only, late, repeated and out of order at times."""

    event_type: str
    subject_type: str | None = None
    subject_id: Id
    created_at: datetime
    subject_changed_at: datetime | None = None


class InvoiceRow(Wire):
    """An invoice in Kantata: our copy of the ERP's, which also locks its lines."""

    status: str
    draft: bool | None = None
    balance_in_cents: int | None = None
    currency: str | None = None
    updated_at: str | None = None


def parse(model: type[WireT], row: dict[str, Any], system: str) -> WireT:
    """``row`` as ``model``.

    Raises:
        Defect: the vendor answers something else than its reference says.
    """
    try:
        return model.model_validate(row)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Defect(
            f"Kantata's {model.__name__} {row.get('id')} is not as its reference says: {wrong}", system=system
        ) from None
