"""Record types of people, firms and projects, with the time and charges booked on them.

Field names and types: vendor documentation: REST API Browser 2026.1 (definitions of each record).
"""

from __future__ import annotations

from simulators.netsuite.schema import Field, RecordType, fields, sublist

ADDRESS_BOOK = sublist(
    "addressBook",
    "id",
    """
    integer: id internalId
    string: addressId label addressBookAddress_text
    boolean: defaultBilling defaultShipping isResidential
    ~datetime: lastModifiedDate
    """,
    Field(
        "addressBookAddress",
        "address",
        lines=fields(
            """
            string: addr1 addr2 addr3 addrPhone addrText addressee attention city state zip externalId
            boolean: override
            enum: country
            """
        ),
    ),
)

TAX_REGISTRATION = sublist(
    "taxRegistration",
    "id",
    """
    integer: id
    string: address taxRegistrationNumber
    enum: nexusCountry
    ref list:nexus: nexus
    ref list:state: nexusState
    """,
)

_CUSTOMER_BALANCES = """
    ~number: balance consolBalance consolOverdueBalance consolUnbilledOrders depositBalance overdueBalance
    ~number: consolDepositBalance unbilledOrders
"""

CUSTOMER = RecordType(
    "customer",
    "entity",
    fields(
        f"""
        string: entityId companyName altEmail altPhone comments email fax firstName lastName middleName
        string: homePhone mobilePhone phone phoneticName printOnCheckAs salutation title url accountNumber
        string: resaleNumber defaultTaxReg vatRegNumber defaultAddress
        ~string: altName
        boolean: autoName isPerson isInactive taxable taxExempt emailTransactions faxTransactions
        boolean: printTransactions groupInvoices giveAccess unsubscribe
        number: creditLimit openingBalance
        {_CUSTOMER_BALANCES}
        ~integer: daysOverdue consolDaysOverdue
        integer: reminderDays
        date: startDate endDate openingBalanceDate
        ~date: firstOrderDate firstSaleDate lastOrderDate lastSaleDate
        ~datetime: dateCreated lastModifiedDate
        enum AUTO|OFF|ON: creditHoldOverride
        enum CashSale|CustInvc: billingTransactionType
        enum PDF|HTML|DEFAULT: emailPreference
        enum 1|25|15|5|31|20|10: monthlyClosing
        enum: language
        ref customer: parent
        ~ref customer: topLevelParent
        ref subsidiary: subsidiary representingSubsidiary
        ref currency: currency
        ref term: terms
        ref customerCategory: category
        ref customerStatus: entityStatus
        ref employee: salesRep
        ref billingSchedule: billingSchedule
        ref billingRateCard: billingRateCard
        ref contact: contact
        ref list:account: receivablesAccount drAccount openingBalanceAccount
        ref list:priceLevel: priceLevel
        ref list:taxItem: taxItem
        ref list:leadSource: leadSource
        ref list:territory: territory
        ref list:customForm: customForm
        """,
        sublist(
            "currencyList",
            "currency",
            f"""
            ref currency: currency
            {_CUSTOMER_BALANCES}
            string: displaySymbol
            boolean: overrideCurrencyFormat
            enum 1|2: symbolPlacement
            """,
        ),
        ADDRESS_BOOK,
        TAX_REGISTRATION,
        suitetax=("taxRegistration", "defaultTaxReg"),
        legacy=("taxItem", "vatRegNumber"),
    ),
    label="entityId",
)

CUSTOMER_SUBSIDIARY = RecordType(
    "customerSubsidiaryRelationship",
    "customerSubsidiaryRelationship",
    fields(
        """
        ref customer: entity
        ref subsidiary: subsidiary
        ref currency: primaryCurrency
        boolean: isPrimarySub
        ~number: balance depositBalance unbilledOrders
        ~string: name
        ~datetime: lastModifiedDate
        """
    ),
)

CONTACT = RecordType(
    "contact",
    "entity",
    fields(
        """
        string: entityId firstName middleName lastName email altEmail phone officePhone mobilePhone homePhone
        string: fax title salutation comments assistantPhone supervisorPhone phoneticName defaultAddress
        boolean: isInactive isPrivate unsubscribe
        enum PDF|HTML|DEFAULT: emailPreference
        ref customer|job|vendor: company
        ref contact: assistant supervisor
        ref subsidiary: subsidiary
        ref list:customForm: customForm
        ~datetime: dateCreated lastModifiedDate
        """,
        ADDRESS_BOOK,
    ),
    label="entityId",
)

EMPLOYEE = RecordType(
    "employee",
    "entity",
    fields(
        """
        string: entityId firstName middleName lastName email phone officePhone mobilePhone homePhone fax
        string: initials title salutation comments accountNumber jobdescription phoneticName
        ~string: altName
        boolean: autoName isInactive isJobManager isJobResource issalesrep issupportrep giveAccess
        number: laborCost approvallimit expenselimit rate targetUtilization
        date: hireDate releasedate birthdate
        enum annualsalary|hourly|monthlysalary: basewagetype
        ref subsidiary: subsidiary
        ref currency: currency defaultexpensereportcurrency
        ref department: department
        ref classification: class
        ref location: location
        ref employee: supervisor approver
        ref list:billingClass: billingClass
        ref list:employeetype: employeetype
        ref list:employeestatus: employeestatus
        ref list:laborcategory: laborcategory
        ref list:customForm: customForm
        ~datetime: dateCreated lastModifiedDate
        """
    ),
    label="entityId",
)

VENDOR = RecordType(
    "vendor",
    "entity",
    fields(
        """
        string: entityId companyName legalName firstName lastName email altEmail phone fax comments
        string: accountNumber taxIdNum vatRegNumber defaultTaxReg printOnCheckAs url
        ~string: altName
        boolean: autoName isPerson isInactive isJobResourceVend is1099Eligible
        number: laborCost rate creditLimit
        ~number: balance balancePrimary
        ref subsidiary: subsidiary representingSubsidiary
        ref currency: currency
        ref term: terms
        ref list:vendorCategory: category
        ref list:billingClass: billingClass
        ref list:account: payablesAccount expenseAccount
        ref list:taxItem: taxItem
        ref list:customForm: customForm
        ~datetime: dateCreated lastModifiedDate
        """,
        sublist("currencyList", "currency", "ref currency: currency\n~number: balance unbilledOrders"),
        ADDRESS_BOOK,
        TAX_REGISTRATION,
        suitetax=("taxRegistration", "defaultTaxReg"),
        legacy=("taxItem", "vatRegNumber"),
    ),
    label="entityId",
)

JOB = RecordType(
    "job",
    "entity",
    fields(
        """
        string: entityId companyName comments accountNumber estimatedTime estimatedTimeOverride defaultAddress
        ~string: altName actualTime allocatedTime calculatedWork plannedWork timeRemaining
        boolean: autoName isInactive allowTime allowExpenses allowAllResourcesForTasks
        boolean: allowTaskTimeForRsrcAlloc applyProjectExpenseTypeToAll createChargeRule
        boolean: includeCrmTasksInTotals
        boolean: isExemptTime isProductiveTime isUtilizedTime limitTimeToAssignees
        boolean: materializeTime projectCompletelyBilled
        boolean: sourceServiceItemFromRateCard useAllocatedTimeForForecast usePercentCompleteOverride
        boolean: forecastChargeRunOnDemand bBudgetUseCalculatedValues cBudgetUseCalculatedValues
        number: jobPrice percentComplete estimatedCost estimatedRevenue estimatedLaborCost
        number: estimatedLaborRevenue fxRate openingBalance plannedRevenue
        ~number: recognizedRevenue totalRevenue percentTimeComplete percentCompleteByRsrcAlloc
        ~number: chargeAmountBilled chargeAmountHoldForBilling chargeAmountPending chargeAmountReadyForBilling
        ~number: chargeAmountRemaining chargeExpenseAmount chargeLaborAmount
        date: startDate endDate projectedEndDate scheduledEndDate openingBalanceDate
        ~date: calculatedStartDate calculatedEndDate lastBaseLineDate
        enum 1|2|3|4|5: entityStatus
        enum 1|2|3|4|5|TM: jobBillingType
        enum BACKWARD|FORWARD: schedulingMethod
        enum 1|2|3|4: timeApproval
        enum: language
        ref customer|job: parent
        ref subsidiary: subsidiary
        ref currency: currency
        ref employee|vendor: projectManager
        ref billingSchedule: billingSchedule
        ref billingRateCard: billingRateCard
        ref serviceSaleItem|nonInventorySaleItem: jobItem
        ref customerCategory: category
        ref contact: contact
        ref list:projectExpenseType: projectExpenseType
        ref list:jobType: jobType
        ref list:revRecTemplate: estimateRevRecTemplate
        ref list:revRecForecastRule: revRecForecastRule
        ref list:wbs: wbs
        ref list:budget: baselineBudget estimateAtCompletionBudget
        ref list:billingAccount: billingAccount
        ref list:account: openingBalanceAccount
        ref list:customForm: customForm
        ~datetime: dateCreated lastModifiedDate lastProjectPlanRecalculationDateTime
        """,
        sublist(
            "percentCompleteOverride",
            "period",
            "ref accountingPeriod: period\nnumber: percent\nstring: comments",
        ),
        ADDRESS_BOOK,
    ),
    label="entityId",
)

PROJECT_TASK = RecordType(
    "projectTask",
    "projectTask",
    fields(
        """
        string: title message duration plannedWork plannedWorkBaseline estimatedHoursAtCompletion
        string: estimatedHoursToComplete
        ~string: actualWork allocatedWork remainingWork plannedWorkTotal
        number: estimatedWork estimatedWorkBaseline percentTimeComplete
        ~number: calculatedWork calculatedWorkBaseline percentCompleteByRsrcAlloc
        ~integer: eventId
        boolean: isInactive nonBillableTask
        date: finishByDate
        datetime: startDateTime endDate startDateBaseline endDateBaseline
        enum FIXEDSTART|ASAP: constraintType
        enum HIGH|MEDIUM|LOW: priority
        enum NOTSTART|PROGRESS|COMPLETE: status
        ref job: project
        ref projectTask: parent insertBefore
        ref employee: owner
        ref contact: contact
        ref list:customForm: customForm
        ~datetime: lastModifiedDate
        """,
        sublist(
            "assignee",
            "resource",
            """
            integer: id
            number: calculatedWork cost estimatedWork plannedWork price unitCost unitPrice units
            boolean: createworkassignment
            ref employee|vendor: resource
            ref serviceSaleItem|nonInventorySaleItem: serviceItem
            ref list:billingClass: billingClass
            """,
        ),
        sublist(
            "predecessor",
            "predecessor",
            "ref projectTask: predecessor\nenum FS|SS|FF|SF: type\nnumber: lagDays",
        ),
    ),
    label="title",
)

TIME_BILL = RecordType(
    "timeBill",
    "timeBill",
    fields(
        """
        string: memo rejectionNote
        ~string: displayField
        duration: hours
        date: tranDate
        number: rate
        boolean: isBillable isExempt isProductive isUtilized overrideRate paidExternally supervisorApproval
        ~boolean: posted timeModified
        enum 1|2|3|4: approvalStatus
        enum P|A|B: timeType
        ref employee|vendor: employee
        ref customer|job: customer
        ref projectTask: caseTaskEvent
        ref serviceSaleItem|nonInventorySaleItem: item
        ref department: department
        ref classification: class
        ref location: location
        ref subsidiary: subsidiary billingSubsidiary
        ref employee: nextApprover
        ref list:priceLevel: price
        ref list:billingClass: billingClass
        ref list:timeOffType: timeOffType
        ref list:payrollItem: payrollItem
        ref list:customForm: customForm
        ~datetime: createdDate lastModifiedDate
        """
    ),
)

CHARGE = RecordType(
    "charge",
    "charge",
    fields(
        """
        string: description memo amountDetail runId units
        ~string: invoiceLine creditMemoLine salesOrderLine transactionLine
        number: amount discountAmount rate quantity
        integer: groupOrder
        date: billDate chargeDate serviceStartDate serviceEndDate
        enum NON_BILLABLE|READY_FOR_BILLING|HOLD_FOR_BILLING: stage
        enum Forecast|Actual: use
        enum IN_ARREARS|IN_ADVANCE|IMMEDIATE: billingMode
        ref customer|job: billTo
        ref serviceSaleItem|nonInventorySaleItem: billingItem
        ref projectTask: projectTask
        ref timeBill: timeRecord
        ref billingSchedule: billingSchedule
        ref salesOrder: salesOrder
        ref employee: chargeEmployee
        ref currency: currency
        ref subsidiary: subsidiary
        ref department: department
        ref classification: class
        ref location: location
        ~ref invoice: invoice
        ~ref creditMemo: creditMemo
        ref list:chargeType: chargeType
        ref list:chargeRule: rule
        ref list:billingAccount: billingAccount
        ref list:customForm: customForm
        ~datetime: createdDate lastModifiedDate
        """
    ),
)

TYPES = (
    CUSTOMER,
    CUSTOMER_SUBSIDIARY,
    CONTACT,
    EMPLOYEE,
    VENDOR,
    JOB,
    PROJECT_TASK,
    TIME_BILL,
    CHARGE,
)
