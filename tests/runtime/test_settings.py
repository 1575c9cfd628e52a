from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from canonical.failures import ConfigurationError
from canonical.firm import Firm
from canonical.opportunity import DealClass
from canonical.refs import SystemRole
from runtime.settings import Settings, load
from tests.runtime.examples import VALID, write


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(write(folder, text), environ or {})
    return caught.value.problems


def replaced(old: str, new: str) -> str:
    assert old in VALID
    return VALID.replace(old, new)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(write(tmp_path), {})


def test_the_firm_is_what_the_rules_need(settings: Settings) -> None:
    firm = settings.firm()
    assert isinstance(firm, Firm)
    assert (firm.name, firm.region, firm.regions) == ("Acme Consulting", "emea", ("emea", "amer"))
    entity = firm.entity("DE01")
    assert entity is not None
    assert entity.timezone == "Europe/Berlin"
    assert len(firm.routes) == 2
    assert firm.policies.deal_types == {"New": DealClass.NEW_ENGAGEMENT}


def test_fractions_in_the_file_never_become_binary(settings: Settings) -> None:
    assert settings.services[0].milestones[0].share == Decimal("0.25")
    assert settings.systems["netsuite-emea"].options["tolerance"] == Decimal("0.01")


def test_a_vendors_own_keys_are_kept_as_they_are(settings: Settings) -> None:
    system = settings.systems["sf-main"]
    assert (system.vendor, system.roles) == ("salesforce", (SystemRole.CRM,))
    assert system.options == {"base_url": "https://acme.example", "auth": {"client_id": {"env": "SF_CLIENT"}}}


def test_lookups(settings: Settings) -> None:
    assert settings.systems_with(SystemRole.PSA) == ("kantata-main",)
    assert settings.worker.slots_for("netsuite-emea") == 3
    assert settings.worker.slots_for("sf-main") == settings.worker.system_slots
    assert settings.actor("ada").roles == ("finance", "pmo")
    assert not settings.actor("ada").verified
    assert settings.actor("bob").roles == ()
    assert settings.notify.channel_for("pmo") == "#pmo"
    assert settings.notify.channel_for("billing") == "#ops"


def test_only_the_firm_is_required(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[firm]\nname = "A"\nregion = "emea"\n'), {})
    assert settings.retry.wait_ceiling == 300
    assert settings.regions == ("emea",)
    assert settings.ledger.one_host_only


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "named").mkdir()
    write(tmp_path / "here", VALID.replace("Acme Consulting", "Here"))
    named = write(tmp_path / "named", VALID.replace("Acme Consulting", "Named"))
    monkeypatch.chdir(tmp_path / "here")
    assert load(None, {}).about.name == "Here"
    assert load(None, {"TRUEUP_CONFIG": str(named)}).about.name == "Named"
    assert load(tmp_path / "here" / "trueup.toml", {"TRUEUP_CONFIG": str(named)}).about.name == "Here"


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"nowhere\.toml: there is no such file.*--config.*TRUEUP_CONFIG"
    ):
        load(tmp_path / "nowhere.toml", {})


def test_malformed_toml_names_line_and_column_but_no_value(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, '[firm]\nname = "A"\npassword = hunter2\n')
    assert "trueup.toml, line 3, column 12: not valid TOML" in problem
    assert "near `password`" in problem
    assert "hunter2" not in problem


def test_a_file_that_ends_too_early_names_its_last_line(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "[firm]\nregions = [")
    assert "line 2, column 12" in problem


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trueup.toml"
    file.write_bytes('[firm]\nname = "Müller"\n'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"byte 17 is not UTF-8"):
        load(file, {})


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("[temporal]\naddress", "[temporal]\nadress", ["temporal.adress: unknown key", 'mean "address"']),
        ("[worker]", "[workers]", ["workers: unknown key", 'mean "worker"']),
        ('country = "DE"', 'contry = "DE"', ["entities[1].contry", 'mean "country"']),
        ("share = 0.25", "shar = 0.25", ["services[1].milestones[1].shar: unknown key", 'mean "share"']),
        ('base_currency = "EUR"', 'base_currency = "EUX"', ["entities[1].base_currency", "ISO 4217"]),
        ('"Europe/Berlin"', '"Europe/Berln"', ["entities[1].timezone", 'mean "Europe/Berlin"']),
        ('roles = ["erp"]', 'roles = ["epr"]', ["systems.netsuite-emea.roles[1]", 'mean "erp"']),
        ('roles = ["erp"]', "roles = []", ["systems.netsuite-emea.roles", "at least 1"]),
        ("[systems.sf-main]", "[systems.SF_Main]", ["systems.SF_Main", "lower-case"]),
        ("[systems.sf-main]", "[systems.trueup]", ["systems.trueup", "our own name"]),
        ('vendor = "kantata"', "", ["systems.kantata-main.vendor: is missing"]),
        ('region = "emea"\nregions', 'region = "EMEA"\nregions', ["firm.region: 'EMEA' is not allowed"]),
        ("127.0.0.1:7233", "127.0.0.1", ["temporal.address", "host:port"]),
        ('region = "emea"\nconc', 'region = "emae"\nconc', ["netsuite-emea.region", 'mean "emea"']),
        ("slots = { netsuite-emea", "slots = { netsuite-eme", ["slots.netsuite-eme:", "Known: kantata"]),
        ("netsuite-emea = 3", "netsuite-emea = 0", ["worker.slots.netsuite-emea", "above zero"]),
        ("items = { netsuite", "items = { netsuit", ["services[1].items.netsuit-emea", "netsuite-emea"]),
        ("billing = [", "biling = [", ["policies.repair_roles.biling", 'mean "billing"']),
        ('New = "new_engagement"', 'New = "new_engagment"', ["policies.deal_types.New", "new_engagement"]),
        ('[notify]\nsystem = "kantata', '[notify]\nsystem = "sf', ["notify.system", "notification"]),
        ("[notify]", "[feedback]\nmargin = true\n[notify]", ["feedback.margin: no route names an HR"]),
    ],
)  # fmt: skip
def test_one_mistake_one_problem(tmp_path: Path, old: str, new: str, parts: list[str]) -> None:
    found = problems(tmp_path, replaced(old, new))
    related = [p for p in found if all(part in p for part in parts)]
    assert len(related) == 1, found
    assert related[0].startswith(f"{tmp_path / 'trueup.toml'}: ")
    assert related[0].endswith((".", "?"))


def test_routes_are_checked_when_loading(tmp_path: Path) -> None:
    text = VALID.replace(
        '"DE01"\nregion = "emea"\ncrm = "sf-main"', '"DE02"\nregion = "apac"\ncrm = "sf-mian"', 1
    )
    text += '[[routes]]\ncrm = "sf-main"\nerp = "sf-main"\npsa = "kantata-main"\n'
    text += "effective_from = 2026-02-01\neffective_to = 2026-01-01\n"
    found = "\n".join(problems(tmp_path, text))
    assert (
        found.count("routes[1].legal_entity: 'DE02' is not a configured legal entity. Did you mean \"DE01\"?")
        == 1
    )
    assert "routes[1].region: 'apac' is not a configured region. Known: amer, emea." in found
    assert "routes[1].crm: 'sf-mian' is not a configured system. Did you mean \"sf-main\"?" in found
    assert "routes[3].erp: system 'sf-main' has no role 'erp'" in found
    assert "routes[3].effective_to: 2026-01-01 is before effective_from, 2026-02-01" in found


@pytest.mark.parametrize(
    ("first_to", "second_from", "clash"),
    [
        ("effective_to = 2026-06-30", "effective_from = 2026-07-01", False),
        ("effective_to = 2026-07-01", "effective_from = 2026-07-01", True),
        ("", "effective_from = 2026-07-01", True),
        ("effective_to = 2026-06-30", "", True),
        ("", "", True),
    ],
)
def test_equal_routes_must_not_overlap(tmp_path: Path, first_to: str, second_from: str, clash: bool) -> None:
    text = VALID.replace("effective_to = 2026-06-30", first_to).replace(
        "effective_from = 2026-07-01", second_from
    )
    if not clash:
        assert len(load(write(tmp_path, text), {}).routes) == 2
        return
    [problem] = problems(tmp_path, text)
    assert "routes[2]: has the conditions of an earlier route and overlaps it in time" in problem


def test_a_more_specific_route_may_overlap(tmp_path: Path) -> None:
    text = VALID + '[[routes]]\ncrm = "sf-main"\nerp = "netsuite-emea"\npsa = "kantata-main"\n'
    assert len(load(write(tmp_path, text), {}).routes) == 3


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """Mistakes inside one section do not hide contradictions between others."""
    text = (
        replaced("[temporal]\naddress", "[temporal]\nadress")
        .replace('base_currency = "EUR"', 'base_currency = "EUX"')
        .replace('crm = "sf-main"', 'crm = "sf-mian"')
        .replace('name = "Acme Consulting"', "")
    )
    found = problems(tmp_path, text)
    assert len(found) == 5
    assert [p for p in found if "firm.name: is missing" in p]
    # The entity is invalid, but it is named: the routes that use it are not to blame.
    assert not [p for p in found if "legal entity" in p]
    assert not [p for p in found if "is not a configured region" in p]
    assert len([p for p in found if "sf-mian" in p]) == 2


def test_numbers_of_list_items_are_those_of_the_file(tmp_path: Path) -> None:
    text = VALID.replace('[[routes]]\nlegal_entity = "DE01"', '[[routes]]\nlegal_entty = "DE01"', 1)
    text = text.replace("effective_from = 2026-07-01", 'effective_from = 2026-07-01\nhr = "workday"')
    found = problems(tmp_path, text)
    assert any("routes[1].legal_entty: unknown key" in p for p in found)
    assert any("routes[2].hr: 'workday' is not a configured system" in p for p in found)


def test_sqlite_serves_one_host_only(tmp_path: Path) -> None:
    many = replaced("[worker]", "[worker]\nhosts = 2")
    [problem] = problems(tmp_path, many)
    assert "ledger.url: SQLite serves one host only, and worker.hosts is 2. Use postgresql://" in problem
    postgres = many + '\n[ledger]\nurl = "postgresql://trueup@db/trueup"\n'
    assert load(write(tmp_path, postgres), {}).worker.hosts == 2


def test_a_database_url_with_a_password_can_be_mounted(tmp_path: Path) -> None:
    mounted = tmp_path / "url"
    mounted.write_text("postgresql://trueup:geheim@db/trueup\n")
    settings = load(write(tmp_path, VALID + f'\n[ledger]\nurl_file = "{mounted}"\n'), {})
    assert settings.ledger.location() == "postgresql://trueup:geheim@db/trueup"
    assert not settings.ledger.one_host_only
    assert "geheim" not in repr(settings)
    mounted.write_text("postgresql://trueup:neu@db/trueup\n")
    assert "neu" in settings.ledger.location(), "a rotated secret is read without a restart"


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {
        "TRUEUP__FIRM__NAME": "4711",
        "TRUEUP__WORKER__HOSTS": "1",
        "TRUEUP__WORKER__SLOTS": "{ sf-main = 2 }",
        "TRUEUP__RETRY__FIRST_INTERVAL": "0.05",
        "TRUEUP__LOGGING__LEVEL": "DEBUG",
        "TRUEUP__TELEMETRY__TRACES": "true",
        "TRUEUP__FIRM__REGIONS": '["apac", "amer"]',
        "TRUEUP__SYSTEMS__NETSUITE_EMEA__BASE_URL": "https://ns.example",
        "TRUEUP__ENTITIES__0__NAME": "Acme AG",
        "UNRELATED": "x",
    }
    settings = load(write(tmp_path), environ)
    assert settings.about.name == "4711"
    assert settings.worker.slots == {"sf-main": 2}
    assert settings.retry.first_interval == 0.05
    assert settings.telemetry.traces
    assert settings.regions == ("emea", "apac", "amer")
    assert settings.systems["netsuite-emea"].options["base_url"] == "https://ns.example"
    assert settings.systems["netsuite-emea"].options["concurrency"] == 5
    assert settings.entities[0].name == "Acme AG"


def test_a_problem_names_the_variable_that_made_it(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        VALID,
        {"TRUEUP__WORKER__HOSTS": "two", "TRUEUP__LOGING__LEVEL": "DEBUG", "TRUEUP__FIRM__REGON": "x"},
    )
    assert any(p.startswith("environment variable TRUEUP__WORKER__HOSTS: worker.hosts: ") for p in found)
    assert any("TRUEUP__LOGING__LEVEL: loging: unknown key" in p and 'mean "logging"' in p for p in found)
    assert any("TRUEUP__FIRM__REGON: firm.regon: unknown key" in p for p in found)
    assert len(found) == 3


@pytest.mark.parametrize(
    "variable", ["TRUEUP__", "TRUEUP__FIRM____NAME", "TRUEUP__FIRM__NAME__X", "TRUEUP__ROUTES__9__CRM"]
)
def test_a_variable_that_names_no_key_is_refused(tmp_path: Path, variable: str) -> None:
    [problem] = problems(tmp_path, VALID, {variable: "x"})
    assert problem.startswith(f"environment variable {variable}: does not name a key")


def test_a_variable_with_broken_toml_is_refused(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, VALID, {"TRUEUP__FIRM__REGIONS": "[amer"})
    assert "TRUEUP__FIRM__REGIONS: not a TOML value" in problem


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[retry]\nfirst_interval = 60", "first_interval is longer than longest_interval"),
        ("[retry]\nwait_first = 600", "wait_first is longer than wait_ceiling"),
        ("[retry]\ncall = 300", "call must be shorter than write"),
        ("[retry]\nattempts = 0", "retry.attempts: input should be greater than or equal to 1"),
        ("[retry]\nread = inf", "retry.read"),
        ("[temporal.tls]\nclient_cert = 'a.pem'", "client_cert and client_key belong together"),
    ],
)
def test_values_that_cannot_work_together(tmp_path: Path, text: str, part: str) -> None:
    base = VALID.replace('[temporal]\naddress = "127.0.0.1:7233"\n', "")
    found = problems(tmp_path, f"{base}\n{text}\n")
    assert any(part in p for p in found), found


def test_a_section_of_the_wrong_shape_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    text = 'worker = 3\nsystems = "x"\nroutes = [1]\nentities = {}\n[firm]\nname = "A"\nregion = "emea"\n'
    found = problems(tmp_path, text)
    assert {p.split(": ")[1] for p in found} == {"worker", "systems", "routes[1]", "entities"}


def test_settings_cannot_be_changed(settings: Settings) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.worker.hosts = 3  # type: ignore[misc]


SCHEDULE = """
[[schedules]]
name = "hourly"
run = "post-approved-time"
psa = "kantata-main"
erp = "netsuite-emea"
every_minutes = 60
catch_up_minutes = 90
"""


def test_a_schedule_buffers_one_run_and_says_how_late_it_may_be(tmp_path: Path) -> None:
    (one,) = load(write(tmp_path, VALID + SCHEDULE), {}).schedules
    assert (one.overlap, one.catch_up_minutes, one.cutoff) == ("buffer_one", 90, None)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("every_minutes = 60", "", "give one of cron and every_minutes"),
        (
            "every_minutes = 60",
            'every_minutes = 60\ncron = "5 * * * *"',
            "give one of cron and every_minutes",
        ),
        ("catch_up_minutes = 90", "", "schedules[1].catch_up_minutes: is missing"),
        ("post-approved-time", "time-to-billing", "time-to-billing needs a cutoff"),
        ("post-approved-time", "poll-changes", "poll-changes takes one of erp and crm"),
        ('psa = "kantata-main"', "scan = true", "post-approved-time needs psa and erp"),
        ('psa = "kantata-main"', 'psa = "kantata"', "schedules[1].psa"),
        ('psa = "kantata-main"', 'psa = "sf-main"', "has no role 'psa'"),
        ("catch_up", 'timezone = "Berlin"\ncatch_up', "'Berlin' is not an IANA time zone"),
        ("", SCHEDULE, "'hourly' stands here twice"),
    ],
)
def test_a_schedule_that_cannot_work(tmp_path: Path, old: str, new: str, part: str) -> None:
    text = SCHEDULE.replace(old, new) if old else SCHEDULE + new
    found = problems(tmp_path, VALID + text)
    assert any(part in one for one in found), found
