"""The custom search attributes on the server: typed keys, which are missing, how to create them."""

from __future__ import annotations

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from canonical.failures import ConfigurationError
from canonical.names import SearchAttribute

SAGA_STATUS = SearchAttributeKey.for_keyword(SearchAttribute.SAGA_STATUS.value)
SAGA_STEP = SearchAttributeKey.for_keyword(SearchAttribute.SAGA_STEP.value)
CAUSE_CODE = SearchAttributeKey.for_keyword(SearchAttribute.CAUSE_CODE.value)
EXCEPTION_QUEUE = SearchAttributeKey.for_keyword(SearchAttribute.EXCEPTION_QUEUE.value)
SYSTEM = SearchAttributeKey.for_keyword(SearchAttribute.SYSTEM.value)
BUSINESS_KEY = SearchAttributeKey.for_keyword(SearchAttribute.BUSINESS_KEY.value)
PROJECT_CODE = SearchAttributeKey.for_keyword(SearchAttribute.PROJECT_CODE.value)
REGION = SearchAttributeKey.for_keyword(SearchAttribute.REGION.value)
PARKED_SINCE = SearchAttributeKey.for_datetime(SearchAttribute.PARKED_SINCE.value)

_TYPES: dict[SearchAttribute, IndexedValueType.ValueType] = {
    attribute: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME
    if attribute is SearchAttribute.PARKED_SINCE
    else IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    for attribute in SearchAttribute
}


def dev_flags() -> list[str]:
    """Flags that make a development server create the attributes at start."""
    flags = []
    for attribute, kind in _TYPES.items():
        name = "Datetime" if kind == IndexedValueType.INDEXED_VALUE_TYPE_DATETIME else "Keyword"
        flags += ["--search-attribute", f"{attribute.value}={name}"]
    return flags


async def missing(client: Client) -> list[SearchAttribute]:
    """Attributes that the client's namespace does not have.

    Raises:
        ConfigurationError: one exists with another type, or the server does not let us look.
    """
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as problem:
        raise ConfigurationError(
            [
                f"Temporal did not list the search attributes of {client.namespace}: {problem.message}. "
                "Give these credentials the right to read the namespace."
            ]
        ) from None
    found = answer.custom_attributes
    wrong = [
        f"Search attribute {attribute.value} of namespace {client.namespace} has the type "
        f"{_type_name(found[attribute.value])}, not {_type_name(kind)}. Remove it (temporal operator "
        f"search-attribute remove -n {client.namespace} --name {attribute.value}), then create it."
        for attribute, kind in _TYPES.items()
        if found.get(attribute.value, kind) != kind
    ]
    if wrong:
        raise ConfigurationError(wrong)
    return [attribute for attribute in _TYPES if attribute.value not in found]


async def create(client: Client) -> list[SearchAttribute]:
    """Create those that are missing; harmless when another process does so at the same moment.

    Returns:
        What was missing.

    Raises:
        ConfigurationError: the server refuses, with the commands that an administrator can run.
    """
    absent = await missing(client)
    if not absent:
        return []
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace, search_attributes={a.value: _TYPES[a] for a in absent}
            )
        )
    except RPCError as problem:
        if problem.status is not RPCStatusCode.ALREADY_EXISTS:
            raise ConfigurationError(
                [f"Temporal refused: {problem.message}. {_remedy(client, absent)}"]
            ) from None
    return absent


async def require(client: Client) -> None:
    """Refuse to go on without them: an upsert of an unknown attribute would hang every saga.

    Raises:
        ConfigurationError: names what is missing and the commands that create it.
    """
    if absent := await missing(client):
        names = ", ".join(attribute.value for attribute in absent)
        raise ConfigurationError(
            [f"Namespace {client.namespace} lacks the search attributes {names}. {_remedy(client, absent)}"]
        )


def _remedy(client: Client, absent: list[SearchAttribute]) -> str:
    flags = " ".join(f"--name {a.value} --type {_type_name(_TYPES[a])}" for a in absent)
    return f"Run: temporal operator search-attribute create -n {client.namespace} {flags}"


def _type_name(kind: IndexedValueType.ValueType) -> str:
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").capitalize()
