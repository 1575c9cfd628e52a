"""Record types of transactions: orders, invoices, credits, payments, expense reports.

Field names and types: vendor documentation: REST API Browser 2026.1 (definitions of each record).
"""

from __future__ import annotations

from simulators.netsuite.schema import Field, RecordType, fields, sublist

ITEMS = "serviceSaleItem|nonInventorySaleItem"
TRANSACTIONS = "salesOrder|invoice|creditMemo|customerPayment|customerRefund|expenseReport"

_LINE = f"""
    integer: line
    string: description units options
    ~string: lineUniqueKey
    number: quantity rate amount costEstimate
    ~number: grossAmt taxAmount tax1Amt
    boolean: deferRevRec doNotCreateRevenueElement isTaxable isClosed
    date: revRecStartDate revRecEndDate
    integer: revRecTermInMonths
    ref {ITEMS}: item
    ref job: job
    ref department: department
    ref classification: class
    ref location: location
    ref subsidiary: subsidiary
    ref list:priceLevel: price
    ref list:chargeType: chargeType
    ref list:taxCode: taxCode
    number: taxRate1
"""

_SALES = """
    string: tranId memo message otherRefNum email entityTaxRegNum vatRegNum deletionReasonMemo
    ~string: transactionNumber subsidiaryTaxRegNum
    number: exchangeRate discountRate
    ~number: subtotal taxTotal total discountTotal recognizedRevenue deferredRevenue
    boolean: toBeEmailed toBePrinted toBeFaxed taxDetailsOverride taxRegOverride isTaxable
    date: tranDate dueDate startDate endDate salesEffectiveDate taxPointDate
    ~datetime: createdDate lastModifiedDate
    ref customer|job: entity
    ref job: job
    ref subsidiary: subsidiary
    ref currency: currency
    ref term: terms
    ref department: department
    ref classification: class
    ref location: location
    ref employee: salesRep
    ref list:nexus: nexus
    ref list:deletionReason: deletionReason
    ref list:opportunity: opportunity
    ref list:taxItem: taxItem
    ref list:customForm: customForm
    ref list:billAddressList: billAddressList
"""

TAX_DETAILS = sublist(
    "taxDetails",
    None,
    """
    string: calcDetail lineName lineType taxType
    number: netAmount taxAmount taxBasis taxRate
    enum: taxDetailsReference
    ref list:taxCode: taxCode
    """,
)

BILLING_ADDRESS = Field(
    "billingAddress",
    "address",
    lines=fields(
        """
        string: addr1 addr2 addr3 addrPhone addrText addressee attention city state zip externalId
        boolean: override
        enum: country
        """
    ),
)

_MODES = {
    "suitetax": ("taxDetails", "taxDetailsOverride", "taxRegOverride", "entityTaxRegNum", "nexus"),
    "legacy": ("taxItem", "vatRegNum"),
}
_LINE_MODES = {"legacy": ("taxCode", "taxRate1")}

SALES_ORDER = RecordType(
    "salesOrder",
    "transaction",
    fields(
        _SALES
        + f"""
        enum A|B: orderStatus
        ~enum A|B|C|D|E|F|G|H: status
        date: shipDate
        ref billingSchedule: billingSchedule
        ref {TRANSACTIONS}: createdFrom
        """,
        sublist(
            "item",
            "line",
            _LINE
            + """
            ref billingSchedule: billingSchedule
            boolean: fromJob
            ~number: quantityBilled
            """,
            **_LINE_MODES,
        ),
        TAX_DETAILS,
        BILLING_ADDRESS,
        **_MODES,
    ),
    label="tranId",
    prefix="SalesOrd",
)

_TIME_COLUMN = f"""
    boolean: apply
    ref timeBill: doc
    ref employee|vendor: employee
    ref {ITEMS}: item
    ref department: department
    ref classification: class
    ref location: location
    ref list:taxCode: taxCode
    string: job memo
    ~string: quantity
    ~date: billedDate
    number: rate amount
    ~number: grossAmt taxAmount
    number: taxRate1
"""

_EXPENSE_COLUMN = """
    boolean: apply
    ref expenseReport: doc
    integer: line
    ref employee: employee
    ref expenseCategory: category
    ref department: department
    ref classification: class
    ref location: location
    ref list:taxCode: taxCode
    string: job memo
    ~date: billedDate
    number: amount
    ~number: originalAmount grossAmt taxAmount
    number: taxRate1
"""

INVOICE = RecordType(
    "invoice",
    "transaction",
    fields(
        _SALES
        + f"""
        ~number: amountPaid amountRemaining
        ~integer: number
        ~enum A|B|D|E|V: status
        enum 1|2|3|11: approvalStatus
        enum ALL|TRANSACTION_DATE|AS_OF_DATE: whichChargesToAdd
        date: asOfDate
        ref accountingPeriod: postingPeriod
        ref list:account: account
        ref employee: nextApprover
        ref {TRANSACTIONS}: createdFrom
        """,
        sublist(
            "item",
            "line",
            _LINE
            + """
            ref salesOrder: orderDoc
            integer: orderLine
            ~number: quantityOrdered quantityRemaining amountOrdered
            number: currentPercent
            """,
            **_LINE_MODES,
        ),
        sublist("time", "doc", _TIME_COLUMN, legacy=("taxCode", "taxRate1")),
        sublist("expCost", "doc+line", _EXPENSE_COLUMN, legacy=("taxCode", "taxRate1")),
        TAX_DETAILS,
        BILLING_ADDRESS,
        **_MODES,
    ),
    label="tranId",
    prefix="CustInvc",
)

_APPLY = """
    boolean: apply
    number: amount
    integer: line
    ~number: due total
    ~date: applyDate
    ~string: refNum type currency
    ref invoice: doc
"""

CREDIT_MEMO = RecordType(
    "creditMemo",
    "transaction",
    fields(
        _SALES
        + f"""
        ~number: amountPaid amountRemaining applied
        ~integer: number
        ~enum A|B|V: status
        boolean: autoApply
        ref accountingPeriod: postingPeriod
        ref list:account: account
        ref {TRANSACTIONS}: createdFrom
        """,
        sublist("item", "line", _LINE, **_LINE_MODES),
        sublist("apply", "doc", _APPLY),
        TAX_DETAILS,
        BILLING_ADDRESS,
        **_MODES,
    ),
    label="tranId",
    prefix="CustCred",
)

CUSTOMER_PAYMENT = RecordType(
    "customerPayment",
    "transaction",
    fields(
        """
        string: tranId memo checkNumber deletionReasonMemo
        ~string: transactionNumber
        number: payment exchangeRate
        ~number: applied unapplied total balance
        boolean: autoApply cleared
        date: tranDate clearedDate
        ~enum A|R|B|C: status
        enum: undepFunds
        ref customer|job: customer
        ref subsidiary: subsidiary
        ref currency: currency
        ref accountingPeriod: postingPeriod
        ref department: department
        ref classification: class
        ref location: location
        ref list:account: account arAcct
        ref list:paymentOption: paymentOption
        ref list:nexus: nexus
        ref list:deletionReason: deletionReason
        ref list:customForm: customForm
        ~datetime: createdDate lastModifiedDate
        """,
        sublist("apply", "doc", _APPLY),
        suitetax=("nexus",),
    ),
    label="tranId",
    prefix="CustPymt",
)

CUSTOMER_REFUND = RecordType(
    "customerRefund",
    "transaction",
    fields(
        """
        string: tranId memo checkNumber deletionReasonMemo
        ~string: transactionNumber
        number: exchangeRate
        ~number: total balance
        boolean: cleared
        date: tranDate clearedDate
        ~enum A|B: status
        ref customer|job: customer
        ref subsidiary: subsidiary
        ref currency: currency
        ref accountingPeriod: postingPeriod
        ref department: department
        ref classification: class
        ref location: location
        ref list:account: account arAcct
        ref list:paymentOption: paymentOption
        ref list:nexus: nexus
        ref list:deletionReason: deletionReason
        ref list:customForm: customForm
        ~datetime: createdDate lastModifiedDate
        """,
        sublist("apply", "doc", _APPLY.replace("ref invoice: doc", "ref creditMemo: doc")),
        suitetax=("nexus",),
    ),
    label="tranId",
    prefix="CustRfnd",
)

EXPENSE_REPORT = RecordType(
    "expenseReport",
    "transaction",
    fields(
        """
        string: tranId memo deletionReasonMemo
        ~string: transactionNumber
        number: advance expensereportexchangerate
        ~number: amount total reimbursable nonreimbursable taxTotal
        boolean: accountingapproval complete supervisorapproval usemulticurrency
        date: tranDate duedate
        enum 11|1|2|3: approvalStatus
        ~enum A|B|C|D|E|V|F|G|H|I|J: status
        ref employee: entity nextApprover
        ref subsidiary: subsidiary
        ref currency: expensereportcurrency
        ref accountingPeriod: postingPeriod
        ref department: department
        ref classification: class
        ref location: location
        ref list:account: account acctcorpcardexp
        ref list:nexus: nexus
        ref list:deletionReason: deletionReason
        ref list:customForm: customForm
        ~datetime: createdDate lastModifiedDate
        """,
        sublist(
            "expense",
            "line",
            """
            integer: line
            ref expenseCategory: category
            ref customer|job: customer
            ref projectTask: projecttask
            ref currency: currency
            ref department: department
            ref classification: class
            ref location: location
            ref subsidiary: billingsubsidiary
            ref list:taxCode: taxCode
            ref list:account: expenseaccount
            boolean: isBillable isnonreimbursable corporatecreditcard receipt
            number: amount foreignamount exchangerate quantity rate tax1Amt taxRate1
            ~number: grossAmt
            date: expensedate
            integer: refnumber
            string: memo
            """,
            legacy=("taxCode", "taxRate1", "tax1Amt"),
        ),
        suitetax=("nexus",),
    ),
    label="tranId",
    prefix="ExpRept",
)

REVENUE_ARRANGEMENT = RecordType(
    "revenueArrangement",
    "transaction",
    fields(
        """
        string: tranId
        date: tranDate
        number: total
        ref customer|job: entity
        ref currency: currency
        ref subsidiary: subsidiary
        ref salesOrder: createdFrom
        ~datetime: createdDate lastModifiedDate
        """
    ),
    label="tranId",
    rest=False,
    prefix="RevArrng",
)

REVENUE_PLAN = RecordType(
    "revenuePlan",
    "revenuePlan",
    fields(
        f"""
        string: recordNumber status
        integer: sourceLine
        date: revRecStartDate revRecEndDate
        number: amount recognizedAmount
        ref revenueArrangement: revenueArrangement
        ref salesOrder: createdFrom
        ref {ITEMS}: item
        ref currency: currency
        ~datetime: createdDate lastModifiedDate
        """
    ),
    label="recordNumber",
    rest=False,
)

TYPES = (
    SALES_ORDER,
    EXPENSE_REPORT,
    INVOICE,
    CREDIT_MEMO,
    CUSTOMER_PAYMENT,
    CUSTOMER_REFUND,
    REVENUE_ARRANGEMENT,
    REVENUE_PLAN,
)
