"""What every canonical model has in common, and how sensitive each field is.

Models travel through workflow histories that outlive a release. They are therefore frozen, new
fields must have defaults, and unknown fields are ignored: a strict old worker would hang on a
newer one's field. Strictness lives at the connectors' edge.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict


class DataClass(StrEnum):
    """How sensitive a value is; decides masking, encryption and retention."""

    PUBLIC = "public"
    INTERNAL = "internal"
    """The default of an unmarked field."""
    PERSONAL = "personal"
    PAY = "pay"
    BANK = "bank"


Personal = Annotated[str, DataClass.PERSONAL]
"""Text about a natural person: a name, an e-mail address, a worker id."""


class Canonical(BaseModel):
    """Base of every canonical model: immutable, tolerant of unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


def data_class_of(model: type[BaseModel], field: str) -> DataClass:
    """The data class of a model's field; ``INTERNAL`` unless the annotation says otherwise."""
    info = model.model_fields[field]
    # ``Personal | None`` keeps its mark inside the union; pydantic lifts only those of the whole field.
    inner = [mark for part in get_args(info.annotation) for mark in getattr(part, "__metadata__", ())]
    marks: list[Any] = [*info.metadata, *inner]
    return next((mark for mark in marks if isinstance(mark, DataClass)), DataClass.INTERNAL)
