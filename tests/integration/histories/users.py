"""What users ask for, through the use cases that routes call, beside the model: who is refused, and how."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from app.domain.erasure import EraseMode
from app.domain.errors import ConflictError, ErasedError, InvalidInputError, NotFoundError, PalimpsestError
from app.domain.evaluations import EvaluationPolicy
from app.domain.jobs import GenerateResult, JobKind, JobStatus
from app.domain.quotas import Quota
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOverrides
from app.services.branching import branch_lineage, promote, roll_back
from app.services.concepts import delete_concept
from app.services.context import Work
from app.services.erasures import submit_erasure
from app.services.generations import NewGeneration, delete_generation, submit_generation
from app.services.jobs import PlacedJob, cancel_job
from app.services.lineages import create_lineage, delete_lineage
from app.services.quotas import insist_on_room
from app.services.training import submit_training
from app.services.users import delete_user
from tests.integration.histories.model import (
    Model,
    ModelConcept,
    ModelGeneration,
    ModelJob,
    ModelLineage,
    ModelUser,
    ModelVersion,
)
from tests.integration.histories.place import BASE, Place

MOST_LINEAGES = 7
MOST_CONCEPTS = 10

Refusal = type[PalimpsestError] | None
T = TypeVar("T")


@dataclass(frozen=True)
class Picked:
    """A user, and a lineage, a concept and a number, which may be theirs or not, there or not."""

    user: ModelUser
    lineage: ModelLineage
    concept: ModelConcept
    number: int


@dataclass(frozen=True)
class Users:
    """The users of one history. Each move draws what it asks for."""

    place: Place
    model: Model
    tally: Counter[str]

    # What a history begins with.

    def add_user(self) -> ModelUser:
        """One more, with an empty lineage and a concept."""
        user = ModelUser(self.place.new_user())
        self.model.users.append(user)
        self.add_lineage(user)
        self.add_concept(user)
        return user

    def add_concept(self, user: ModelUser) -> ModelConcept:
        """One that nobody has learned."""
        concept = ModelConcept(self.place.new_concept(user.id), user)
        self.model.concepts.append(concept)
        return concept

    def add_lineage(self, user: ModelUser) -> None:
        """An empty one."""

        async def create(work: Work) -> UUID:
            await insist_on_room(work, user.id, {Quota.LINEAGES: 1})
            options = (MergeOptions(), TrainingOverrides(), EvaluationPolicy())
            made = await create_lineage(work.session, user.id, "line", BASE.name, *options, allow_changed_base=False)
            return made[0].id

        created = self.place.ask(create)
        assert isinstance(created, UUID)
        base = ModelVersion(0, None, None)
        lineage = ModelLineage(created, user, base)
        base.owner = lineage
        self.model.lineages.append(lineage)
        self.model.versions.append(base)

    # Who asks for what: mostly the owner, now and then somebody else; mostly what is there.

    def pick(self, draw: random.Random, prefers: Callable[[ModelLineage, ModelConcept], bool] | None = None) -> Picked:
        """Somebody, and what they name; a concept that suits the lineage, if there is one."""
        there = [lineage for lineage in self.model.lineages if not lineage.is_deleted]
        lineage = draw.choice(there if there and draw.random() < 0.9 else self.model.lineages)
        user = lineage.user if draw.random() < 0.9 else draw.choice(self.model.users)
        shown = list(self.model.shown(lineage))
        number = draw.choice([*shown * 3, *lineage.erased, 99])
        concepts = [concept for concept in self.model.concepts if prefers is None or prefers(lineage, concept)]
        concept = draw.choice(concepts if concepts and draw.random() < 0.8 else self.model.concepts)
        return Picked(user, lineage, concept, number)

    def _is_new(self, lineage: ModelLineage, concept: ModelConcept) -> bool:
        is_own = concept.user is lineage.user and not concept.is_deleted
        return is_own and not lineage.head.has_learned(concept) and concept not in self.model.pending(lineage)

    def _is_learned(self, lineage: ModelLineage, concept: ModelConcept) -> bool:
        return bool(self.model.holding(lineage, concept))

    def sees(self, picked: Picked) -> bool:
        """Whether the lineage is the user's, and there."""
        return picked.lineage.user is picked.user and not picked.lineage.is_deleted

    def _refused(self, picked: Picked, unknown: type[PalimpsestError]) -> Refusal:
        """How a request that names a version is refused, if it is for that name."""
        if not self.sees(picked):
            return NotFoundError
        if picked.number in self.model.shown(picked.lineage):
            return None
        return ErasedError if picked.number in picked.lineage.erased else unknown

    def expect(self, refusal: Refusal, act: Callable[[Work], Awaitable[T]]) -> T | None:
        """The answer, which must be that refusal if there is to be one."""
        answer = self.place.ask(act)
        if refusal is not None:
            assert answer is refusal, f"{answer} instead of {refusal}"
            self.tally[f"requests refused: {refusal.slug}"] += 1
            return None
        assert not isinstance(answer, type), f"refused: {answer}"
        self.tally["requests granted"] += 1
        return answer

    # The moves.

    def new_user(self, _: random.Random) -> None:
        """One more."""
        self.add_user()

    def new_concept(self, draw: random.Random) -> None:
        """For one of the users that are there."""
        self.add_concept(draw.choice(self.model.there_users()))

    def new_lineage(self, draw: random.Random) -> None:
        """For one of the users that are there."""
        self.add_lineage(draw.choice(self.model.there_users()))

    def train(self, draw: random.Random) -> None:
        """A concept, on a lineage."""
        self.submit_training(self.pick(draw, self._is_new))

    def submit_training(self, picked: Picked) -> None:
        """Granted or not."""
        user, lineage, concept = picked.user, picked.lineage, picked.concept
        refusal: Refusal = None
        if not self.sees(picked) or concept.user is not user or concept.is_deleted:
            refusal = NotFoundError
        elif lineage.head.has_learned(concept) or concept in self.model.pending(lineage):
            refusal = ConflictError
        placed = self.expect(
            refusal, lambda work: submit_training(work, user.id, lineage.id, concept.id, TrainingOverrides())
        )
        if placed is not None:
            self._queue(placed, ModelJob(placed[0].id, lineage, JobKind.TRAIN, concept))

    def _queue(self, placed: PlacedJob, job: ModelJob) -> None:
        self.model.jobs.append(job)
        assert placed[1] == self.model.position(job)

    def generate(self, draw: random.Random) -> None:
        """Pictures of a version."""
        picked = self.pick(draw)
        asked = (picked.number, "a cat", None, 1, 1, 2, 1.0)
        new = NewGeneration(picked.lineage.id, *asked, exact=False, width=None, height=None)
        placed = self.expect(
            self._refused(picked, InvalidInputError), lambda work: submit_generation(work, picked.user.id, new)
        )
        if placed is not None:
            assert isinstance(placed[0].result, GenerateResult)
            version = self.model.shown(picked.lineage)[picked.number]
            generation = ModelGeneration(placed[0].result.generation_id, version)
            self.model.generations.append(generation)
            self._queue(placed, ModelJob(placed[0].id, picked.lineage, JobKind.GENERATE, generation=generation))

    def erase(self, draw: random.Random) -> None:
        """A concept, from everything over a lineage's version 0."""
        picked, mode = self.pick(draw, self._is_learned), draw.choice(list(EraseMode))
        concept, lineage = picked.concept, picked.lineage
        placed = self.expect(
            self._refused_erasure(picked, mode),
            lambda work: submit_erasure(work, picked.user.id, lineage.id, concept.id, mode),
        )
        if placed is not None:
            self._queue(placed, ModelJob(placed[0].id, lineage, JobKind.ERASE, concept, mode=mode))

    def _refused_erasure(self, picked: Picked, mode: EraseMode) -> Refusal:
        concept = picked.concept
        if not self.sees(picked) or concept.user is not picked.user or concept.is_purged:
            return NotFoundError
        remade = self.model.remade(picked.lineage, concept)
        lost = [version for version in remade if version.concept is not None and version.concept.is_deleted]
        erasing = [job.concept for job in self.model.jobs if job.kind is JobKind.ERASE and job.is_unfinished()]
        is_nowhere = not self.model.holding(picked.lineage, concept)
        if is_nowhere or (mode is EraseMode.RETRAIN and lost) or concept in erasing:
            return ConflictError
        return None

    def branch(self, draw: random.Random) -> None:
        """From a version."""
        picked = self.pick(draw)
        fork = self.model.shown(picked.lineage).get(picked.number)
        options = ("branch", None, TrainingOverrides())
        answer = self.expect(
            self._refused(picked, InvalidInputError),
            lambda work: branch_lineage(work, picked.user.id, picked.lineage.id, picked.number, *options),
        )
        if answer is not None:
            assert fork is not None
            self.model.lineages.append(ModelLineage(answer[0].id, picked.user, fork, fork, fork.number + 1))

    def _is_in_the_way(self, lineage: ModelLineage, head: ModelVersion) -> bool:
        return any(head.has_learned(concept) for concept in self.model.pending(lineage))

    def roll_back(self, draw: random.Random) -> None:
        """To a version."""
        picked = self.pick(draw)
        lineage, version = picked.lineage, self.model.shown(picked.lineage).get(picked.number)
        refusal = self._refused(picked, InvalidInputError)
        if refusal is None:
            assert version is not None
            is_behind = version in lineage.head.line()[1:]
            refusal = ConflictError if not is_behind or self._is_in_the_way(lineage, version) else None
        self.expect(refusal, lambda work: roll_back(work.session, picked.user.id, lineage.id, picked.number))
        if refusal is None and version is not None:
            lineage.head = version

    def promote(self, draw: random.Random) -> None:
        """A version."""
        picked = self.pick(draw)
        lineage, version = picked.lineage, self.model.shown(picked.lineage).get(picked.number)
        refusal = self._refused(picked, NotFoundError)
        if refusal is None:
            assert version is not None
            is_aside = version not in lineage.head.line()
            refusal = ConflictError if not is_aside or self._is_in_the_way(lineage, version) else None
        self.expect(refusal, lambda work: promote(work.session, picked.user.id, lineage.id, picked.number))
        if refusal is None and version is not None:
            lineage.head = version
            version.is_held &= version.owner is not lineage

    def _somebody(self, draw: random.Random, job: ModelJob) -> ModelUser:
        return job.lineage.user if draw.random() < 0.8 else draw.choice(self.model.users)

    def cancel(self, draw: random.Random) -> None:
        """A job of any user, in any status; mostly one that is not over."""
        unfinished = [job for job in self.model.jobs if job.is_unfinished()]
        job = draw.choice(unfinished if unfinished and draw.random() < 0.8 else self.model.jobs)
        user = self._somebody(draw, job)
        refusal: Refusal = None
        if user is not job.lineage.user or job.lineage.is_deleted:
            refusal = NotFoundError
        elif job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
            refusal = ConflictError
        self.expect(refusal, lambda work: cancel_job(work.session, user.id, job.id))
        if refusal is None:
            self.model.cancel(lambda other: other is job)

    def delete_lineage(self, draw: random.Random) -> None:
        """Now and then the last one too."""
        picked = self.pick(draw)
        lineage = picked.lineage
        refusal = None if self.sees(picked) else NotFoundError
        self.expect(refusal, lambda work: delete_lineage(work.session, picked.user.id, lineage.id))
        if refusal is None:
            self.model.delete_lineage(lineage)

    def delete_concept(self, draw: random.Random) -> None:
        """Learned or not."""
        picked = self.pick(draw)
        concept = picked.concept
        refusal = NotFoundError if concept.user is not picked.user or concept.is_deleted else None
        self.expect(refusal, lambda work: delete_concept(work.session, picked.user.id, concept.id))
        if refusal is None:
            self.model.delete_concept(concept)

    def delete_generation(self, draw: random.Random) -> None:
        """Drawn or not."""
        job = draw.choice([job for job in self.model.jobs if job.generation is not None])
        generation, user = job.generation, self._somebody(draw, job)
        assert generation is not None
        is_seen = user is job.lineage.user and not job.lineage.is_deleted
        refusal = None if is_seen and not generation.is_deleted and not generation.is_gone else NotFoundError
        self.expect(refusal, lambda work: delete_generation(work.session, user.id, generation.id))
        if refusal is None:
            self.model.delete_generation(generation)

    def delete_user(self, draw: random.Random) -> None:
        """With all that is theirs."""
        self.remove(draw.choice(self.model.users))

    def remove(self, user: ModelUser) -> None:
        """Unless it is deleted already."""
        refusal = NotFoundError if user.is_deleted else None
        self.expect(refusal, lambda work: delete_user(work.session, self.place.admin_id, user.id))
        if refusal is None:
            self.model.delete_user(user)
