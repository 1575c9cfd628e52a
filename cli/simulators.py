"""The simulated vendors: served in this process for demo and dev, or on their own for a test bench."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli.local import deals, vendors
from runtime.lifecycle import exit_now, stop_on_signals
from simulators import kantata, netsuite, salesforce
from simulators.kit import Running, serve


@dataclass
class Vendors:
    """The three simulators, running, with their control API."""

    salesforce: Running
    netsuite: Running
    kantata: Running

    def __iter__(self) -> Any:
        return iter((self.salesforce, self.netsuite, self.kantata))

    def stop(self) -> None:
        """Stop all of them."""
        for running in self:
            running.stop()


def control(base_url: str, method: str, call: str, body: Any = None) -> Any:
    """One call of a simulator's control API.

    Raises:
        RuntimeError: the simulator refused it; the message is its answer.
    """
    # On loopback there is nothing to verify, and building a context costs 20 ms a call.
    answer = httpx.request(
        method, f"{base_url}/_sim/{call}", json=body, timeout=30, trust_env=False, verify=False
    )
    if answer.status_code >= 300:
        raise RuntimeError(f"{method} {call}: {answer.status_code} {answer.text}")
    return answer.json() if answer.content else None


def start(folder: Path, ports: tuple[int, int, int] = (0, 0, 0)) -> Vendors:
    """Serve the three vendors with the simulated firm's accounts; keys go to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Vendors(
        serve(salesforce.build(), port=ports[0]),
        serve(netsuite.build(), port=ports[1]),
        serve(kantata.build(), port=ports[2]),
    )
    certificate = signing_key(folder / "netsuite.key")
    set_up(running.salesforce.base_url, running.netsuite.base_url, running.kantata.base_url, certificate)
    (folder / "hr.csv").write_text(vendors.HR_EXPORT)
    return running


def set_up(salesforce_url: str, netsuite_url: str, kantata_url: str, certificate: str) -> None:
    """Give the three accounts what their administrators set up before Trueup comes."""
    control(salesforce_url, "POST", "settings", vendors.SALESFORCE_SETTINGS)
    control(salesforce_url, "POST", "schema", vendors.SALESFORCE_SCHEMA)
    control(salesforce_url, "POST", "seed", deals.catalogue())
    control(
        netsuite_url,
        "POST",
        "settings",
        {**vendors.NETSUITE_SETTINGS, "certificates": {"cert-1": certificate}},
    )
    control(netsuite_url, "POST", "schema", vendors.NETSUITE_SCHEMA)
    control(netsuite_url, "POST", "seed", vendors.NETSUITE_SEED)
    control(kantata_url, "POST", "schema", vendors.KANTATA_SCHEMA)
    control(kantata_url, "POST", "seed", vendors.KANTATA_SEED)


def signing_key(file: Path) -> str:
    """A fresh key pair: the private half into ``file``, the public half for the vendor."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.touch(mode=0o600, exist_ok=True)
    file.write_bytes(private)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode()


def simulators(
    folder: Annotated[Path, typer.Option(help="Keys and the HR export go here.")] = Path(
        ".trueup/simulators"
    ),
    first_port: Annotated[
        int, typer.Option(help="Salesforce; NetSuite and Kantata take the next two.")
    ] = 8701,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object once all are up.")] = False,
) -> None:
    """Serve the simulated vendors alone until Ctrl-C."""
    try:
        vendors_running = start(folder, (first_port, first_port + 1, first_port + 2))
    except OSError as problem:
        print(f"Port {first_port} or one of the next two is taken: {problem}. Choose another --first-port.")
        exit_now(2)
    if as_json:
        places = {running.simulator.name: running.base_url for running in vendors_running}
        print(json.dumps({"message": "up", "exit_code": 0, "vendors": places}), flush=True)
    else:
        print("Three simulated vendors are up; Ctrl-C ends them.")
        for running in vendors_running:
            print(f"  {running.simulator.name}: {running.base_url} (control API under /_sim/)", flush=True)
    asyncio.run(_until_stopped())
    vendors_running.stop()
    exit_now(0)


async def _until_stopped() -> None:
    async with stop_on_signals() as stop:
        await stop.wait()
