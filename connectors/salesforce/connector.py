"""Salesforce as the CRM: deals in, progress out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any, TypeVar

from pydantic import ValidationError

from canonical.causes import Cause, Queue
from canonical.change_orders import ContractScope
from canonical.failures import Conflict, Defect, RateLimited, Refused
from canonical.feedback import Figure, TargetCurrencies
from canonical.operations import Change, ChangePage, DealOutcome, HealthCheck, WriteContext
from canonical.opportunity import Opportunity
from canonical.project_closing import DealClosure
from canonical.refs import RecordRef
from canonical.writes import Landed, Shown, UndoOutcome, VendorWrite, WriteKind
from connectors.kit.http import fill
from connectors.kit.together import together
from connectors.salesforce import health, plans, undoing
from connectors.salesforce.client import SalesforceClient
from connectors.salesforce.cursor import Cursor, stamp
from connectors.salesforce.fields import FieldPlan, account_query, deal_query, field_plan
from connectors.salesforce.ids import OPPORTUNITY_PREFIX, record_id
from connectors.salesforce.mapping import DealMapper, comparable, same, text
from connectors.salesforce.schemas import AccountRecord, LineRecord, OpportunityRecord, Wire
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.soql import Where, select

W = TypeVar("W", bound=Wire)

USAGE_PAUSE = 300.0
"""Seconds for which a high use of the daily limit keeps polling back before it is measured again."""
DEPTH_LIMIT = 20
"""Accounts of one hierarchy; more is a loop or a mistake, and each four cost a call."""


class SalesforceConnector:
    """One Salesforce organisation; implements ``CrmPort``. ``client`` serves later sagas directly."""

    def __init__(self, system: str, settings: SalesforceSettings) -> None:
        self._system = system
        self.settings = settings
        self.client = SalesforceClient(system, settings)

    @property
    def system(self) -> str:
        """Instance name."""
        return self._system

    @property
    def mapping_digest(self) -> str:
        """Digest of the field mapping."""
        return self.settings.mapping.digest

    def link(self, record_type: str, record_id: str) -> str | None:
        """Where a person can open a record."""
        return self.settings.record_url.format(
            base_url=self.settings.base_url, object=record_type, id=record_id
        )

    async def check(self) -> list[HealthCheck]:
        """Login, address, fields, permissions, daily limit; see ``health``. Never raises."""
        return await health.check(self.client)

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    # --- reading ------------------------------------------------------------------------------------

    async def read_deal(self, deal_id: str) -> Opportunity | None:
        """A deal with lines, account hierarchy, bill-to and documents; one query in the usual case.

        Raises:
            Refused: a mapped field is missing, or values cannot be understood (all are listed).
        """
        id_ = record_id(deal_id)
        if id_ is None or not id_.startswith(OPPORTUNITY_PREFIX):
            return None
        plan, rows = await self._deal_rows(id_)
        if not rows:
            return None
        record = await self._with_all_lines(self._wire(OpportunityRecord, rows[0]))
        bill_to = rows[0].get(plan.bill_to) if plan.bill_to else None
        payer = self._wire(AccountRecord, bill_to) if bill_to else None
        if payer is not None and record.AccountId and payer.Id == record.AccountId:
            payer = None
        ancestors = await self._ancestors(record.Account, plan)
        mapper = DealMapper(self._system, self.settings.mapping, self.link)
        return mapper.to_opportunity(record, ancestors, payer)

    async def won_deals_since(self, cursor: str | None, *, limit: int = 500) -> ChangePage:
        """Won deals changed after ``cursor``, oldest first, from an overlap before it on.

        Raises:
            RateLimited: the organisation has used most of its daily calls; polling leaves the rest to sagas.
        """
        self._leave_room()
        try:
            position = Cursor.parse(cursor)
        except ValueError as error:
            raise Defect(str(error), system=self._system) from None
        queries = position.queries(
            overlap=timedelta(minutes=self.settings.overlap_minutes),
            first=self.settings.first_poll_from,
            limit=limit,
        )
        rows: list[dict[str, Any]] = []
        for soql in queries:
            if len(rows) < limit:
                rows += await self.client.query(soql, what="Looking for won deals")
        more = len(rows) >= limit
        found = [(stamp(str(row["SystemModstamp"])), str(row["Id"])) for row in rows[:limit]]
        changes = tuple(Change(ref=self._ref("Opportunity", id_), modified_at=at) for at, id_ in found)
        return ChangePage(changes=changes, cursor=str(position.after(found, more=more)), more=more)

    # --- planning -----------------------------------------------------------------------------------

    def plan_write_back(self, context: WriteContext, outcome: DealOutcome) -> list[VendorWrite]:
        """Tell a deal its project codes, status and links."""
        return plans.write_back(self._system, self.settings, context, outcome)

    def deal_ref(self, deal_id: str) -> RecordRef:
        """An Opportunity."""
        return RecordRef(system=self._system, type="Opportunity", id=deal_id)

    def account_ref(self, account_id: str) -> RecordRef:
        """An Account."""
        return RecordRef(system=self._system, type="Account", id=account_id)

    async def target_currencies(self, ref: RecordRef) -> TargetCurrencies | None:
        """The record's own currency, else the organisation's only one."""
        mapping, id_ = self.settings.mapping, record_id(ref.id)
        if id_ is None:
            return None
        fields = ["Id"] if mapping.default_currency else ["Id", "CurrencyIsoCode"]
        row = await self.client.read_one(ref.type, id_, fields, what=f"Reading the currency of {ref}")
        if row is None:
            return None
        own = mapping.default_currency or text(row.get("CurrencyIsoCode"))
        return TargetCurrencies(record=own, corporate=mapping.corporate_currency)

    def shows_margin(self, ref: RecordRef) -> bool:
        """Whether an account has a field for it; a deal never tells margin."""
        fields = self.settings.mapping.account_figures
        return ref.type == "Account" and bool(fields.margin or fields.margin_percent)

    def plan_invoice_feedback(
        self,
        context: WriteContext,
        ref: RecordRef,
        figures: Mapping[str, Figure],
        *,
        revision: str = "",
    ) -> list[VendorWrite]:
        """Show finance's figures on a deal or account; see ``plans.invoice_feedback``."""
        return plans.invoice_feedback(self._system, self.settings, context, ref, figures, revision=revision)

    def plan_scope(self, context: WriteContext, scope: ContractScope, *, agreed: bool) -> list[VendorWrite]:
        """Show what change orders made of a deal; see ``plans.scope``."""
        return plans.scope(self._system, self.settings, context, scope, agreed=agreed)

    def plan_project_status(self, context: WriteContext, closure: DealClosure) -> list[VendorWrite]:
        """Show that a deal's projects are closed; see ``plans.project_status``."""
        return plans.project_status(self._system, self.settings, context, closure)

    # --- writing ------------------------------------------------------------------------------------

    async def send(self, write: VendorWrite) -> Landed:
        """Make the call once.

        Raises:
            OutcomeUnknown: it was sent and not answered.
        """
        body = plans.with_numbers(write.body, write.options)
        answer = await self.client.write(
            write.method,
            fill(write.path, write.path_values),
            what=write.title,
            body=body,
            key=write.key,
            headers={**(self.client.save_headers if write.kind is WriteKind.CREATE else {}), **write.headers},
            record=self._target(write),
        )
        id_ = str(write.target) if write.kind is WriteKind.UPDATE else self._new_id(answer, write)
        return Landed(id=id_, url=self.link(write.record_type, id_))

    async def find(self, write: VendorWrite) -> Landed | None:
        """The record with the write's stamp, or the updated record if it shows the body's values.

        Asked by SOQL, which reads what is committed; the search index would lag.

        Raises:
            Conflict: several records carry the stamp: the external id field is not unique.
        """
        if write.kind is WriteKind.UPDATE:
            return await self._find_update(write)
        fields = ["Id", "SystemModstamp"]
        where = [Where(self.settings.mapping.saga_key, "=", write.stamp)]
        rows = await self.client.query(
            select(write.record_type, fields, where=where, limit=2), what=f"Looking: {write.title}"
        )
        if len(rows) > 1:
            raise Conflict(
                f"{write.title}: several records carry {write.stamp}.",
                cause=Cause.CLIENT_AMBIGUOUS,
                queue=Queue.MASTER_DATA,
                system=self._system,
                key=write.key,
                remedy=f"Delete the surplus ones and tick Unique on {self.settings.mapping.saga_key}.",
            )
        return self._landed(write, rows[0]) if rows else None

    async def _find_update(self, write: VendorWrite) -> Landed | None:
        row = await self.client.read_one(
            write.record_type,
            str(write.target),
            ["Id", "SystemModstamp", *write.body],
            what=f"Looking: {write.title}",
        )
        body = plans.with_numbers(write.body, write.options)
        if row is None or not all(same(value, row.get(field)) for field, value in body.items()):
            return None
        return self._landed(write, row)

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        """Each by its stamp: they may be of several objects."""
        return await together(self.find(write) for write in writes)

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        """Current values of the expected fields, in the form that they were expected in."""
        return await together(self._shown(write, one) for write, one in landed)

    async def _shown(self, write: VendorWrite, landed: Landed) -> Shown:
        row = await self._read(write, landed.id, write.expect, f"Reading back: {write.title}")
        shown = {field: comparable(expected, row.get(field)) for field, expected in write.expect.items()}
        return Shown(landed=landed, values=shown)

    async def amend(self, write: VendorWrite, landed: Landed) -> Landed:
        """Make a record that an earlier form of the write made show the write's body, by its own id.

        Raises:
            Refused: the record is gone, or the vendor's rules object.
        """
        await self.client.update(
            write.record_type,
            landed.id,
            plans.with_numbers(write.body, write.options),
            what=f"Amending: {write.title}",
            key=write.key,
        )
        return Landed(id=landed.id, values=landed.values, url=self.link(write.record_type, landed.id))

    async def before_image(self, write: VendorWrite) -> dict[str, Any]:
        """Current values of the fields in ``write.restore``; numbers as text, which survives storage."""
        row = await self._read(write, str(write.target), write.restore, f"Before: {write.title}")
        return {field: plans.storable(row.get(field)) for field in write.restore}

    async def undo(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        """Undo one landed write; see ``undoing``.

        Raises:
            Conflict: somebody changed what we wrote.
        """
        ref = self._ref(write.record_type, landed.id)
        if write.kind is WriteKind.UPDATE:
            return await undoing.undo_update(self.client, write, ref, before)
        return await undoing.undo_create(self.client, write, ref)

    # --- machinery ----------------------------------------------------------------------------------

    async def _deal_rows(self, deal_id: str) -> tuple[FieldPlan, list[dict[str, Any]]]:
        plan = await self.field_plan()
        try:
            return plan, await self.client.query(deal_query(plan, deal_id), what=f"Reading deal {deal_id}")
        except Refused as refusal:
            if refusal.failure.vendor_code != "INVALID_FIELD":
                raise
            # Access was taken away or a field removed since we asked: ask again, once.
            self.client.forget_describes()
            fresh = await self.field_plan()
            if fresh == plan:
                raise
            return fresh, await self.client.query(deal_query(fresh, deal_id), what=f"Reading deal {deal_id}")

    async def field_plan(self) -> FieldPlan:
        """The fields to select here.

        Raises:
            Refused: mapped fields are missing; reading on would take them for empty.
        """
        plan = field_plan(
            self.settings.mapping,
            await self.client.describe("Opportunity"),
            await self.client.describe("Account"),
            await self.client.describe("OpportunityLineItem"),
        )
        if plan.missing:
            self.client.forget_describes()  # the repair must be seen by the retry
            raise Refused(
                "; ".join(plan.missing) + ".",
                cause=Cause.CONFIGURATION,
                system=self._system,
                remedy="Create the field, give the integration user read access, or set the mapping's entry "
                'to "" if this organisation does without it.',
            )
        return plan

    async def _with_all_lines(self, record: OpportunityRecord) -> OpportunityRecord:
        lines = record.OpportunityLineItems
        if lines is None or lines.done:
            return record
        page = {"done": False, "nextRecordsUrl": lines.nextRecordsUrl}
        rows = await self.client.rest_of(page, what=f"Reading the lines of deal {record.Id}")
        further = tuple(self._wire(LineRecord, row) for row in rows)
        complete = lines.model_copy(update={"records": (*lines.records, *further), "done": True})
        return record.model_copy(update={"OpportunityLineItems": complete})

    async def _ancestors(self, account: AccountRecord | None, plan: FieldPlan) -> list[AccountRecord]:
        """The account's parents, nearest first; what one query does not reach is asked for."""
        found: list[AccountRecord] = []
        seen = {account.Id} if account else set()
        current = account
        while current is not None and current.ParentId:
            parent = current.Parent
            if parent is None:
                rows = await self.client.query(
                    account_query(plan, current.ParentId), what=f"Reading parent account {current.ParentId}"
                )
                if not rows:
                    raise Refused(
                        f"Account {current.Name!r} has a parent {current.ParentId} that the integration user "
                        "does not see.",
                        cause=Cause.CLIENT_MISSING,
                        queue=Queue.SALES,
                        system=self._system,
                        record=self._ref("Account", current.Id),
                        field="ParentId",
                        remedy="Give the integration user read access to the parent account.",
                    )
                parent = self._wire(AccountRecord, rows[0])
            if parent.Id in seen or len(found) >= DEPTH_LIMIT:
                raise Refused(
                    f"The parents of account {current.Name!r} go round in a circle "
                    f"or beyond {DEPTH_LIMIT} levels.",
                    cause=Cause.CLIENT_AMBIGUOUS,
                    queue=Queue.MASTER_DATA,
                    system=self._system,
                    record=self._ref("Account", current.Id),
                    field="ParentId",
                    remedy="Correct the account hierarchy.",
                )
            seen.add(parent.Id)
            found.append(parent)
            current = parent
        return found

    async def _read(
        self, write: VendorWrite, id_: str, fields: Mapping[str, Any] | Sequence[str], what: str
    ) -> dict[str, Any]:
        row = await self.client.read_one(write.record_type, id_, ["Id", *fields], what=what)
        if row is None:
            raise Refused(
                f"{what}: {write.record_type} {id_} is gone.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.SALES,
                system=self._system,
                record=self._ref(write.record_type, id_),
                key=write.key,
                remedy="Restore it from the recycle bin (15 days) or cancel the saga.",
            )
        return row

    def _leave_room(self) -> None:
        usage = self.client.usage
        if usage is None or usage.percent < self.settings.usage_ceiling_percent:
            return
        left = USAGE_PAUSE - (monotonic() - usage.at)
        if left > 0:
            raise RateLimited(
                f"{self._system} has used {usage.used} of {usage.limit} calls of 24 hours; polling pauses.",
                system=self._system,
                retry_after_seconds=max(1, round(left)),
            )

    def _wire(self, model: type[W], row: Any) -> W:
        try:
            return model.model_validate(row)
        except ValidationError as error:
            where = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors())
            raise Defect(
                f"{self._system} answered a {model.__name__} that we do not understand, at: {where}.",
                system=self._system,
            ) from None

    def _new_id(self, answer: Any, write: VendorWrite) -> str:
        return self.client.upserted(answer, what=write.title, key=write.key).id

    def _landed(self, write: VendorWrite, row: Mapping[str, Any]) -> Landed:
        id_ = str(row["Id"])
        return Landed(id=id_, version=str(row["SystemModstamp"]), url=self.link(write.record_type, id_))

    def _target(self, write: VendorWrite) -> RecordRef | None:
        return self._ref(write.record_type, str(write.target)) if write.target else None

    def _ref(self, type_: str, id_: str) -> RecordRef:
        return RecordRef(system=self._system, type=type_, id=id_, url=self.link(type_, id_))
