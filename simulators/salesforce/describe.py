"""``/sobjects`` and ``/sobjects/X/describe``: the schema as the integration user sees it.

Source: vendor documentation, "Describe Global", "sObject Describe".
"""

from __future__ import annotations

from typing import Any

from simulators.salesforce.catalogue import View
from simulators.salesforce.fields import NUMBERS, TEXT, Field, SObject

_SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "int": "xsd:int", "currency": "xsd:double", "double": "xsd:double", "percent": "xsd:double",
}  # fmt: skip


def everything(view: View, base: str) -> dict[str, Any]:
    """The global describe."""
    rows = [_summary(one, base) for one in sorted(view.objects.values(), key=lambda o: o.name)]
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": rows}


def basic(one: SObject, base: str) -> dict[str, Any]:
    """``GET /sobjects/X``."""
    return {"objectDescribe": _summary(one, base), "recentItems": []}


def full(view: View, one: SObject, base: str, currencies: tuple[str, ...]) -> dict[str, Any]:
    """``GET /sobjects/X/describe``; ``currencies`` are the values of ``CurrencyIsoCode``."""
    children: list[dict[str, Any]] = [
        {
            "cascadeDelete": made.on_delete == "cascade",
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": made.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": made.children,
            "restrictedDelete": made.on_delete == "restrict",
        }
        for child, made in view.references.get(one.name, ())
        if view.objects[child.name.lower()].field(made.name)
    ]
    return {
        **_summary(one, base),
        "actionOverrides": [],
        "childRelationships": children,
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [_field(one, made, currencies) for made in one.fields.values()],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {one.plural}", "name": "everything"}],
    }


def _summary(one: SObject, base: str) -> dict[str, Any]:
    url = f"{base}/sobjects/{one.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": one.writable,
        "custom": one.custom,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": one.writable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": one.prefix,
        "label": one.label,
        "labelPlural": one.plural,
        "layoutable": True,
        "mergeable": one.name in ("Account", "Contact"),
        "mruEnabled": True,
        "name": one.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": one.writable,
        "updateable": one.writable,
        "urls": {"rowTemplate": f"{url}/{{ID}}", "describe": f"{url}/describe", "sobject": url},
    }


def _field(one: SObject, made: Field, currencies: tuple[str, ...]) -> dict[str, Any]:
    numeric = made.type in NUMBERS
    text = made.type in TEXT
    length = 18 if made.type in ("id", "reference") else made.length if text else 0
    values = currencies if made.name in ("CurrencyIsoCode", "DefaultCurrencyIsoCode") else made.values
    return {
        "aggregatable": not made.long_text,
        "aiPredictionField": False,
        "autoNumber": made.name.endswith("Number") and not made.createable and made.type == "string",
        "byteLength": length * 3,
        "calculated": False,
        "calculatedFormula": None,
        "cascadeDelete": made.on_delete == "cascade",
        "caseSensitive": made.case_sensitive,
        "compoundFieldName": None,
        "controllerName": None,
        "createable": made.createable and one.writable,
        "custom": made.custom,
        "defaultValue": made.default,
        "defaultValueFormula": None,
        "defaultedOnCreate": made.default is not None or made.name == "OwnerId",
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": made.precision if made.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": made.external_id,
        "extraTypeInfo": None,
        "filterable": not made.long_text,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": not made.long_text and not numeric and made.type != "datetime",
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": made.type == "id" or made.external_id,
        "inlineHelpText": None,
        "label": made.label,
        "length": length,
        "mask": None,
        "maskType": None,
        "name": made.name,
        "nameField": made.name == "Name",
        "namePointing": len(made.reference_to) > 1,
        "nillable": not made.required and made.type not in ("boolean", "id"),
        "permissionable": not made.required and made.createable,
        "picklistValues": [
            {
                "active": True,
                "defaultValue": value == made.default,
                "label": value,
                "validFor": None,
                "value": value,
            }
            for value in values
        ],
        "polymorphicForeignKey": len(made.reference_to) > 1,
        "precision": made.precision if numeric and made.type != "int" else 0,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(made.reference_to),
        "relationshipName": made.relationship,
        "relationshipOrder": None,
        "restrictedDelete": made.on_delete == "restrict",
        "restrictedPicklist": made.restricted,
        "scale": made.scale if numeric and made.type != "int" else 0,
        "searchPrefilterable": made.type == "reference",
        "soapType": _SOAP.get(made.type, "xsd:string"),
        "sortable": not made.long_text,
        "type": made.type,
        "unique": made.unique,
        "updateable": made.updateable and one.writable,
        "writeRequiresMasterRead": False,
    }
