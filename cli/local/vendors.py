"""What the firm's vendor accounts hold before Trueup comes: custom fields, products, items, templates.

Everything here is in the vendors' own JSON, as their administrators would have set it up.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Seed = dict[str, list[Json]]


def _text(name: str, length: int = 80, **more: Any) -> Json:
    return {"name": name, "type": "string", "length": length, **more}


_FIGURES: list[Json] = [
    *(
        {"name": name, "type": "currency", "precision": 18, "scale": 3}
        for name in (
            "Invoiced__c", "Invoiced_Net__c", "Paid__c", "Credited__c", "Withheld__c", "Written_Off__c",
            "Refunded__c", "Invoice_Balance__c", "Overdue__c", "Recognised_Revenue__c",
            "Budget_Consumed__c",
        )
    ),
    {"name": "Budget_Used__c", "type": "percent", "precision": 10, "scale": 2},
    {"name": "Open_Invoices__c", "type": "double", "precision": 10, "scale": 0},
    _text("Collection_Status__c", 40),
    _text("Last_Invoice__c", 80),
    _text("Last_Invoice_Status__c", 40),
    {"name": "Invoice_Due__c", "type": "date"},
]  # fmt: skip
_AGEING: list[Json] = [
    {"name": name, "type": "currency", "precision": 18, "scale": 3}
    for name in ("Not_Due__c", "Days_1_30__c", "Days_31_60__c", "Days_61_90__c", "Days_Over_90__c")
]
_MARGIN: list[Json] = [
    {"name": "Margin__c", "type": "currency", "precision": 18, "scale": 3},
    {"name": "Margin_Percent__c", "type": "percent", "precision": 10, "scale": 2},
]

SALESFORCE_SCHEMA: Seed = {
    "Account": [
        *_FIGURES,
        *_AGEING,
        *_MARGIN,
        _text("Tax_Id__c"),
        _text("ERP_Customer_Id__c", externalId=True),
        {"name": "Billing_Email__c", "type": "email", "length": 80},
        _text("Saga_Key__c", 64, externalId=True, unique=True),
    ],
    "Opportunity": [
        *_FIGURES,
        *(
            _text(name)
            for name in (
                "Legal_Entity__c", "Business_Unit__c", "Approval_Status__c", "SOW_Number__c",
                "Payment_Terms__c", "PO_Number__c", "Amends_Engagement__c", "Engagement_Code__c",
                "Project_Status__c",
            )
        ),
        _text("Project_Code__c", 255),
        {"name": "Contract_Value__c", "type": "double", "precision": 18, "scale": 2},
        _text("Contract_Versions__c", 255),
        _text("Contract_Scope__c", 4000),
        _text("Contract_Change_Status__c"),
        {"name": "SOW_Signed_On__c", "type": "date"},
        {"name": "Project_Manager_Email__c", "type": "email", "length": 80},
        {"name": "Project_Link__c", "type": "url", "length": 255},
        {
            "name": "Bill_To__c",
            "type": "reference",
            "referenceTo": ["Account"],
            "relationshipName": "Bill_To__r",
        },
    ],
    "OpportunityLineItem": [
        *(
            _text(name)
            for name in (
                "Legal_Entity__c", "Delivery_Region__c", "Billing_Method__c", "Revenue_Method__c",
                "Contract_Currency__c",
            )
        ),
        {"name": "Start_Date__c", "type": "date"},
        {"name": "End_Date__c", "type": "date"},
        {"name": "Contract_Rate__c", "type": "double", "precision": 18, "scale": 6},
    ],
}  # fmt: skip

CURRENCIES = {
    "EUR": {"ConversionRate": 1, "DecimalPlaces": 2},
    "GBP": {"ConversionRate": 0.86, "DecimalPlaces": 2},
    "JPY": {"ConversionRate": 162.5, "DecimalPlaces": 0},
    "KWD": {"ConversionRate": 0.33, "DecimalPlaces": 3},
}
SALESFORCE_SETTINGS: Json = {"multi_currency": True, "corporate_currency": "EUR", "currencies": CURRENCIES}

PRODUCTS = {
    "IMPL": ("01t000000000001AAA", "Implementation"),
    "ADV": ("01t000000000002AAA", "Advisory"),
    "RUN": ("01t000000000003AAA", "Managed service"),
    "LIC": ("01t000000000004AAA", "Software licence"),
}
"""Product id and name by product code."""

NETSUITE_SEED: Seed = {
    "currency": [
        {"id": "1", "name": "Euro", "symbol": "EUR", "currencyPrecision": 2},
        {"id": "2", "name": "British pound", "symbol": "GBP", "currencyPrecision": 2},
        {"id": "3", "name": "Yen", "symbol": "JPY", "currencyPrecision": 0},
        {"id": "4", "name": "Kuwaiti dinar", "symbol": "KWD", "currencyPrecision": 3},
    ],
    "subsidiary": [
        {"id": "3", "name": "Northgate Consulting B.V.", "currency": {"id": "1"}},
        {"id": "5", "name": "Northgate Consulting Ltd", "currency": {"id": "2"}},
        {"id": "7", "name": "Northgate Consulting K.K.", "currency": {"id": "3"}},
    ],
    "term": [
        {"id": "2", "name": "Net 30", "daysUntilNetDue": 30},
        {"id": "3", "name": "Net 45", "daysUntilNetDue": 45},
    ],
    "serviceSaleItem": [
        {"id": "31", "itemId": "Implementation services"},
        {"id": "32", "itemId": "Advisory services"},
        {"id": "33", "itemId": "Managed services"},
        {"id": "38", "itemId": "Tax withheld by clients"},
        {"id": "39", "itemId": "Bad debt"},
    ],
    "expenseCategory": [{"id": "4", "name": "Travel"}],
    "employee": [
        {"id": str(7000 + number), "entityId": f"W{number:03d}", "email": email, "subsidiary": {"id": home}}
        for number, email, home in (
            (1, "anna@northgate.example", "3"),
            (2, "bram@northgate.example", "3"),
            (3, "carla@northgate.example", "3"),
            (4, "dev@northgate.example", "5"),
            (5, "emma@northgate.example", "5"),
            (8, "hanna@northgate.example", "3"),
        )
    ],
    "customer": [
        {
            "id": "501",
            "companyName": "Lumen Optics B.V.",
            "subsidiary": {"id": "3"},
            "currency": {"id": "1"},
            "terms": {"id": "2"},
            "currencyList": {"items": [{"currency": {"id": "1"}}]},
            "addressBook": {
                "items": [
                    {
                        "defaultBilling": True,
                        "addressBookAddress": {
                            "addr1": "Stationsplein 1",
                            "city": "Utrecht",
                            "zip": "3511 ED",
                            "country": {"id": "NL"},
                        },
                    }
                ]
            },
            "taxRegistration": {
                "items": [{"nexusCountry": {"id": "NL"}, "taxRegistrationNumber": "NL804321987B01"}]
            },
        }
    ],
}

NETSUITE_SCHEMA: Seed = {
    "customer": [{"name": "custentity_trueup_saga", "type": "string"}],
    "job": [
        {"name": "custentity_trueup_job_saga", "type": "string"},
        {"name": "custentity_trueup_period", "type": "string"},
        {"name": "custentity_trueup_minutes", "type": "integer"},
        {"name": "custentity_trueup_minutes_in", "type": "integer"},
        {"name": "custentity_trueup_minutes_left", "type": "integer"},
        {"name": "custentity_trueup_milestones", "type": "integer"},
        {"name": "custentity_trueup_accepted", "type": "number"},
        {"name": "custentity_trueup_percent", "type": "number"},
        {"name": "custentity_trueup_accepted_on", "type": "date"},
    ],
    "salesOrder": [
        {"name": "custbody_trueup_saga", "type": "string"},
        {"name": "custbody_trueup_change", "type": "string"},
        {"name": "custbody_trueup_treatment", "type": "string"},
        {"name": "custcol_trueup_method", "type": "string", "sublist": "item"},
        {"name": "custcol_trueup_key", "type": "string", "sublist": "item"},
    ],
    "invoice": [
        {"name": "custcol_trueup_key", "type": "string", "sublist": "item"},
        {"name": "custbody_disputed", "type": "boolean"},
    ],
    "creditMemo": [{"name": "custcol_trueup_key", "type": "string", "sublist": "item"}],
    "timeBill": [
        {"name": "custcol_trueup_source", "type": "string"},
        {"name": "custcol_trueup_worked", "type": "date"},
        {"name": "custcol_trueup_reverses", "type": "string"},
    ],
    "expenseReport": [{"name": "custbody_trueup_source", "type": "string"}],
}
NETSUITE_SETTINGS: Json = {"invoice_approval": True, "negative_hours": True}
"""Invoices are routed for approval, and time may be taken back by negative entries."""

ROLES = {"solution-architect": 5, "consultant": 6, "project-manager": 7}
"""Kantata's role ids by HR role."""

_IMPLEMENTATION = {
    "stories": [
        {
            "title": "Design",
            "story_type": "task",
            "sub_stories": [
                {"title": "Workshops", "story_type": "task"},
                {"title": "Blueprint", "story_type": "task"},
            ],
        },
        {
            "title": "Build",
            "story_type": "task",
            "sub_stories": [
                {"title": "Configure", "story_type": "task"},
                {"title": "Migrate", "story_type": "task"},
            ],
        },
        {"title": "Go live", "story_type": "milestone"},
    ]
}
_ADVISORY = {
    "stories": [{"title": "Assess", "story_type": "task"}, {"title": "Recommend", "story_type": "task"}]
}
_MANAGED = {
    "stories": [{"title": "Onboard", "story_type": "task"}, {"title": "Operate", "story_type": "task"}]
}

KANTATA_CODE_FIELD, KANTATA_MARK_FIELD = 9, 10
KANTATA_ACCEPTED_ON, KANTATA_ACCEPTED_BY, KANTATA_ACCEPTANCE = 11, 12, 13
KANTATA_SCHEMA: Seed = {
    "workspaces": [
        {"name": "Project code", "type": "string", "id": KANTATA_CODE_FIELD},
        {"name": "Trueup saga", "type": "string", "id": KANTATA_MARK_FIELD},
    ],
    "stories": [
        {"name": "Accepted on", "type": "date", "id": KANTATA_ACCEPTED_ON},
        {"name": "Accepted by", "type": "string", "id": KANTATA_ACCEPTED_BY},
        {"name": "Acceptance document", "type": "string", "id": KANTATA_ACCEPTANCE},
    ],
}
KANTATA_SEED: Seed = {
    "roles": [
        {"id": 5, "name": "Solution Architect"},
        {"id": 6, "name": "Consultant"},
        {"id": 7, "name": "Project Manager"},
    ],
    "users": [
        {"id": 71, "full_name": "Anna de Vries", "email_address": "anna@northgate.example"},
        {"id": 72, "full_name": "Bram Bakker", "email_address": "bram@northgate.example"},
        {"id": 73, "full_name": "Carla Jansen", "email_address": "carla@northgate.example"},
        {"id": 74, "full_name": "Dev Patel", "email_address": "dev@northgate.example"},
    ],
    "project_templates": [
        {"id": 300, "title": "Implementation", "currency": "EUR", "raw_json": _IMPLEMENTATION},
        {"id": 301, "title": "Advisory", "currency": "EUR", "raw_json": _ADVISORY},
        {"id": 302, "title": "Managed service", "currency": "EUR", "raw_json": _MANAGED},
    ],
    "project_template_assignments": [
        {"id": 31, "name": "Solution Architect", "project_template_id": 300, "role_id": 5},
        {"id": 32, "name": "Consultant", "project_template_id": 300, "role_id": 6},
        {"id": 33, "name": "Consultant", "project_template_id": 301, "role_id": 6},
    ],
}

HR_EXPORT = """\
worker_id,name,email,role,practice,region,legal_entity,cost_rate,cost_currency,effective_from,effective_to
W001,Anna de Vries,anna@northgate.example,solution-architect,Finance,emea,NL01,92.50,EUR,2024-01-01,
W002,Bram Bakker,bram@northgate.example,consultant,Finance,emea,NL01,61.00,EUR,2023-04-01,
W003,Carla Jansen,carla@northgate.example,consultant,Supply chain,emea,NL01,58.75,EUR,2025-02-01,
W004,Dev Patel,dev@northgate.example,solution-architect,Finance,uki,UK01,88.00,GBP,2022-09-01,
W005,Emma Clark,emma@northgate.example,consultant,Finance,uki,UK01,57.20,GBP,2024-06-01,
W006,Fumiko Sato,fumiko@northgate.example,consultant,Finance,apac,JP01,9100,JPY,2023-10-01,
W007,Goro Tanaka,goro@northgate.example,project-manager,Delivery,apac,JP01,10400,JPY,2021-04-01,
W008,Hanna Visser,hanna@northgate.example,project-manager,Delivery,emea,NL01,79.00,EUR,2020-01-01,
W009,Ian Moore,ian@northgate.example,project-manager,Delivery,uki,UK01,71.00,GBP,2020-01-01,
W010,Kenji Mori,kenji@northgate.example,solution-architect,Finance,apac,JP01,14200,JPY,2022-01-01,
"""
