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
from app.domain.jobs import NewVersionParams, TrainParams
from app.domain.strategies import StrategyOptions
from app.domain.training import TrainingOptions

Taught = tuple[UUID | None, TaughtConcept]
"""A learned concept, and its id unless it is deleted."""


@dataclass(frozen=True)
class Past:
    """A head's ancestry, and the jobs that publish before the new version."""

    ancestry: Sequence[Version]
    pending: Sequence[NewVersionParams]

    @classmethod
    async def of(cls, session: AsyncSession, lineage: Lineage, head_version_id: UUID) -> "Past":
        """The past that the lineage has, or would have, with that head."""
        jobs = (await session.scalars(unfinished_publishing(lineage.id))).all()
        asked = [job.params for job in jobs if job.cancel_requested_at is None]
        pending = [params for params in asked if isinstance(params, NewVersionParams)]
        return cls(await ancestry(session, head_version_id), pending)

    def taught(self) -> list[Taught]:
        """Every concept that is learned before the new version."""
        pending = [(params.concept_id, concept) for params in self.pending for concept in concepts_taught_by(params)]
        return [*self._learned(), *pending]

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
        for params in self.pending:
            for concept in concepts_taught_by(params):
                if teaches_again(learned, params.concept_id, concept.name):
                    raise ConflictError(f"An unfinished job teaches {concept.name}, as that version does; cancel it.")
        first = self.pending[0] if self.pending else None
        if isinstance(first, TrainParams) and changed_within_run(
            self._head_options(), (first.strategy, first.training)
        ):
            detail = f"An unfinished job that teaches {first.taught.name} cannot go on from there; cancel it."
            raise ConflictError(detail)

    def insist_on_apart(self, new: Sequence[TaughtConcept]) -> None:
        """What an imported file teaches has other names and other words than what is learned already.

        Raises:
            ConflictError: two of them could not be told apart in a prompt.
        """
        for _, known in self.taught():
            for concept in new:
                if concept.name == known.name:
                    raise ConflictError(f"This lineage has learned a concept named {concept.name}, or is about to.")
                if concept.shares_words_with(known):
                    detail = (
                        f"The file answers to {concept.token!r}, and here {known.token!r} stands for <{known.name}>."
                    )
                    raise ConflictError(f"{detail} A prompt could not tell them apart.")

    def _learned(self) -> list[Taught]:
        return [(version.concept_id, concept) for version in self.ancestry for concept in version.every_concept()]

    def _head_options(self) -> tuple[StrategyOptions, TrainingOptions] | None:
        head = self.ancestry[-1]
        return None if head.strategy is None or head.training is None else (head.strategy, head.training)


def concepts_taught_by(params: NewVersionParams) -> tuple[TaughtConcept, ...]:
    """What an unfinished job is to teach."""
    return (params.taught,) if isinstance(params, TrainParams) else params.every_concept()


def teaches_again(learned: Sequence[Taught], concept_id: UUID | None, name: str) -> bool:
    """Whether a concept is learned already. Its name is what prompts go by, so another of that name is no better."""
    return any(
        (concept_id is not None and concept_id == other_id) or name == taught.name for other_id, taught in learned
    )
