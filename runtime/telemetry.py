"""Metrics and traces: the SDK's native runtime with its exporters, and the OpenTelemetry client plugin."""

from __future__ import annotations

import importlib
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from temporalio.client import Plugin
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.runtime import (
    LoggingConfig,
    LoggingFormat,
    OpenTelemetryConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from canonical.failures import ConfigurationError
from runtime.sections import LogFormat, LoggingSection, TelemetrySection

_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"


def sdk_runtime(telemetry: TelemetrySection, logging: LoggingSection) -> Runtime:
    """The SDK's native runtime. Make one per process: each has a thread pool of its own.

    Raises:
        ConfigurationError: metrics are asked for in two ways, or their address cannot be used.
    """
    if telemetry.prometheus and telemetry.otlp_metrics:
        raise ConfigurationError(
            ["telemetry: the SDK exports metrics one way only. Remove prometheus or otlp_metrics."]
        )
    metrics: PrometheusConfig | OpenTelemetryConfig | None = None
    if telemetry.prometheus:
        metrics = PrometheusConfig(
            bind_address=telemetry.prometheus,
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
        )
    elif telemetry.otlp_metrics:
        metrics = OpenTelemetryConfig(url=telemetry.otlp_metrics, durations_as_seconds=True)
    config = TelemetryConfig(
        logging=LoggingConfig(
            filter=TelemetryFilter(core_level=logging.core_level, other_level="ERROR"),
            format=LoggingFormat.COMPACT if logging.format is LogFormat.CONSOLE else LoggingFormat.JSON,
        ),
        metrics=metrics,
    )
    try:
        return Runtime(telemetry=config)
    except (RuntimeError, ValueError) as problem:
        raise ConfigurationError(
            [f"telemetry: {problem}. Choose another address, or end the process that uses this one."]
        ) from None


def client_plugins(telemetry: TelemetrySection, service: str) -> list[Plugin]:
    """Plugins for ``runtime.client.connect``; workers inherit them from their client.

    Args:
        telemetry: ``[telemetry]``.
        service: name under which spans appear.

    Raises:
        ConfigurationError: spans shall be exported and the exporter's package is not installed.
    """
    if not telemetry.traces and telemetry.otlp_traces is None:
        return []
    provider = create_tracer_provider(resource=Resource.create({"service.name": service}))
    if telemetry.otlp_traces is not None:
        provider.add_span_processor(BatchSpanProcessor(_exporter(telemetry.otlp_traces)))
    trace.set_tracer_provider(provider)
    return [OpenTelemetryPlugin(add_temporal_spans=True)]


def _exporter(url: str) -> SpanExporter:
    try:
        module: Any = importlib.import_module(_EXPORTER)
    except ImportError:
        raise ConfigurationError(
            [
                "telemetry.otlp_traces: the package opentelemetry-exporter-otlp-proto-grpc is not installed. "
                "Install it, or remove the key."
            ]
        ) from None
    exporter: SpanExporter = module.OTLPSpanExporter(endpoint=url)
    return exporter
