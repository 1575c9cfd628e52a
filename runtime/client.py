"""Every Temporal client is built here, so that all agree on server, credentials and data converter.

Strongest first: ``[temporal]`` in ``trueup.toml``, ``TEMPORAL_*`` in the environment, the profile in
Temporal's own configuration file (shared with its command line), ``localhost:7233`` and ``default``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Plugin
from temporalio.converter import PayloadCodec
from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from canonical.failures import ConfigurationError
from runtime.converter import data_converter
from runtime.sections import TemporalSection, TlsSection

DEFAULT_ADDRESS = "localhost:7233"
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Target:
    """Where a client connects, and with what; never printed with the key."""

    address: str
    namespace: str
    profile: ClientConfigProfile

    def describe(self) -> str:
        """Server and namespace, for messages."""
        return f"{self.address} (namespace {self.namespace})"


def target(section: TemporalSection, environ: Mapping[str, str] | None = None) -> Target:
    """Which server the settings, the environment and the profile name together.

    Raises:
        ConfigurationError: the profile or a file it names cannot be read.
    """
    file = section.config_file
    if file is not None and not file.is_file():
        raise ConfigurationError(
            [f"temporal.config_file: {file}: there is no such file. Correct the path or remove the key."]
        )
    try:
        profile = ClientConfigProfile.load(
            section.profile,
            config_source=file,
            override_env_vars=dict(os.environ if environ is None else environ),
        )
    except (RuntimeError, ValueError) as problem:
        source = f"Temporal's configuration {file or '(standard place or TEMPORAL_CONFIG_FILE)'}"
        raise ConfigurationError(
            [f"{source}: {problem}. Correct it, or the profile named in [temporal] or TEMPORAL_PROFILE."]
        ) from None
    if section.api_key_file is not None:
        profile = replace(profile, api_key=_secret(section.api_key_file))
    if section.tls is not None:
        profile = replace(profile, tls=_tls(section.tls))
    return Target(
        address=section.address or profile.address or DEFAULT_ADDRESS,
        namespace=section.namespace or profile.namespace or DEFAULT_NAMESPACE,
        profile=profile,
    )


async def connect(
    section: TemporalSection,
    *,
    plugins: Sequence[Plugin] = (),
    codec: PayloadCodec | None = None,
    runtime: Runtime | None = None,
    process: str = "trueup",
) -> Client:
    """A connected client for the namespace, which is known to exist.

    Args:
        section: ``[temporal]``.
        plugins: see ``runtime.telemetry.client_plugins``.
        codec: encrypts payloads.
        runtime: the SDK's native runtime; its process-wide default when empty.
        process: first part of the client's identity, which Temporal shows beside what it did.

    Raises:
        ConfigurationError: no server answers there, it refuses us, or it has no such namespace.
    """
    where = target(section)
    try:
        options = where.profile.to_client_connect_config()
    except OSError as problem:
        raise ConfigurationError(
            [
                f"temporal.tls: {problem.filename}: {problem.strerror}. Provide the file, or correct its "
                "path in [temporal.tls], TEMPORAL_TLS_* or the profile."
            ]
        ) from None
    try:
        client = await Client.connect(
            where.address,
            namespace=where.namespace,
            api_key=options.get("api_key"),
            tls=options.get("tls"),
            rpc_metadata=options.get("rpc_metadata", {}),
            data_converter=data_converter(codec),
            plugins=list(plugins),
            runtime=runtime,
            identity=f"{process}@{socket.gethostname()}:{os.getpid()}",
            connect_timeout=timedelta(seconds=section.connect_seconds),
        )
    except (RuntimeError, ValueError) as problem:
        raise _unreachable(where, str(problem)) from None
    await _require_namespace(client, where)
    return client


async def _require_namespace(client: Client, where: Target) -> None:
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=where.namespace), timeout=timedelta(seconds=10)
        )
    except RPCError as problem:
        if problem.status is RPCStatusCode.NOT_FOUND:
            raise ConfigurationError(
                [
                    f"The Temporal server at {where.address} has no namespace {where.namespace!r}. Create it "
                    f"(temporal operator namespace create -n {where.namespace}) or name another."
                ]
            ) from None
        # Some credentials may use a namespace without being allowed to describe it.
        if problem.status is not RPCStatusCode.PERMISSION_DENIED:
            raise _unreachable(where, problem.message) from None


def _unreachable(where: Target, reason: str) -> ConfigurationError:
    return ConfigurationError(
        [
            f"No Temporal server could be used at {where.describe()}: {reason[:300]}. Start one with "
            "`trueup dev`, or correct temporal.address in trueup.toml, TEMPORAL_ADDRESS or the profile."
        ]
    )


def _tls(section: TlsSection) -> ClientConfigTLS:
    return ClientConfigTLS(
        disabled=section.disabled,
        server_name=section.server_name,
        server_root_ca_cert=section.server_ca_cert,
        client_cert=section.client_cert,
        client_private_key=section.client_key,
    )


def _secret(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as problem:
        raise ConfigurationError(
            [f"temporal.api_key_file: {file}: {problem.strerror}. Provide the file or correct the path."]
        ) from None
