"""The simulated firm's ``trueup.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.local.vendors import (
    KANTATA_ACCEPTANCE,
    KANTATA_ACCEPTED_BY,
    KANTATA_ACCEPTED_ON,
    KANTATA_CODE_FIELD,
    KANTATA_MARK_FIELD,
)

FIGURES = """\
invoiced = "Invoiced__c"
invoiced_net = "Invoiced_Net__c"
paid = "Paid__c"
credited = "Credited__c"
withheld = "Withheld__c"
written_off = "Written_Off__c"
refunded = "Refunded__c"
balance = "Invoice_Balance__c"
overdue = "Overdue__c"
recognised_revenue = "Recognised_Revenue__c"
budget_consumed = "Budget_Consumed__c"
budget_used_percent = "Budget_Used__c"
open_invoices = "Open_Invoices__c"
collection_status = "Collection_Status__c"
invoice_number = "Last_Invoice__c"
invoice_status = "Last_Invoice_Status__c"
invoice_due = "Invoice_Due__c"
"""
"""What both an opportunity and an account show of their invoices."""

TEMPLATE = """\
# Northgate Consulting: a simulated firm on this machine.

[firm]
name = "Northgate Consulting"
region = "emea"
regions = ["emea", "uki", "apac"]

[temporal]
address = "{temporal}"
namespace = "{namespace}"
{ui_url}

[ledger]
url = "{ledger}"
personal_key_file = "{folder}/personal.key"

[worker]
graceful_shutdown_seconds = 10
[worker.slots]
netsuite-emea = 5
kantata-main = 5
sf-main = 16

[retry]
{retry}

[logging]
level = "WARNING"

[actors]
{actors}

[systems.sf-main]
vendor = "salesforce"
roles = ["crm"]
base_url = "{salesforce}"
record_url = "{salesforce}/{{id}}"
[systems.sf-main.auth]
kind = "client_credentials"
client_id = {{ env = "TRUEUP_SALESFORCE_ID" }}
client_secret = {{ env = "TRUEUP_SALESFORCE_SECRET" }}
[systems.sf-main.mapping.account]
erp_system = "netsuite-emea"
[systems.sf-main.mapping.opportunity_figures]
{figures}[systems.sf-main.mapping.account_figures]
{figures}current = "Not_Due__c"
days_1_30 = "Days_1_30__c"
days_31_60 = "Days_31_60__c"
days_61_90 = "Days_61_90__c"
days_over_90 = "Days_Over_90__c"
margin = "Margin__c"
margin_percent = "Margin_Percent__c"
[systems.sf-main.mapping.opportunity_scope]
value = "Contract_Value__c"
versions = "Contract_Versions__c"
lines = "Contract_Scope__c"
status = "Contract_Change_Status__c"

[systems.netsuite-emea]
vendor = "netsuite"
roles = ["erp"]
base_url = "{netsuite}"
concurrency = 5
search_lag_seconds = {lag}
[systems.netsuite-emea.auth]
kind = "oauth_m2m"
client_id = "sim-client"
certificate_id = "cert-1"
algorithm = "ES256"
private_key = {{ file = "{netsuite_key}" }}
[systems.netsuite-emea.mapping]
subsidiaries = {{ NL01 = "3", UK01 = "5", JP01 = "7" }}
currencies = {{ EUR = "1", GBP = "2", JPY = "3", KWD = "4" }}
payment_terms = {{ "Net 30" = "2", "Net 45" = "3" }}
[systems.netsuite-emea.mapping.custom]
client_saga = "custentity_trueup_saga"
project_saga = "custentity_trueup_job_saga"
order_saga = "custbody_trueup_saga"
line_billing_method = "custcol_trueup_method"
line_key = "custcol_trueup_key"
order_change = "custbody_trueup_change"
order_treatment = "custbody_trueup_treatment"
time_source = "custcol_trueup_source"
time_work_date = "custcol_trueup_worked"
time_reverses = "custcol_trueup_reverses"
expense_source = "custbody_trueup_source"
[systems.netsuite-emea.mapping.feedback]
disputed_field = "custbody_disputed"
withholding_items = ["38"]
write_off_items = ["39"]
[systems.netsuite-emea.mapping.progress]
period = "custentity_trueup_period"
minutes_to_date = "custentity_trueup_minutes"
minutes_in_period = "custentity_trueup_minutes_in"
minutes_to_complete = "custentity_trueup_minutes_left"
milestones_reached = "custentity_trueup_milestones"
accepted_amount = "custentity_trueup_accepted"
percent = "custentity_trueup_percent"
accepted_on = "custentity_trueup_accepted_on"
[systems.netsuite-emea.mapping.billing]
invoice_approval = true
negative_time = true
intercompany_time = true

[systems.kantata-main]
vendor = "kantata"
roles = ["psa"]
base_url = "{kantata}"
search_lag_seconds = {lag}
token = {{ env = "TRUEUP_KANTATA_TOKEN" }}
[systems.kantata-main.mapping]
project_code_field = {code_field}
saga_mark_field = {mark_field}
status_keys = {{ prepared = "305", active = "310", closed = "340", completed = "330" }}
acceptance = {{ date = {accepted_on}, by = {accepted_by}, document = {acceptance} }}
task_estimates = true
[systems.kantata-main.mapping.role_titles]
solution-architect = "Solution Architect"
consultant = "Consultant"
project-manager = "Project Manager"

[systems.hr-export]
vendor = "hr_file"
roles = ["hr"]
path = "{hr_file}"

{notify}

[[entities]]
code = "NL01"
name = "Northgate Consulting B.V."
country = "NL"
base_currency = "EUR"
timezone = "Europe/Amsterdam"

[[entities]]
code = "UK01"
name = "Northgate Consulting Ltd"
country = "GB"
base_currency = "GBP"
timezone = "Europe/London"

[[entities]]
code = "JP01"
name = "Northgate Consulting K.K."
country = "JP"
base_currency = "JPY"
timezone = "Asia/Tokyo"

[[services]]
code = "IMPL"
name = "Implementation"
template = "Implementation"
billing_method = "milestone"
revenue_method = "over_time_output"
acceptance_required = true
items = {{ netsuite-emea = "31" }}
roles = [
  {{ role = "solution-architect" }},
  {{ role = "consultant", count = 2 }},
  {{ role = "project-manager" }},
]
milestones = [
  {{ title = "Blueprint accepted", share = "0.3", after_percent_of_duration = 30 }},
  {{ title = "Acceptance test passed", share = "0.5", after_percent_of_duration = 80 }},
  {{ title = "Hand-over", share = "0.2", after_percent_of_duration = 100 }},
]

[[services]]
code = "ADV"
name = "Advisory"
template = "Advisory"
billing_method = "time_and_materials"
revenue_method = "as_invoiced"
items = {{ netsuite-emea = "32" }}
roles = [{{ role = "consultant" }}]

[[services]]
code = "RUN"
name = "Managed service"
template = "Managed service"
billing_method = "fixed_schedule"
revenue_method = "straight_line"
items = {{ netsuite-emea = "33" }}
roles = [{{ role = "consultant" }}]

[[services]]
code = "LIC"
name = "Software licence"
delivers = false

[[routes]]
crm = "sf-main"
erp = "netsuite-emea"
psa = "kantata-main"
hr = "hr-export"

[policies]
deal_types = {{ "New Business" = "new_engagement", "Amendment" = "amendment", "Renewal" = "renewal" }}
approved_words = ["Approved"]
default_payment_terms = "Net 30"
name_similarity = 86
queue_owners = {{ master-data = "Finance master data", delivery = "PMO", sales = "Sales operations", \
billing = "Billing", infrastructure = "Integration" }}

[policies.billing]
collect_from = 2026-01-01

[policies.billing.codes.netsuite-emea.expense_categories]
Travel = "4"

[policies.billing.draft_review]
roles = ["billing-manager"]
above = "1000"

[policies.billing.credit_approval]
roles = ["billing-manager"]

[policies.change_orders.review]
roles = ["billing-manager"]

[policies.project_close]
roles = ["billing-manager"]

[policies.credit_review]
roles = ["credit-manager"]
hours = 8
above = "250000"

[policies.sow_gate]
roles = ["pmo-lead"]

[policies.client_choice]
roles = ["master-data"]

[[policies.standard_rates]]
code = "standard"
version = "2026"
currency = "EUR"
lines = [
  {{ role = "solution-architect", amount = "195", currency = "EUR", effective_from = 2026-01-01 }},
  {{ role = "consultant", amount = "150", currency = "EUR", effective_from = 2026-01-01 }},
  {{ role = "project-manager", amount = "165", currency = "EUR", effective_from = 2026-01-01 }},
]

[[policies.standard_rates]]
code = "standard"
version = "2026"
currency = "GBP"
lines = [
  {{ role = "solution-architect", amount = "170", currency = "GBP", effective_from = 2026-01-01 }},
  {{ role = "consultant", amount = "130", currency = "GBP", effective_from = 2026-01-01 }},
  {{ role = "project-manager", amount = "145", currency = "GBP", effective_from = 2026-01-01 }},
]

[[policies.standard_rates]]
code = "standard"
version = "2026"
currency = "JPY"
lines = [
  {{ role = "solution-architect", amount = "31000", currency = "JPY", effective_from = 2026-01-01 }},
  {{ role = "consultant", amount = "24000", currency = "JPY", effective_from = 2026-01-01 }},
  {{ role = "project-manager", amount = "27000", currency = "JPY", effective_from = 2026-01-01 }},
]
"""

QUICK_RETRY = """\
attempts = 4
first_interval = 0.2
longest_interval = 2
call = 5
read = 20
write = 60
long = 90
heartbeat = 5
wait_first = 1
wait_ceiling = 10
settle_poll = 0.1"""
"""Time limits for simulated vendors that answer in milliseconds; production keeps the defaults."""


@dataclass(frozen=True)
class Places:
    """Where everything of the local firm is."""

    temporal: str
    salesforce: str
    netsuite: str
    kantata: str
    folder: Path
    namespace: str = "default"
    ui_url: str | None = None
    ledger: str = ""
    smtp_port: int | None = None
    retry: str = QUICK_RETRY
    lag_seconds: float = 0.2

    @property
    def netsuite_key(self) -> Path:
        """The private key that signs NetSuite's client assertions."""
        return self.folder / "netsuite.key"

    @property
    def hr_file(self) -> Path:
        """The HRIS export."""
        return self.folder / "hr.csv"


NOTIFY = """\
[systems.mail]
vendor = "smtp"
roles = ["notification"]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "trueup@northgate.example"
[systems.mail.channels]
pmo = ["pmo@northgate.example"]
operations = ["integration@northgate.example"]
"""


def render(places: Places, user: str) -> str:
    """The configuration file's text; the current user may do everything."""
    roles = '["credit-manager", "pmo-lead", "master-data", "integration", "billing-manager"]'
    return TEMPLATE.format(
        figures=FIGURES,
        temporal=places.temporal,
        namespace=places.namespace,
        ui_url=f'ui_url = "{places.ui_url}"' if places.ui_url else "",
        folder=places.folder,
        ledger=places.ledger or f"sqlite:///{places.folder}/ledger.db",
        retry=places.retry,
        lag=places.lag_seconds,
        actors=f'"{user}" = {roles}\n"carla" = ["credit-manager", "billing-manager"]',
        salesforce=places.salesforce,
        netsuite=places.netsuite,
        netsuite_key=places.netsuite_key,
        kantata=places.kantata,
        code_field=KANTATA_CODE_FIELD,
        mark_field=KANTATA_MARK_FIELD,
        accepted_on=KANTATA_ACCEPTED_ON,
        accepted_by=KANTATA_ACCEPTED_BY,
        acceptance=KANTATA_ACCEPTANCE,
        hr_file=places.hr_file,
        notify=NOTIFY.format(port=places.smtp_port) if places.smtp_port else "",
    )


SECRETS = {
    "TRUEUP_SALESFORCE_ID": "sim-salesforce-client",
    "TRUEUP_SALESFORCE_SECRET": "sim-salesforce-secret",
    "TRUEUP_KANTATA_TOKEN": "kantata-token",
}
"""What the simulated vendors accept; real ones come from the environment or mounted files."""
