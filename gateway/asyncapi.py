"""The AsyncAPI description of our own events, made from their models."""

from __future__ import annotations

from typing import Any

from canonical.outgoing import DATA, CloudEvent, OutgoingType
from gateway.described import VERSION

_TITLES = {
    OutgoingType.SAGA_ENDED: "A saga came to its end",
    OutgoingType.SAGA_PARKED: "A saga waits for a person",
    OutgoingType.PROJECT_CLOSED: "A project is closed",
    OutgoingType.PROJECT_REOPENED: "A project is open again",
}


def asyncapi() -> dict[str, Any]:
    """The document (AsyncAPI 3.0)."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for type_, data in DATA.items():
        name = data.__name__
        schemas[name] = _schema(data, schemas)
        messages[name] = {
            "name": type_.value,
            "title": _TITLES[type_],
            "contentType": "application/cloudevents+json",
            "headers": {"$ref": "#/components/schemas/Headers"},
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/CloudEvent"},
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": type_.value},
                            "data": {"$ref": f"#/components/schemas/{name}"},
                        },
                    },
                ]
            },
        }
    envelope = _schema(CloudEvent, schemas)
    envelope["properties"]["data"] = {"type": "object"}
    schemas["CloudEvent"] = envelope
    schemas["Headers"] = _HEADERS
    channel = {"$ref": "#/channels/subscription"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Trueup events",
            "version": VERSION,
            "description": "CloudEvents 1.0 (structured mode) posted to subscribers, signed by Standard "
            "Webhooks. At least once and in no order; recognise repetitions by id.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            "subscription": {
                "address": "{subscription}",
                "title": "A subscriber's https address",
                "parameters": {"subscription": {"description": "The configured `url`."}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"http": {"bindingVersion": "0.3.0"}},
            }
        },
        "operations": {
            "tell": {
                "action": "send",
                "channel": channel,
                "summary": "Tell a subscriber what happened. Answer 2xx within 15 s; 410 ends an event.",
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
                "messages": [{"$ref": f"#/channels/subscription/messages/{name}"} for name in messages],
            }
        },
        "components": {"messages": messages, "schemas": schemas},
    }


_HEADERS = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {"type": "string", "description": "The event's id."},
        "webhook-timestamp": {"type": "string", "description": "Seconds since 1970, of this attempt."},
        "webhook-signature": {
            "type": "string",
            "description": "`v1,` and base64 of HMAC-SHA-256 over `id.timestamp.body`; two of them "
            "while the secret is exchanged.",
        },
    },
}


def _schema(model: Any, shared: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = model.model_json_schema(
        ref_template="#/components/schemas/{model}", mode="serialization"
    )
    for name, part in found.pop("$defs", {}).items():
        shared.setdefault(name, part)
    return found
