"""The sections of ``trueup.toml`` that say how processes run: Temporal, ledger, workers, times, logs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from canonical.refs import SystemRole

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Names of regions and system instances are parts of workflow ids, queues and keys: no separators."""


class Section(BaseModel):
    """Base of every section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FirmSection(Section):
    """``[firm]``: who we are, and the region this deployment serves."""

    name: str = Field(min_length=1)
    region: str = Field(pattern=NAME_PATTERN)
    regions: tuple[str, ...] = ()
    """Further delivery regions; the deployment's own always counts."""


class TlsSection(Section):
    """``[temporal.tls]``: files of a mutual-TLS connection, PEM."""

    disabled: bool = False
    server_name: str | None = None
    server_ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    @model_validator(mode="after")
    def _certificate_with_key(self) -> TlsSection:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key belong together; give both or none")
        return self


class TemporalSection(Section):
    """``[temporal]``: which server. What stands here wins over the profile and ``TEMPORAL_*``.

    An API key is never written here: it comes from ``TEMPORAL_API_KEY``, the profile or ``api_key_file``.
    """

    profile: str | None = None
    """Profile of Temporal's own configuration file, shared with its command line."""
    config_file: Path | None = None
    """That file, where it is not in its standard place."""
    address: str | None = Field(default=None, pattern=r"^[^\s/]+:\d{1,5}$")
    """``host:port``."""
    namespace: str | None = Field(default=None, min_length=1)
    api_key_file: Path | None = None
    tls: TlsSection | None = None
    connect_seconds: float = Field(default=10, gt=0)
    ui_url: str | None = None
    """Where people open the Web UI; links in messages start with it."""


class LedgerSection(Section):
    """``[ledger]``: the database that says whether we may send. One of ``url``, ``url_file``."""

    url: str = Field(default="sqlite:///.trueup/ledger.db", min_length=1, repr=False)
    url_file: Path | None = None
    """A mounted file that holds the URL, because a URL may contain a password."""
    look_always: bool = False
    """After the ledger was restored from a backup: look before every write of an unfinished saga."""
    personal_key_file: Path | None = None
    """Key that encrypts personal values of the audit trail; without it none are kept."""

    @property
    def one_host_only(self) -> bool:
        """Whether the database is a file, so that all processes must share one host."""
        return self.url_file is None and self.url.startswith("sqlite")

    def location(self) -> str:
        """The URL to open, read afresh from ``url_file`` where that is given.

        Raises:
            OSError: ``url_file`` cannot be read.
        """
        return self.url_file.read_text().strip() if self.url_file else self.url


class WorkerSection(Section):
    """``[worker]``: how much work one process takes, and how it stops."""

    hosts: int = Field(default=1, ge=1)
    """Machines on which processes of this deployment run; more than one needs PostgreSQL."""
    replicas: int = Field(default=1, ge=1)
    """Worker processes in all. Slots times replicas stay within a vendor's concurrency."""
    workflow_slots: int = Field(default=40, ge=2)
    ledger_slots: int = Field(default=20, ge=1)
    event_slots: int = Field(default=10, ge=1)
    """Events of our own that one process sends at a time."""
    system_slots: int = Field(default=4, ge=1)
    """Calls in flight per connected system and process, where ``slots`` says nothing else."""
    slots: dict[str, int] = {}
    """The same for one system instance: at most its vendor's concurrency divided by ``replicas``."""
    calls_per_second: dict[str, float] = {}
    """Rate limit of a system instance's task queue, over all processes. Set below the vendor's own."""
    cached_workflows: int = Field(default=1000, ge=0)
    graceful_shutdown_seconds: float = Field(default=60, gt=0)
    """How long a stopping worker lets calls finish; more than the longest single vendor call."""
    deployment: str = "trueup"
    build_id: str | None = None
    """Turns worker versioning on: runs stay on the code they started with."""
    ready_file: Path | None = None
    """Exists while the worker takes work."""
    live_file: Path | None = None
    """Touched while the process is well; its age is the liveness check."""

    def slots_for(self, system: str) -> int:
        """Calls in flight of one process to one system instance."""
        return self.slots.get(system, self.system_slots)


class RetrySection(Section):
    """``[retry]``: time limits in seconds; a run keeps the ones it was started with.

    The names are those of the sagas' own ``Timings``, which is built from here.
    """

    attempts: int = Field(default=5, ge=1, le=100)
    """The server's retries of one call before the saga itself waits."""
    first_interval: float = Field(default=1, gt=0)
    longest_interval: float = Field(default=30, gt=0)
    call: float = Field(default=35, gt=0)
    """One vendor call."""
    read: float = Field(default=120, gt=0)
    """One reading step."""
    write: float = Field(default=300, gt=0)
    """One writing or undoing step with its looks and read-backs."""
    long: float = Field(default=900, gt=0)
    """A step that polls a vendor's own work."""
    heartbeat: float = Field(default=15, gt=0)
    """What a dead worker costs before the next attempt starts."""
    wait_ceiling: float = Field(default=300, gt=0)
    """Longest pause between tries while a system is away."""
    wait_first: float = Field(default=5, gt=0)
    gate_reminder: float = Field(default=86_400, gt=0)
    renew_after: float = Field(default=604_800, gt=0)
    """A parked saga moves to current code after this long."""
    settle_poll: float = Field(default=0.5, gt=0)

    @model_validator(mode="after")
    def _one_call_fits(self) -> RetrySection:
        if self.first_interval > self.longest_interval:
            raise ValueError("first_interval is longer than longest_interval")
        if self.wait_first > self.wait_ceiling:
            raise ValueError("wait_first is longer than wait_ceiling")
        if self.call >= self.write:
            raise ValueError("call must be shorter than write, or a single slow answer times the step out")
        return self


class BillingSection(Section):
    """``[billing]``: how posting and billing cut their work; a run keeps what it was started with.

    The names are those of the runs' own ``Pace``, which is built from here.
    """

    piece_lines: int = Field(default=5_000, ge=1, le=50_000)
    """Lines of one piece: some twenty events of history, and what a killed worker looks at again."""
    pieces_at_once: int = Field(default=3, ge=1, le=16)
    """One piece's last batches run beside the next one's first, so that no call slot of the ERP is idle."""
    batches_at_once: int = Field(default=12, ge=1, le=64)
    """Batches in flight of one piece; the connector's own limit decides how many calls that are."""
    approval_seconds: float = Field(default=3, gt=0, le=5)
    """How old the reading of an approval may be when its batch goes out."""
    job_poll: float = Field(default=0.3, gt=0)
    """Pause before the first look at an accepted batch; later looks wait longer."""
    pieces_per_run: int = Field(default=200, ge=1)
    """After so many pieces a run continues as new."""


class FeedbackSection(Section):
    """``[feedback]``: how closely invoices are followed; a run keeps what it was started with.

    The names are those of the runs' own ``FeedbackPace``, which is built from here.
    """

    gather_seconds: float = Field(default=1, ge=0, le=60)
    """Pause after an event, so that a burst is one reading and one write per target."""
    rounds_per_run: int = Field(default=50, ge=1)
    """After so many readings a run continues as new."""
    absent_seconds: float = Field(default=20, ge=0)
    """Pause before the second and third look for a record of which an event told."""
    page: int = Field(default=500, ge=1, le=1_000)
    """Changes of one page of a poll."""
    first_days: int = Field(default=35, ge=1)
    """How far back the very first poll of a feed reads."""
    scan_days: int = Field(default=400, ge=1)
    """How far back a scan looks for invoices that nobody ever told of."""
    margin: bool = False
    """Tell margin where a record has room for it (rule 42): HR is asked for cost rates then. Holds at once,
    for runs under way too."""


class ScheduleSection(Section):
    """``[[schedules]]``: a run that begins by the clock, once ``trueup schedules apply`` was called."""

    name: str = Field(pattern=NAME_PATTERN)
    run: Literal["post-approved-time", "time-to-billing", "poll-changes", "revenue-follow-up"]
    psa: str = ""
    """Delivery system of the route; polls have none."""
    erp: str = ""
    """ERP of the route, or the one that a poll asks."""
    crm: str = ""
    """Of polls: the CRM that is asked for won deals, instead of an ERP."""
    entity: str = ""
    """Of revenue follow-up: the legal entity. Its period is the month of the cutoff."""
    scan: bool = False
    """Of polls: compare everything instead of reading on, once a day for example."""
    cron: str | None = None
    """When it is due: minute, hour, day of month, month, day of week. This or ``every_minutes``."""
    every_minutes: int | None = Field(default=None, ge=1)
    timezone: str = "UTC"
    """Whose clock ``cron`` and ``cutoff`` mean."""
    cutoff: Literal["today", "yesterday", "last_month"] | None = None
    """Last work date of a run: ``last_month`` is the last day of the month before. Posting may do without."""
    overlap: Literal["buffer_one", "buffer_all", "skip"] = "buffer_one"
    """What happens when it is due while its last run is still under way: one waits, all wait, or it is left
    out. A run of time-to-billing is under way until the last of its reviews is decided."""
    catch_up_minutes: int = Field(ge=1)
    """How late a run may still begin after the server was away; a later one is left out, and counted. The
    next run does its work, so this need not be long."""

    @model_validator(mode="after")
    def _complete(self) -> ScheduleSection:
        if (self.cron is None) == (self.every_minutes is None):
            raise ValueError("give one of cron and every_minutes")
        if self.run == "poll-changes":
            if bool(self.erp) == bool(self.crm) or self.psa or self.cutoff:
                raise ValueError("poll-changes takes one of erp and crm, and no psa and no cutoff")
        elif not (self.psa and self.erp) or self.crm or self.scan:
            raise ValueError(f"{self.run} needs psa and erp, and takes no crm and no scan")
        if self.run in ("time-to-billing", "revenue-follow-up") and self.cutoff is None:
            raise ValueError(f"{self.run} needs a cutoff: today, yesterday or last_month")
        if bool(self.entity) != (self.run == "revenue-follow-up"):
            raise ValueError("revenue-follow-up needs an entity, and nothing else takes one")
        return self


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """For people on a terminal, JSON elsewhere."""
    JSON = "json"
    CONSOLE = "console"


Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class LoggingSection(Section):
    """``[logging]``: what is logged, and how."""

    level: Level = "INFO"
    format: LogFormat = LogFormat.AUTO
    file: Path | None = None
    """Instead of standard error."""
    sdk_level: Level = "WARNING"
    """The Temporal SDK's own messages; what workflows and activities log follows ``level``."""
    core_level: Literal["ERROR", "WARN", "INFO", "DEBUG"] = "ERROR"
    """The SDK's native core prints whole failures at WARN, kilobytes each."""


class TelemetrySection(Section):
    """``[telemetry]``: metrics and traces, both off unless asked for."""

    prometheus: str | None = Field(default=None, pattern=r"^\S*:\d{1,5}$")
    """``host:port`` to serve metrics on."""
    otlp_metrics: str | None = None
    """URL of an OpenTelemetry collector that receives the SDK's metrics by gRPC."""
    traces: bool = False
    otlp_traces: str | None = None
    """URL of a collector that receives spans; needs an OTLP exporter package."""


class SystemSection(Section):
    """``[systems.<instance>]``: one connected system.

    Keys that are not listed here belong to the vendor and are kept, unread, in ``options``.
    """

    vendor: str = Field(pattern=NAME_PATTERN)
    roles: tuple[SystemRole, ...] = Field(min_length=1)
    region: str | None = None
    """Only this region uses it; every one when empty."""
    options: dict[str, Any] = Field(default={}, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _keep_the_vendors_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ours = cls.model_fields.keys() - {"options"}
        return {key: item for key, item in value.items() if key in ours} | {
            "options": {key: item for key, item in value.items() if key not in ours}
        }


class NotifySection(Section):
    """``[notify]``: where messages for people go."""

    system: str | None = None
    """Instance with the notification role; nobody is told anything without one."""
    default_channel: str | None = None
    channels: dict[str, str] = {}
    """Channel or mailbox by purpose: ``pmo``, or the name of an exception queue."""

    def channel_for(self, purpose: str) -> str | None:
        """Where messages of that purpose go."""
        return self.channels.get(purpose, self.default_channel)
