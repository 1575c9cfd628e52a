"""The one data converter: worker, command line, gateway, tests and replayer must agree on it."""

from __future__ import annotations

import dataclasses

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)


def data_converter(codec: PayloadCodec | None = None) -> DataConverter:
    """Pydantic models as JSON, amounts as exact strings.

    Args:
        codec: encrypts payloads. Failure messages and stack traces are then encrypted too; without that
            they would stay readable on the server.
    """
    if codec is None:
        return pydantic_data_converter
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
