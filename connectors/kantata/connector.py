"""Kantata OX as the delivery system: the port's reads, the pure plans, and the executor's moves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from canonical.causes import Cause, Queue
from canonical.delivery import DeliveryTemplate
from canonical.failures import Conflict, Defect, Refused
from canonical.money import Money
from canonical.operations import (
    DeliverySetup,
    HealthCheck,
    PsaBaseline,
    PsaReference,
    TemplateProgress,
    WriteContext,
    delivery_symbol,
)
from canonical.refs import RecordRef
from canonical.writes import Landed, Shown, UndoOutcome, VendorWrite, WriteKind
from connectors.kantata import checks, plans, updates
from connectors.kantata.amend import amend
from connectors.kantata.client import API, FILTER_LIMIT, Envelope, KantataClient, Row
from connectors.kantata.closing import ClosingSide
from connectors.kantata.mapping import (
    Structure,
    carries,
    comparable,
    our_reference,
    same,
    slug,
    to_money,
    to_structure,
    to_template,
    to_wire,
)
from connectors.kantata.records import LISTED_BY_ID, RECORD_TYPES, read_record, read_records
from connectors.kantata.schemas import Resource, Role, Story, Template, Workspace, parse
from connectors.kantata.settings import KantataSettings
from connectors.kantata.undo import Undo
from connectors.kit.http import escape, fill
from connectors.kit.together import parted, together

_NOT_READ_BY_ID = frozenset({"external_references", "external_payments"})
"""Record types of which Kantata documents lists only."""


class KantataConnector(ClosingSide):
    """One Kantata OX account. Implements ``PsaPort``; ``DeliveryFeed`` and changes by its other halves."""

    def __init__(self, system: str, settings: KantataSettings) -> None:
        self._client = KantataClient(system, settings)
        super().__init__(system, settings, self._client)
        self._mapping = settings.mapping
        self._undo = Undo(system, self._client, settings.mapping)

    # --- ConnectedSystem --------------------------------------------------------------------------

    @property
    def system(self) -> str:
        """Instance name."""
        return self._system

    @property
    def mapping_digest(self) -> str:
        """Digest of the field mapping."""
        return self._settings.mapping_digest()

    def link(self, record_type: str, record_id: str) -> str | None:
        """The configured page of a record, else its address in the API (Kantata documents no pages)."""
        template = self._settings.link_templates.get(record_type)
        if template is not None:
            return fill(template, {"id": record_id})
        return f"{self._settings.base_url}{API}/{record_type}/{escape(record_id)}"

    async def check(self) -> list[HealthCheck]:
        """What ``doctor`` shows: token, reachability, permissions, custom fields, roles."""
        return await checks.run(self._system, self._settings, self._client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    # --- PsaPort: reads ---------------------------------------------------------------------------

    async def read_reference(self, *, templates: Sequence[str], roles: Sequence[str]) -> PsaReference:
        """Templates by title with what they bring, and the roles that exist, with their ids."""
        ids, found = await asyncio.gather(
            self._role_ids(roles),
            together(self._template(title, roles) for title in dict.fromkeys(templates)),
        )
        known = {role: ids.get(self._mapping.role_title(role).casefold()) for role in dict.fromkeys(roles)}
        return PsaReference(
            system=self._system,
            templates=tuple(one for one in found if one is not None),
            roles=tuple(role for role, role_id in known.items() if role_id is not None),
            role_ids={role: role_id for role, role_id in known.items() if role_id is not None},
            limits=self._mapping.limits_in_force(),
            serial_creation=True,
        )

    async def template_progress(self, setup: DeliverySetup, values: Mapping[str, str]) -> TemplateProgress:
        """What is there so far without what we added ourselves: a repeated step must count the same."""
        delivery = delivery_symbol(setup.project.key)
        project_id = values[f"{delivery}.id"]
        structure = await self._structure(project_id, setup, without_ours=True)
        made = {f"{delivery}.id": project_id}
        numbers: dict[str, int] = {}
        for role, resource_ids in structure.unnamed.items():
            for resource_id in resource_ids:
                number = numbers[slug(role)] = numbers.get(slug(role), 0) + 1
                made[f"{delivery}.{updates.placeholder_field(role, number)}"] = resource_id
        return TemplateProgress(
            tasks=structure.tasks,
            milestones=structure.milestones,
            placeholders=structure.placeholders,
            fingerprint=structure.fingerprint,
            values=made,
        )

    async def read_baseline(self, setup: DeliverySetup, values: Mapping[str, str]) -> PsaBaseline:
        """What Kantata holds of the project, everything counted.

        Raises:
            Conflict: the project is gone.
            Refused: the integration user may not see its money.
        """
        project_id = values[f"{delivery_symbol(setup.project.key)}.id"]
        what = f"Baseline of {setup.project.title}"
        (row, envelope), structure = await asyncio.gather(
            self._existing("workspaces", project_id, what, custom_fields=True),
            self._structure(project_id, setup, without_ours=False),
        )
        project = parse(Workspace, row, self._system)
        now = comparable("workspaces", row, envelope, self._mapping, self._system)
        budget = self._budget(project)
        keys, stage = self._mapping.status_keys, self._mapping.active_stage
        active = not project.archived
        active = active and (keys.active is None or project.status_id == keys.active)
        active = active and (stage is None or project.stage == stage)
        return PsaBaseline(
            delivery_key=setup.project.key,
            project_code=now["project_code"] or "",
            title=project.title,
            currency=budget.currency,
            budget=budget,
            tasks=structure.tasks,
            milestones=structure.milestones,
            placeholders={role: len(ids) for role, ids in structure.unnamed.items()},
            active=active,
            ref=self._ref("workspaces", project_id),
        )

    # --- PsaPort: plans ---------------------------------------------------------------------------

    def plan_client(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """The client's group."""
        return plans.plan_client(self._system, self._settings, context, setup)

    def plan_project(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """The project with its template applied by the create."""
        return plans.plan_project(self._system, self._settings, context, setup)

    def plan_structure(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """Milestones, further placeholders, negotiated rates."""
        return plans.plan_structure(self._system, self._settings, context, setup)

    def plan_activation(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """Open the project for work."""
        return updates.plan_activation(self._system, self._settings, context, setup)

    # --- Writer -----------------------------------------------------------------------------------

    async def send(self, write: VendorWrite) -> Landed:
        """Make the call once."""
        if write.method == "DELETE":
            await self._client.delete(write.record_type, str(write.target), what=write.title, key=write.key)
            return Landed(id=str(write.target))
        envelope = await self._client.write(
            write.method,
            fill(write.path, write.path_values),
            write.record_type,
            to_wire(write.body),
            what=write.title,
            key=write.key,
        )
        if not envelope.rows:
            raise Defect(f"{write.title}: {self._system} answered no {write.record_type}.", key=write.key)
        return self._landed(write.record_type, envelope.rows[0])

    async def find(self, write: VendorWrite) -> Landed | None:
        """By stamp (create, archived projects included) or by current values (update).

        Raises:
            Conflict: two records carry the stamp; Kantata enforces no uniqueness.
        """
        if write.method == "DELETE":
            return None if await self._held(write) else Landed(id=str(write.target))
        if write.kind is WriteKind.UPDATE:
            found = await read_record(
                self._client, write.record_type, str(write.target), what=f"Looking at {write.title}"
            )
            if found is None:
                return None
            now = comparable(write.record_type, *found, self._mapping, self._system)
            wanted = write.body[write.body_root]
            shows = all(same(value, now.get(name)) for name, value in wanted.items())
            return self._landed(write.record_type, found[0]) if shows else None
        return self._only(write, await self._candidates(write))

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        """By stamp, one list for all records of a type and operation.

        Raises:
            Conflict: two records carry one stamp; Kantata enforces no uniqueness.
        """
        groups: dict[tuple[str, str], list[VendorWrite]] = defaultdict(list)
        for write in writes:
            groups[write.record_type, write.operation].append(write)
        parts = [part for group in groups.values() for part in parted(group, FILTER_LIMIT)]
        found: dict[str, Landed | None] = {}
        for part, rows in zip(parts, await together(self._stamped(part) for part in parts), strict=True):
            found |= {write.key: self._only(write, rows[write.key]) for write in part}
        return [found[write.key] for write in writes]

    def _only(self, write: VendorWrite, rows: Sequence[Row]) -> Landed | None:
        """The one record that carries a write's stamp, or none."""
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            raise Conflict(
                f"{write.title} exists {len(rows)} times in {self._system} ({write.record_type} {ids}).",
                queue=Queue.DELIVERY,
                system=self._system,
                record=self._ref(write.record_type, str(rows[0]["id"])),
                remedy="Delete the superfluous ones in Kantata, then retry the step.",
                key=write.key,
            )
        return self._landed(write.record_type, rows[0]) if rows else None

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        """Current values of exactly what the writes expect; records of one type by one list.

        Raises:
            Conflict: a record is gone.
        """
        kinds: dict[str, list[tuple[VendorWrite, Landed]]] = defaultdict(list)
        for write, one in landed:
            kinds[write.record_type].append((write, one))
        shown: dict[str, Shown] = {}
        for part in await together(self._shown(kind, pairs) for kind, pairs in kinds.items()):
            shown |= part
        return [shown[write.key] for write, _ in landed]

    async def _shown(self, kind: str, pairs: Sequence[tuple[VendorWrite, Landed]]) -> dict[str, Shown]:
        if len(pairs) > 1 and kind in LISTED_BY_ID:
            ids = [one.id for _, one in pairs]
            rows = await read_records(self._client, kind, ids, what=f"Reading back {len(ids)} {kind}")
            values: list[Mapping[str, Any]] = [
                comparable(kind, *self._there(rows.get(one.id), write, one), self._mapping, self._system)
                for write, one in pairs
            ]
        else:
            values = await together(self._values(write, one) for write, one in pairs)
        # Numbers are answered in the form in which they were expected, so that equal values compare equal.
        return {
            write.key: Shown(
                landed=one,
                values={
                    name: wanted if same(wanted, now.get(name)) else now.get(name)
                    for name, wanted in write.expect.items()
                },
            )
            for (write, one), now in zip(pairs, values, strict=True)
        }

    async def _values(self, write: VendorWrite, landed: Landed) -> Mapping[str, Any]:
        """One record's current values under the names that expectations use."""
        if write.method == "DELETE":
            return {"gone": not await self._held(write)}
        if write.record_type in _NOT_READ_BY_ID:
            return next((one for one in await self._candidates(write) if str(one["id"]) == landed.id), {})
        found = await self._existing(
            write.record_type,
            landed.id,
            f"Reading back {write.title}",
            custom_fields="project_code" in write.expect,
        )
        return comparable(write.record_type, *found, self._mapping, self._system)

    async def amend(self, write: VendorWrite, landed: Landed) -> Landed:
        """Bring a record that an earlier form of the create made up to date, field by field.

        Raises:
            Refused: Kantata cannot change it; see ``amend.CHANGEABLE``.
        """
        if write.record_type == "external_references":
            return await self.send(write)
        await amend(self._client, self._mapping, self._system, write, landed)
        return landed

    async def before_image(self, write: VendorWrite) -> dict[str, Any]:
        """Current values of the fields that an undo puts back."""
        found = await self._existing(write.record_type, str(write.target), f"Before {write.title}")
        now = comparable(write.record_type, *found, self._mapping, self._system)
        return {name: now.get(name) for name in write.restore}

    async def undo(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        """Undo one landed write; see the README's table."""
        if write.kind is WriteKind.UPDATE:
            return await self._undo.update(write, landed, before)
        return await self._undo.create(write, landed)

    # --- helpers ----------------------------------------------------------------------------------

    async def _held(self, write: VendorWrite) -> bool:
        """Whether the reference that a write takes off is still there."""
        query = {name: str(write.options[name]) for name in ("subject_type", "subject_id")}
        envelope = await self._client.list(write.record_type, what=f"Looking at {write.title}", query=query)
        return any(str(row["id"]) == str(write.target) for row in envelope.rows)

    async def _candidates(self, write: VendorWrite) -> list[Row]:
        """Records that carry the write's stamp."""
        rules, what = RECORD_TYPES[write.record_type], f"Looking for {write.title}"
        if write.record_type == "external_references":
            wanted = write.body[write.body_root]
            query = {name: str(wanted[name]) for name in ("subject_type", "subject_id", "service_name")}
            envelope = await self._client.list(write.record_type, what=what, query=query)
            return [
                row
                for row in envelope.rows
                if all(
                    same(wanted[name], row.get(name))
                    for name in (*query, "service_model", "service_model_ref")
                )
            ]
        if write.record_type == "external_payments":
            # It takes no external reference: the stamp travels in its message.
            invoice = str(write.body[write.body_root]["invoice_id"])
            query = {"invoice_id": invoice, "include": ",".join(rules.include)}
            envelope = await self._client.list(write.record_type, what=what, query=query)
            return [row for row in envelope.rows if write.stamp in str(row.get("message") or "")]
        return (await self._stamped([write]))[write.key]

    async def _stamped(self, writes: Sequence[VendorWrite]) -> dict[str, list[Row]]:
        """Records that carry the writes' stamps, by effect key; all of one type and operation."""
        first, service = writes[0], self._mapping.service_name
        rules = RECORD_TYPES[first.record_type]
        query = {
            "external_reference_service_name": service,
            "external_reference_service_model": first.operation,
            # The plural filter takes text; the singular one is typed integer.
            "external_reference_service_model_refs": ",".join(write.stamp for write in writes),
            "include": ",".join(rules.include),
            **rules.in_lists,
        }
        what = f"Looking for {first.title}" if len(writes) == 1 else f"Looking for {len(writes)} records"
        envelope = await self._client.list(first.record_type, what=what, query=query)
        return {
            write.key: [
                row for row in envelope.rows if carries(row, envelope, service, write.operation, write.stamp)
            ]
            for write in writes
        }

    async def _existing(
        self, kind: str, record_id: str, what: str, *, custom_fields: bool = False
    ) -> tuple[Row, Envelope]:
        found = await read_record(self._client, kind, record_id, what=what, custom_fields=custom_fields)
        return found or self._gone(kind, record_id, what)

    def _there(
        self, found: tuple[Row, Envelope] | None, write: VendorWrite, landed: Landed
    ) -> tuple[Row, Envelope]:
        return found or self._gone(write.record_type, landed.id, f"Reading back {write.title}")

    def _gone(self, kind: str, record_id: str, what: str) -> NoReturn:
        raise Conflict(
            f"{what}: {kind} {record_id} is not in {self._system} any more.",
            cause=Cause.RECORD_VANISHED,
            queue=Queue.DELIVERY,
            system=self._system,
            record=self._ref(kind, record_id),
            remedy="Find out in Kantata who removed it, then repair or undo the saga.",
        )

    async def _structure(self, project_id: str, setup: DeliverySetup, *, without_ours: bool) -> Structure:
        stories, resources = await together(
            self._of_project(kind, project_id, without_ours) for kind in ("stories", "workspace_resources")
        )
        parsed = [parse(Resource, row, self._system) for row in resources.rows]
        titles = {
            role_id: str(side["name"])
            for role_id, side in resources.sides.get("roles", {}).items()
            if "name" in side
        }
        return to_structure(
            [parse(Story, row, self._system) for row in stories.rows],
            parsed,
            titles,
            self._mapping,
            setup.role_ids,
        )

    async def _of_project(self, kind: str, project_id: str, without_ours: bool) -> Envelope:
        envelope = await self._client.list(
            kind,
            what=f"Reading {kind} of project {project_id}",
            query={"workspace_id": project_id, "include": ",".join(RECORD_TYPES[kind].include)},
        )
        envelope.rows = [
            row
            for row in envelope.rows
            if str(row.get("workspace_id", project_id)) == project_id
            and not (without_ours and our_reference(row, envelope, self._mapping.service_name))
        ]
        return envelope

    async def _role_ids(self, roles: Sequence[str]) -> dict[str, str]:
        """Ids by folded name of all roles; none when no roles are wanted."""
        if not roles:
            return {}
        envelope = await self._client.list("roles", what="Reading roles", query={})
        known = [parse(Role, row, self._system) for row in envelope.rows]
        return {role.name.casefold(): role.id for role in sorted(known, key=lambda one: -int(one.id))}

    async def _template(self, title: str, roles: Sequence[str]) -> DeliveryTemplate | None:
        envelope = await self._client.list(
            "project_templates",
            what=f"Reading template {title}",
            query={
                "by_title": title,
                "include": "project_template_assignments",
                "optional_fields": "raw_json",
            },
        )
        pinned = self._mapping.template_ids.get(title)
        # The filter may match parts of titles.
        rows = [row for row in envelope.rows if parse(Template, row, self._system).title == title]
        if pinned is not None:
            rows = [row for row in rows if str(row["id"]) == str(pinned)]
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            raise Refused(
                f"{self._system} has {len(rows)} project templates titled {title!r} (ids {ids}).",
                cause=Cause.TEMPLATE_MISSING,
                queue=Queue.DELIVERY,
                system=self._system,
                remedy="Rename one of them in Kantata, or name the right id in template_ids.",
            )
        return to_template(rows[0], envelope, self._mapping, self._system, roles) if rows else None

    def _budget(self, project: Workspace) -> Money:
        if project.price_in_cents is None or not project.currency_base_unit or not project.currency:
            raise Refused(
                f"Project {project.id} shows no budget or currency to the integration user.",
                cause=Cause.CREDENTIALS_REJECTED,
                system=self._system,
                record=self._ref("workspaces", project.id),
                remedy="Give the integration user financial access to the project (account administrator).",
            )
        return to_money(project.price_in_cents, project.currency_base_unit, project.currency)

    def _landed(self, kind: str, row: Row) -> Landed:
        record_id = str(row["id"])
        version = row.get("updated_at")
        return Landed(
            id=record_id,
            values={"id": record_id},
            version=None if version is None else str(version),
            url=self.link(kind, record_id),
        )

    def _ref(self, kind: str, record_id: str) -> RecordRef:
        return RecordRef(system=self._system, type=kind, id=record_id, url=self.link(kind, record_id))
