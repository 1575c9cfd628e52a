"""As much JSON Schema as the stored OpenAPI document uses: types, properties, required, items, references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, Decimal, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_KNOWN = {
    "$ref", "allOf", "contentEncoding", "contentMediaType", "description", "enum", "const", "example",
    "examples", "format", "items", "oneOf", "properties", "required", "title", "type",
}  # fmt: skip


def problems(
    value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], examples: Mapping[str, set[str]]
) -> Iterator[str]:
    """Where ``value`` breaks ``schema``.

    Args:
        value: decoded JSON.
        schema: what it should be.
        schemas: the document's named schemas.
        examples: by schema, properties that are an example's and not the vendor's.

    Raises:
        ValueError: the schema says something that this checker does not know.
    """
    yield from _check(value, schema, schemas, examples, "body")


def _check(
    value: Any,
    schema: Mapping[str, Any],
    schemas: Mapping[str, Any],
    examples: Mapping[str, set[str]],
    at: str,
) -> Iterator[str]:
    unknown = {name for name in schema if not name.startswith("x-")} - _KNOWN
    if unknown:
        raise ValueError(f"{at}: keywords {sorted(unknown)} are not checked here")
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from _check(value, schemas[name], schemas, examples, at)
    for part in schema.get("allOf", ()):
        yield from _check(value, part, schemas, examples, at)
    choices = schema.get("oneOf", ())
    if choices and all(any(_check(value, part, schemas, examples, at)) for part in choices):
        yield f"{at} is none of {len(choices)} forms"
    types = schema.get("type")
    names = [types] if isinstance(types, str) else list(types or ())
    if names and not any(_is(value, name) for name in names):
        yield f"{at} is {type(value).__name__}, not {' or '.join(names)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{at} is not {schema['const']!r}"
    skipped = examples.get(str(schema.get("title")), set())
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value and name not in skipped:
                yield f"{at}.{name} is missing"
        for name, part in schema.get("properties", {}).items():
            if name in value and name not in skipped:
                yield from _check(value[name], part, schemas, examples, f"{at}.{name}")
    items = schema.get("items")
    # Of an array whose only example is empty, the harvest guessed what is in it.
    guessed = schema.get("example") == [] and items is not None and "$ref" not in items
    if isinstance(value, list) and items is not None and not guessed:
        for item in value:
            yield from _check(item, items, schemas, examples, f"{at}[]")


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
