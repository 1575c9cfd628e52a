"""Record types of the account's lists: legal entities, currencies, periods, items, dimensions, schedules.

Field names and types: vendor documentation: REST API Browser 2026.1 (definitions of each record).
"""

from __future__ import annotations

from simulators.netsuite.schema import Field, RecordType, fields, sublist

FREQUENCIES = (
    "SEMIMONTHLY|STARTOFPERIOD|WEEKLY|QUADWEEKLY|BIENNIALLY|DAILY|NEVER|ONETIME|SEMIANNUALLY|ENDOFPERIOD|MONTHLY"
    "|AUTOREFILL|TRIENNIALLY|HOURLY|QUARTERLY|ANNUALLY|CUSTOM|BIMONTHLY|BIWEEKLY"
)
WEEKDAYS = "1|2|3|4|5|6|7|-1"

SUBSIDIARY_LIST = sublist("subsidiary", "id", "string: id refName")
"""Items and dimensions belong to several subsidiaries: a collection of references."""

SUBSIDIARY = RecordType(
    "subsidiary",
    "subsidiary",
    fields(
        """
        string: name legalName email fax federalIdNumber state tranInternalPrefix tranPrefix url
        ~string: fullName
        boolean: isElimination isInactive showSubsidiaryName
        enum: country
        ref currency: currency
        ref subsidiary: parent
        ref list:fiscalCalendar: fiscalCalendar taxFiscalCalendar
        ~datetime: lastModifiedDate
        """,
        sublist("nexus", None, "string: country\nref list:nexus: nexusId"),
        sublist("taxRegistration", "id", "integer: id\nenum: nexusCountry\nstring: taxRegistrationNumber"),
    ),
    label="name",
)

CURRENCY = RecordType(
    "currency",
    "currency",
    fields(
        """
        string: name symbol displaySymbol
        integer: currencyPrecision
        number: exchangeRate
        boolean: isBaseCurrency isAnchorCurrency isInactive includeInFxRateUpdates overrideCurrencyFormat
        ~datetime: lastModifiedDate
        """
    ),
    label="name",
)

CURRENCY_RATE = RecordType(
    "currencyRate",
    "currencyRate",
    fields(
        """
        ref currency: baseCurrency transactionCurrency
        ref list:currencyRateType: currencyRateType
        date: effectiveDate
        number: exchangeRate
        string: fxSourceMethod
        ~datetime: lastModifiedDate
        """
    ),
)

TERM = RecordType(
    "term",
    "term",
    fields(
        f"""
        string: name
        integer: dayDiscountExpires dayOfMonthNetDue daysUntilExpiry daysUntilNetDue dueNextMonthIfWithinDays
        integer: recurrenceCount repeatEvery
        number: discountPercent discountPercentDateDriven
        boolean: installment isInactive payTaxUpfront preferred splitEvenly
        enum {FREQUENCIES}: recurrenceFrequency
        enum: dateDriven
        ~datetime: lastModifiedDate
        """
    ),
    label="name",
)

ACCOUNTING_PERIOD = RecordType(
    "accountingPeriod",
    "accountingPeriod",
    fields(
        """
        string: periodName
        date: startDate endDate closedOnDate
        boolean: allLocked allowNonGLChanges apLocked arLocked closed isAdjust isInactive isPosting isQuarter
        boolean: isYear payrollLocked
        ref accountingPeriod: parent
        ref list:fiscalCalendar: fiscalCalendar
        ~datetime: lastModifiedDate
        """
    ),
    label="periodName",
)


def _dimension(name: str) -> RecordType:
    return RecordType(
        name,
        name,
        fields(
            f"""
            string: name
            ~string: fullName
            boolean: includeChildren isInactive
            ref {name}: parent
            ~datetime: lastModifiedDate
            """,
            SUBSIDIARY_LIST,
        ),
        label="name",
    )


DEPARTMENT = _dimension("department")
CLASSIFICATION = _dimension("classification")
LOCATION = _dimension("location")


def _item(name: str) -> RecordType:
    return RecordType(
        name,
        "item",
        fields(
            f"""
            string: itemId displayName description salesDescription upcCode
            number: rate costEstimate
            boolean: isInactive isTaxable isFulfillable deferRevRec directRevenuePosting createJob
            boolean: includeChildren
            ref billingSchedule: billingSchedule
            ref department: department
            ref classification: class
            ref location: location
            ref {name}: parent
            ref list:account: incomeAccount deferredRevenueAccount
            ref list:revenueRecognitionRule: revenueRecognitionRule
            ref list:revRecForecastRule: revRecForecastRule
            ref list:createRevenuePlansOn: createRevenuePlansOn
            ref list:itemRevenueCategory: itemRevenueCategory
            ref list:projectExpenseType: projectExpenseType
            ref list:taxSchedule: taxSchedule
            ref list:unitsType: unitsType
            ref list:salesTaxCode: salesTaxCode
            ~enum Service|NonInvtPart: itemType
            ~enum Sale|Purchase|Resale: subtype
            ~datetime: createdDate lastModifiedDate
            """,
            SUBSIDIARY_LIST,
            legacy=("salesTaxCode",),
        ),
        label="itemId",
    )


SERVICE_SALE_ITEM = _item("serviceSaleItem")
NON_INVENTORY_SALE_ITEM = _item("nonInventorySaleItem")

EXPENSE_CATEGORY = RecordType(
    "expenseCategory",
    "expenseCategory",
    fields(
        """
        string: name description
        number: defaultrate
        boolean: isinactive personalcorporatecardexpense raterequired
        ref list:account: expenseacct
        ref serviceSaleItem|nonInventorySaleItem: expenseitem
        ~datetime: lastModifiedDate
        """,
        SUBSIDIARY_LIST,
    ),
    label="name",
)

CUSTOMER_CATEGORY = RecordType(
    "customerCategory",
    "customerCategory",
    fields("string: name\nboolean: isInactive\n~datetime: lastModifiedDate"),
    label="name",
)

CUSTOMER_STATUS = RecordType(
    "customerStatus",
    "customerStatus",
    fields("string: name description\nboolean: isInactive\nnumber: probability\n~datetime: lastModifiedDate"),
    label="name",
)

BILLING_SCHEDULE = RecordType(
    "billingSchedule",
    "billingSchedule",
    fields(
        f"""
        string: name monthMode yearMode
        boolean: applyToSubtotal billForActuals inArrears isInactive isPublic
        boolean: weekMonday weekTuesday weekWednesday weekThursday weekFriday weekSaturday weekSunday
        integer: dayPeriod monthDom numberRemaining yearDom
        enum {FREQUENCIES}: frequency
        enum 1|2|3|4|6: repeatEvery
        enum 1|2|3|4|5|STD: scheduleType
        enum FIXED_BILL_DATE|ANNIVERSARY_BILL_DATE: recurrencePattern
        enum {WEEKDAYS}: monthDow yearDow
        enum 1|2|3|4|5: monthDowim yearDowim
        enum 1|2|3|4|5|6|7|8|9|10|11|12: yearMonth yearDowimMonth
        number: initialAmountPercent
        date: seriesStartDate
        ref term: initialTerms recurrenceTerms
        ref job: job
        ref salesOrder: transaction
        ~datetime: lastModifiedDate
        """,
        Field("initialAmount", "number", values=("text",)),
        sublist(
            "milestone",
            "milestoneId",
            """
            string: comments
            date: milestoneActualCompletionDate milestoneDate
            number: milestoneAmount
            integer: milestoneId
            boolean: milestoneCompleted
            ref term: milestoneTerms
            ref projectTask: projectTask
            """,
        ),
        sublist(
            "recurrence",
            "recurrenceId",
            """
            number: amount
            integer: count recurrenceId
            date: recurrenceDate
            boolean: relativeToPrevious
            enum DAY|WEEK|MONTH: units
            ref term: paymentTerms
            """,
        ),
    ),
    label="name",
)

BILLING_RATE_CARD = RecordType(
    "billingRateCard",
    "billingRateCard",
    fields(
        """
        string: name
        boolean: isInactive
        ~datetime: lastModifiedDate
        """
    ),
    label="name",
    rest=False,
)
"""The browser has no such record: it is known by references only, so here by seed and in SuiteQL."""

TYPES = (
    SUBSIDIARY,
    CURRENCY,
    CURRENCY_RATE,
    TERM,
    ACCOUNTING_PERIOD,
    DEPARTMENT,
    CLASSIFICATION,
    LOCATION,
    SERVICE_SALE_ITEM,
    NON_INVENTORY_SALE_ITEM,
    EXPENSE_CATEGORY,
    CUSTOMER_CATEGORY,
    CUSTOMER_STATUS,
    BILLING_SCHEDULE,
    BILLING_RATE_CARD,
)
