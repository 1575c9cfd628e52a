"""Actors under pseudonyms: put away when they act, resolved when an auditor asks, erased on request."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from canonical.saga import SYSTEM_ACTOR, Actor
from ledger.core import Core
from ledger.personal import KEY_BYTES, AesGcmSealer
from ledger.tables.person import Person

UNRECORDED = "unrecorded"
"""Pseudonym of everybody while no sealer is configured."""
_NAMES = {UNRECORDED: "(not recorded: no personal key configured)", SYSTEM_ACTOR.name: SYSTEM_ACTOR.name}


def actor_facts(actor: Actor) -> dict[str, Any]:
    """What of an actor is not personal."""
    return {"roles": list(actor.roles), "verified": actor.verified}


class People(Core):
    """People who acted, by pseudonym."""

    async def _put_person(self, session: AsyncSession, name: str) -> str:
        """Pseudonym of ``name``, known to the database when this returns."""
        if name == SYSTEM_ACTOR.name:
            return name
        if self._sealer is None:
            return UNRECORDED
        pseudonym = self._sealer.pseudonym(name)
        person = (await session.exec(select(Person).where(col(Person.pseudonym) == pseudonym))).first()
        if person is not None and person.wrapped_key is not None:
            return pseudonym
        key, aad = secrets.token_bytes(KEY_BYTES), pseudonym.encode()
        values = {
            "wrapped_key": self._sealer.encrypt(key, aad),
            "sealed_name": AesGcmSealer(key).encrypt(name.encode(), aad),
            "at": self.now(),
        }
        if person is None:
            await self.insert_ignore(session, Person, {"pseudonym": pseudonym, **values})
        else:  # Erased, and acting again: a new key, nothing old becomes readable.
            for field, value in values.items():
                setattr(person, field, value)
            session.add(person)
            await session.flush()
        return pseudonym

    async def _person_cipher(self, session: AsyncSession, pseudonym: str) -> AesGcmSealer | None:
        """The person's own cipher; None when erased, unknown or without a sealer."""
        if self._sealer is None:
            return None
        query = select(Person.wrapped_key).where(col(Person.pseudonym) == pseudonym)
        wrapped = (await session.exec(query)).first()
        return None if wrapped is None else AesGcmSealer(self._sealer.decrypt(wrapped, pseudonym.encode()))

    async def _names(self, session: AsyncSession, pseudonyms: Iterable[str]) -> dict[str, str]:
        """Names by pseudonym, with a placeholder where there is none to show."""
        wanted = set(pseudonyms)
        names = {pseudonym: _NAMES.get(pseudonym, "(unknown person)") for pseudonym in wanted}
        for person in await session.exec(select(Person).where(col(Person.pseudonym).in_(wanted))):
            if person.wrapped_key is None or person.sealed_name is None:
                names[person.pseudonym] = "(erased person)"
            elif self._sealer is None:
                names[person.pseudonym] = "(sealed: no personal key configured)"
            else:
                aad = person.pseudonym.encode()
                try:
                    own = AesGcmSealer(self._sealer.decrypt(person.wrapped_key, aad))
                    names[person.pseudonym] = own.decrypt(person.sealed_name, aad).decode()
                except Defect:
                    names[person.pseudonym] = "(sealed with another key)"
        return names


def actor_of(name: str, facts: dict[str, Any]) -> Actor:
    """An actor again, from the resolved name and the stored facts."""
    return Actor(name=name, roles=tuple(facts.get("roles", ())), verified=bool(facts.get("verified", False)))
