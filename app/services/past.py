"""What a new version will stand on, and what must not be there."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.queries import ancestry, unfinished_publishing
from app.db.tables import Lineage, Version
from app.domain.chains import changed_within_run
from app.domain.concepts import TaughtConcept
from app.domain.errors import ConflictError
from app.domain.jobs import ImportParams, TrainParams
from app.domain.strategies import StrategyOptions
from app.domain.training import TrainingOptions

Taught = tuple[UUID | None, TaughtConcept]
"""A learned concept, and its id unless it is deleted."""


@dataclass(frozen=True)
class Past:
    """A head's ancestry, and the jobs that publish before the new version."""

    ancestry: Sequence[Version]
    pending: Sequence[TrainParams | ImportParams]

    @classmethod
    async def of(cls, session: AsyncSession, lineage: Lineage, head_version_id: UUID) -> "Past":
        """The past that the lineage has, or would have, with that head."""
        jobs = (await session.scalars(unfinished_publishing(lineage.id))).all()
        asked = [job.params for job in jobs if job.cancel_requested_at is None]
        pending = [params for params in asked if isinstance(params, TrainParams | ImportParams)]
        return cls(await ancestry(session, head_version_id), pending)

    def taught(self) -> list[Taught]:
        """Every concept that is learned before the new version."""
        return [*self._learned(), *((p.concept_id, p.taught) for p in self.pending if p.taught is not None)]

    def parent_options(self) -> tuple[StrategyOptions, TrainingOptions] | None:
        """How the version that will be the parent is trained; None for the base."""
        if self.pending:
            last = self.pending[-1]
            return (last.strategy, last.training) if isinstance(last, TrainParams) else None
        return self._head_options()

    def insist_on_room_for_pending(self) -> None:
        """The pending jobs were accepted on top of another head; they must be acceptable on this one.

        Raises:
            ConflictError: one of them is not.
        """
        learned = self._learned()
        for params in self._trainings():
            if teaches_again(learned, params.concept_id, params.taught.name):
                raise ConflictError(f"An unfinished job teaches {params.taught.name}, as that version does; cancel it.")
            if changed_within_run(self._head_options(), (params.strategy, params.training)):
                detail = f"An unfinished job that teaches {params.taught.name} cannot go on from there; cancel it."
                raise ConflictError(detail)

    def _trainings(self) -> list[TrainParams]:
        """Without an import, which is only accepted where there is no other head to choose."""
        return [params for params in self.pending if isinstance(params, TrainParams)]

    def _learned(self) -> list[Taught]:
        return [(version.concept_id, version.taught) for version in self.ancestry if version.taught is not None]

    def _head_options(self) -> tuple[StrategyOptions, TrainingOptions] | None:
        head = self.ancestry[-1]
        return None if head.strategy is None or head.training is None else (head.strategy, head.training)


def teaches_again(learned: Sequence[Taught], concept_id: UUID, name: str) -> bool:
    """Whether a concept is learned already. Its name is what prompts go by, so another of that name is no better."""
    return any(concept_id == other_id or name == taught.name for other_id, taught in learned)
