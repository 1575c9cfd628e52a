"""Which groups are due, what goes on their invoices, and what reviewers make of it: ledger and rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from activities.beginning import begin
from activities.billing.deciding import Deciding
from activities.billing.documents import Document, read_document
from activities.billing.lines import Figures, hold_of
from activities.contracts import (
    BeginRun,
    Draft,
    DueGroup,
    DuePage,
    ListDue,
    ReadStanding,
    ReviewDraft,
    ReviewEdits,
    RunBegun,
    SagaRef,
    SelectDraft,
    Standing,
)
from canonical.causes import Cause, Queue
from canonical.engagement import BillingMethod, Contract
from canonical.failures import Conflict, Refused
from canonical.invoicing import BillingGroup, DocumentState
from canonical.items import AllocationKind, ItemKind, PlannedAllocation
from canonical.names import SagaName, piece_number, retainer_account
from canonical.saga import HeldItems, Tally
from ledger.billing_rows import DocumentRow, DueGroupRow, ItemRow
from ledger.drafts import PartChange
from rules.caps import Slice
from rules.causes import CATALOGUE
from rules.grouping import Due, due_cycle, group_key, group_of
from rules.placing import ContractFacts
from rules.review import LineChange, contract_names, draft_review, review_changes
from rules.use import Balances, OpenItem, Used, accounts_of, use

DECISIONS = 5
"""How often a group is decided anew because somebody else was quicker."""


class Drafting(Deciding):
    """Selects, prices, reserves and changes drafts. One per worker process."""

    # --- runs -------------------------------------------------------------------------------------------

    async def begin(self, saga: SagaRef, name: SagaName, reason: str) -> RunBegun:
        """Register a run; one that has ended may be started again."""
        if saga.plan:
            return RunBegun()
        begun = await begin(self.ledger, saga, name.value, reason, again=True)
        # A run that was stopped may have skipped a number: the next one counts on from the highest.
        known = [piece_number(key) for key in await self.ledger.pieces_of(saga.saga_id)]
        return RunBegun(generation=begun.generation, pieces=max(known, default=0))

    async def begin_run(self, command: BeginRun) -> RunBegun:
        """Register a run."""
        return await self.begin(command.saga, SagaName(command.name), command.reason)

    # --- due --------------------------------------------------------------------------------------------

    async def list_due(self, command: ListDue) -> DuePage:
        """Groups with something that can be billed, each with its cycles; oldest key first."""
        if command.after is None:
            await self._come_back(command.through)
        rows = await self.ledger.due_groups(
            command.erp, command.through, after=command.after or "", limit=command.limit
        )
        found: list[DueGroup] = []
        for row in rows:
            contracts = await self.gathering.contracts({day.contract_key for day in row.days})
            cycles = await self._cycles(row, contracts, command.through)
            found += [
                DueGroup(group=row.group_key, cycle=cycle, title=_title(row, cycle), in_advance=advance)
                for cycle, advance in cycles
            ]
        full = len(rows) == command.limit
        return DuePage(groups=tuple(found), after=rows[-1].group_key if full else None)

    async def _come_back(self, through: date) -> None:
        """What reviewers moved to a later cycle is open again when its day has come."""
        while await self.ledger.release_held(due_by=through):
            pass

    async def _cycles(
        self, row: DueGroupRow, contracts: dict[str, ContractFacts], through: date
    ) -> list[tuple[str, bool]]:
        """Keys of the cycles that are due, advances first, and whether each is one."""
        invoiced = await self.ledger.invoiced_cycles(row.group_key)
        due: dict[tuple[str, bool], date] = {}
        for day in row.days:
            terms, advance = contracts.get(day.contract_key), day.kind is ItemKind.RETAINER_PERIOD
            if terms is None:
                continue
            one = due_cycle(terms.contract, day.day, through, invoiced, in_advance=advance)
            if one is not None:
                due[one.cycle.key, advance] = one.cycle.first
        return sorted(due, key=lambda key: (not key[1], due[key]))

    # --- selecting --------------------------------------------------------------------------------------

    async def select(self, command: SelectDraft) -> Draft:
        """Select, price and reserve what a group has open for a cycle. Asked again, the same draft."""
        begun = await self.begin(command.saga, SagaName.BILL_CONTRACT, "")
        if command.saga.plan:
            return Draft()
        for left in reversed(range(DECISIONS)):
            try:
                row = await self._fill(command, begun.generation)
                break
            except Conflict as error:
                if error.failure.cause is not Cause.VERSION_CONFLICT or not left:
                    raise
        if row is None:
            return Draft(generation=begun.generation, held=await self._held(command.group))
        return await self._draft(row, command, begun.generation)

    async def _fill(self, command: SelectDraft, generation: int) -> DocumentRow | None:
        items = await self.ledger.billable_items(command.group, command.through)
        contracts = await self.gathering.contracts({item.contract_key or "" for item in items} - {""})
        invoiced = await self.ledger.invoiced_cycles(command.group)
        mine = await self._without_waiting(
            [
                item
                for item in items
                if (terms := contracts.get(item.contract_key or "")) is not None
                and (due := _due(terms.contract, item, command.through, invoiced)) is not None
                and due.cycle.key == command.cycle
            ]
        )
        opened = await self._open(command, mine)
        if opened is None:
            return None
        command_id = f"{command.saga.saga_id}|g{generation}|{command.step}"

        async def decide() -> DocumentRow:
            used = await self._use(mine, contracts, opened.key)
            await self._regroup(used, mine, contracts)
            return await self.ledger.fill_document(opened.key, used.allocations, command_id=command_id)

        filled: DocumentRow = await self.ledger.together(decide)
        return None if filled.state is DocumentState.ABANDONED else filled

    async def _without_waiting(self, items: Sequence[ItemRow]) -> list[ItemRow]:
        """Work on a retainer waits for its advance's invoice: only then there is a balance to draw on."""
        drawing = {item.contract_key or "" for item in items if _draws(item)}
        pending = await self.ledger.pending_advances(drawing) if drawing else {}
        found = []
        for item in items:
            account = retainer_account(item.contract_key or "", item.line_key or "")
            first = pending.get(account) if _draws(item) else None
            if first is None or item.work_date < first:
                found.append(item)
        return found

    async def _open(self, command: SelectDraft, items: Sequence[ItemRow]) -> DocumentRow | None:
        """The open invoice of group and cycle. None where there is neither one nor anything to put on it."""
        open_states = [state for state in DocumentState if state.is_open]
        found = [
            row
            for row in await self.ledger.documents(group_key=command.group, states=open_states)
            if row.cycle == command.cycle and row.corrects is None
        ]
        if found:
            return found[0]
        group = _group(items[0]) if items else None
        if group is None:
            return None
        return await self.ledger.open_document(
            group,
            command.group,
            command.cycle,
            target=command.erp,
            region=command.saga.region,
            saga_id=command.saga.saga_id,
            on=command.through,
        )

    async def _use(
        self,
        items: Sequence[ItemRow],
        contracts: dict[str, ContractFacts],
        document: str,
    ) -> Used:
        open_items = [_open_item(item) for item in items]
        limits, retainers = accounts_of(open_items, contracts)
        balances = await self.ledger.account_balances(limits, retainers, lock=True)
        return use(
            open_items,
            contracts,
            Balances(used=balances.used, lots=balances.lots),
            document,
            order_required=frozenset(self.systems.firm.policies.purchase_order_required),
        )

    async def _regroup(
        self, used: Used, items: Sequence[ItemRow], contracts: dict[str, ContractFacts]
    ) -> None:
        """Items whose purchase order is another one by now belong into its group."""
        by_key = {item.key: item for item in items}
        groups = {}
        for key, number in used.regroup.items():
            item = by_key[key]
            contract = contracts[item.contract_key or ""].contract
            group = group_of(contract, item.project_code or "", number)
            groups[key] = (number, group, group_key(group))
        if groups:
            await self.ledger.regroup(groups)

    async def _draft(self, row: DocumentRow, command: SelectDraft, generation: int) -> Draft:
        document = await self._document(row.key)
        port = await self.systems.billing(command.erp, command.saga.mapping.get(command.erp, ""))
        shown = self._shown(document, generation, command.saga.actor.name, drafts=port.billing.drafts)
        return shown.model_copy(update={"held": await self._held(command.group)})

    def _shown(self, document: Document, generation: int, starter: str, *, drafts: bool) -> Draft:
        row, figures = document.row, Figures()
        for line in document.lines:
            figures.add("on the draft", line.item, line.billed)
        plan = document.plan()
        return Draft(
            generation=generation,
            invoice=row.key,
            title=document.title,
            lines=len(document.lines),
            net=plan.net,
            tallies=figures.tallies("on the draft"),
            review=draft_review(
                plan,
                document.terms,
                self.systems.firm.policies.billing,
                step=f"gate.review.{row.version}",
                title=f"Review of the {row.cycle} invoice of {contract_names(document.terms)}",
                starter=starter,
            ),
            sent_after_review=not drafts,
        )

    async def _document(self, key: str) -> Document:
        document = await read_document(self.ledger, self.gathering, key)
        if document is None:
            raise Refused(f"There is no invoice {key} in the ledger.", cause=Cause.RECORD_VANISHED)
        return document

    async def _held(self, group: str) -> tuple[HeldItems, ...]:
        """What of a group billing itself holds: over a cap, without a purchase order, moved."""
        page = await self.ledger.items(group_key=group, limit=1_000)
        figures = Figures()
        for item in page.rows:
            if item.held is None or not item.held.amount:
                continue
            rows = await self.ledger.allocations(item.key)
            cause = next(
                (row.cause for row in reversed(rows) if row.kind is AllocationKind.HELD and row.cause), None
            )
            if cause is not None:
                figures.hold(hold_of(cause, "", self._now()), item, item.held)
        return figures.held()

    # --- review -----------------------------------------------------------------------------------------

    async def review(self, command: ReviewDraft) -> Draft:
        """Carry out a reviewer's decisions about lines."""
        document = await self._document(command.invoice)
        edits = ReviewEdits.model_validate(command.decision.amendment)
        try:
            changes = review_changes(document.plan().lines, edits.decisions)
        except ValueError as wrong:
            raise Refused(
                f"The review of {command.invoice} cannot be carried out: {wrong}.",
                cause=Cause.UNDER_REVIEW,
                queue=Queue.BILLING,
                remedy="Look at the draft again and amend it with lines that are on it.",
            ) from None
        by_key = {line.allocation.key: line.item for line in document.lines}
        await self.ledger.change_document(
            command.invoice,
            [_part_change(change, by_key[change.allocation_key], document.row.key) for change in changes],
            command_id=command.decision.command_id,
        )
        after = await self._document(command.invoice)
        port = await self.systems.billing(after.row.target, command.saga.mapping.get(after.row.target, ""))
        saga = command.saga
        return self._shown(after, saga.generation, saga.actor.name, drafts=port.billing.drafts)

    # --- standing ---------------------------------------------------------------------------------------

    async def standing(self, command: ReadStanding) -> Standing:
        """Everything that is to be posted or billed and is not, by why."""
        groups = await self.ledger.unbilled_groups(through=command.through)
        held: dict[Cause, HeldItems] = {}
        tallies: dict[str, Tally] = {}
        for one in groups:
            tally = Tally(
                state="held" if one.cause else one.reason,
                items=one.items,
                minutes=one.minutes,
                amounts=(one.amount,) if one.amount is not None else (),
            )
            if one.cause is None:
                tallies[one.reason] = tallies[one.reason] + tally if one.reason in tallies else tally
            elif one.cause in held:
                known = held[one.cause]
                held[one.cause] = known.model_copy(update={"tally": known.tally + tally})
            else:
                queue = one.queue or CATALOGUE[one.cause].queue
                held[one.cause] = HeldItems(cause=one.cause, queue=queue, tally=tally)
        return Standing(tallies=tuple(tallies.values()), held=tuple(held.values()))


def _due(contract: Contract, item: ItemRow, through: date, invoiced: frozenset[str]) -> Due | None:
    advance = item.kind is ItemKind.RETAINER_PERIOD
    return due_cycle(contract, item.work_date, through, invoiced, in_advance=advance)


def _draws(item: ItemRow) -> bool:
    return item.kind is ItemKind.TIME and item.method is BillingMethod.RETAINER


def _group(item: ItemRow) -> BillingGroup | None:
    if item.fee is not None:
        return item.fee.group
    return item.placement.group if item.placement is not None else None


def _open_item(item: ItemRow) -> OpenItem:
    assert item.open is not None
    assert item.contract_key is not None
    return OpenItem(
        key=item.key,
        kind=item.kind,
        source_id=item.source_id,
        day=item.work_date,
        contract_key=item.contract_key,
        line_key=item.line_key,
        method=item.method,
        role=item.line.role if item.line is not None else None,
        project_code=item.project_code or "",
        purchase_order=item.purchase_order,
        minutes=item.open_minutes,
        amount=item.open,
        allowed=item.limit,
    )


def _part_change(change: LineChange, item: ItemRow, document: str) -> PartChange:
    """The slices that take a line's place."""

    def plan(kind: AllocationKind, slice_: Slice, **more: object) -> PlannedAllocation:
        return PlannedAllocation.model_validate(
            {
                "item_key": item.key,
                "kind": kind,
                "minutes": slice_.minutes,
                "amount": slice_.amount,
                "reason": change.reason,
                **more,
            }
        )

    slices: list[PlannedAllocation] = []
    if change.kept is not None:
        slices.append(plan(AllocationKind.BILLED, change.kept, document=document, billed=change.kept.amount))
    if change.held is not None:
        slices.append(plan(AllocationKind.HELD, change.held, cause=change.cause, until=change.until))
    if change.written_down is not None:
        slices.append(plan(AllocationKind.WRITTEN_DOWN, change.written_down))
    return PartChange(change.allocation_key, tuple(slices))


def _title(row: DueGroupRow, cycle: str) -> str:
    return f"{row.group.seller} to {row.group.bill_to}, {row.group.subject}, {cycle}"
