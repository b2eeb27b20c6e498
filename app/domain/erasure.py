"""Erasing a concept: what has to go, what has to be made again, and on top of what (docs/erasure.md).

A version *holds* a concept when it, or an ancestor, has learned it. Of those that do, the ones that learned it go
without a successor; every other one is made again on top of its parent's stand-in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from app.domain.errors import Fault, InvalidInputError
from app.domain.strategies import StrategyOptions


class EraseMode(StrEnum):
    """`refold`: later factors stay, and are folded without the concept's. `retrain`: they are trained again."""

    REFOLD = "refold"
    RETRAIN = "retrain"


@dataclass(frozen=True)
class Member:
    """A version as erasing sees it."""

    id: UUID
    number: int
    parent_id: UUID | None
    concept_id: UUID | None


@dataclass(frozen=True)
class Affected:
    """The versions that hold the concept, parents before children: those that go, and those that are made again."""

    gone: tuple[UUID, ...]
    remade: tuple[UUID, ...]
    parents: Mapping[UUID, UUID | None]

    def all(self) -> tuple[UUID, ...]:
        """All that hold it."""
        return self.gone + self.remade

    def stand_in(self, version_id: UUID, made: Mapping[UUID, UUID]) -> UUID:
        """The version that takes the place of another: itself, what was `made` of it, or its parent's stand-in."""
        gone = frozenset(self.gone)
        while version_id in gone:
            parent = self.parents[version_id]
            assert parent is not None, "version 0 has learned nothing"
            version_id = parent
        return made.get(version_id, version_id)


def affected(members: Sequence[Member], concept_id: UUID) -> Affected:
    """Which versions hold the concept. `members`: all that share one version 0; numbers grow from parent to child."""
    gone: list[UUID] = []
    remade: list[UUID] = []
    held: set[UUID] = set()
    for member in sorted(members, key=lambda member: member.number):
        if member.concept_id == concept_id:
            gone.append(member.id)
        elif member.parent_id in held:
            remade.append(member.id)
        else:
            continue
        held.add(member.id)
    return Affected(tuple(gone), tuple(remade), {member.id: member.parent_id for member in members})


def insist_on_refold(later: Sequence[tuple[int, StrategyOptions | None]]) -> None:
    """Check that the versions to be made again, by number and strategy, can be folded without what came before.

    Raises:
        InvalidInputError: some have to be trained again.
    """
    bound = [f"{number} ({options.name})" for number, options in later if options is not None and not options.refolds]
    if bound:
        message = "these versions carry it in their own factors, and have to be trained again (mode retrain)"
        fault = Fault(field="mode", message=f"{message}: {', '.join(bound)}")
        raise InvalidInputError("The concept cannot be folded out of the versions that follow it.", (fault,))
