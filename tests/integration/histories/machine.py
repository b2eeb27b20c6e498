"""Users and workers do anything in any order; after each move the rows must be what the model says."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar
from uuid import UUID

import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.db.pages import Window
from app.domain.erasure import EraseMode
from app.domain.errors import (
    ConflictError,
    ErasedError,
    InvalidInputError,
    NotFiniteError,
    NotFoundError,
    ObjectLostError,
    PalimpsestError,
    StorageError,
)
from app.domain.evaluations import EvaluationPolicy
from app.domain.jobs import GenerateResult, JobKind, JobStatus
from app.domain.quotas import Quota
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOverrides
from app.services.concepts import delete_concept, get_concept
from app.services.context import Work
from app.services.erasures import submit_erasure
from app.services.generations import NewGeneration, delete_generation, get_generation, submit_generation
from app.services.histories import branch_lineage, promote, roll_back
from app.services.jobs import PlacedJob, cancel_job, get_job, list_jobs
from app.services.lineages import create_lineage, delete_lineage
from app.services.quotas import insist_on_room
from app.services.training import submit_training
from app.services.users import delete_user
from app.services.versions import list_versions
from tests.integration.histories import rows
from tests.integration.histories.attempt import Attempt
from tests.integration.histories.hands import Hand, Order
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
from worker.context import HandBackError

CHOICE = st.integers(0, 10**6)
KINDS = st.sampled_from([(JobKind.TRAIN,), (JobKind.GENERATE,), (JobKind.TRAIN, JobKind.GENERATE)])
ERRORS: list[Exception] = [
    StorageError("S3 is gone"),
    ObjectLostError("one is missing"),
    torch.OutOfMemoryError("out of memory"),
    NotFiniteError("the loss is not finite"),
    HandBackError("the worker is to stop"),
]
_ALL = Window(200, None)
Refusal = type[PalimpsestError] | None
T = TypeVar("T")


@dataclass(frozen=True)
class Picked:
    """A user, and a lineage, a concept and a number, which may be theirs or not, there or not."""

    user: ModelUser
    lineage: ModelLineage
    concept: ModelConcept
    number: int


class Histories(RuleBasedStateMachine):
    """The model and the product side by side. The test sets what they have in common, and reads the tally."""

    place: ClassVar[Place]
    hands: ClassVar[list[Hand]]
    tally: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(self.place.settings.max_failures)
        self.attempts: dict[Hand, Attempt] = {}
        for hand in self._busy():
            hand.give_up()
        self.place.clear()

    @initialize(taught=st.integers(0, 3))
    def begin(self, taught: int) -> None:
        """Two users; the first has a lineage that has learned so much."""
        for _ in range(2):
            self._add_user()
        user = self.model.users[0]
        for _ in range(taught):
            lineage, concept = self.model.lineages[0], self._add_concept(user)
            self._submit_training(Picked(user, lineage, concept, 0))
            self._work_off(self.hands[0], (JobKind.TRAIN,))
        for user in self.model.users:
            self._add_concept(user)

    def _add_user(self) -> None:
        user = ModelUser(self.place.new_user())
        self.model.users.append(user)
        self._add_lineage(user)

    def _add_concept(self, user: ModelUser) -> ModelConcept:
        concept = ModelConcept(self.place.new_concept(user.id), user)
        self.model.concepts.append(concept)
        return concept

    def _add_lineage(self, user: ModelUser) -> None:
        async def create(work: Work) -> UUID:
            await insist_on_room(work, user.id, {Quota.LINEAGES: 1})
            options = (MergeOptions(), TrainingOverrides(), EvaluationPolicy())
            return (await create_lineage(work.session, user.id, "line", BASE.name, *options))[0].id

        created = self.place.ask(create)
        assert isinstance(created, UUID)
        base = ModelVersion(0, None, None)
        lineage = ModelLineage(created, user, base)
        base.owner = lineage
        self.model.lineages.append(lineage)
        self.model.versions.append(base)

    # Who asks for what: mostly the owner, now and then somebody else.

    def _picked(self, choice: int, prefers: Callable[[ModelLineage, ModelConcept], bool] | None = None) -> Picked:
        draw = random.Random(choice)
        there = [lineage for lineage in self.model.lineages if not lineage.is_deleted]
        lineage = draw.choice(there if there and draw.random() < 0.9 else self.model.lineages)
        user = lineage.user if draw.random() < 0.9 else draw.choice(self.model.users)
        number = draw.choice([*self.model.shown(lineage), *self.model.shown(lineage), *lineage.erased, 99])
        concepts = [concept for concept in self.model.concepts if prefers is None or prefers(lineage, concept)]
        concept = draw.choice(concepts if concepts and draw.random() < 0.8 else self.model.concepts)
        return Picked(user, lineage, concept, number)

    def _is_new(self, lineage: ModelLineage, concept: ModelConcept) -> bool:
        is_own = concept.user is lineage.user and not concept.is_deleted
        return is_own and not lineage.head.has_learned(concept) and concept not in self.model.pending(lineage)

    def _is_learned(self, lineage: ModelLineage, concept: ModelConcept) -> bool:
        return bool(self.model.holding(lineage, concept))

    def _sees(self, picked: Picked) -> bool:
        return picked.lineage.user is picked.user and not picked.lineage.is_deleted

    def _refused(self, picked: Picked, unknown: type[PalimpsestError]) -> Refusal:
        """How a request that names a version is refused, if it is for that name."""
        if not self._sees(picked):
            return NotFoundError
        if picked.number in self.model.shown(picked.lineage):
            return None
        return ErasedError if picked.number in picked.lineage.erased else unknown

    def _expect(self, refusal: Refusal, act: Callable[[Work], Awaitable[T]]) -> T | None:
        """The answer, which must be that refusal if there is to be one."""
        answer = self.place.ask(act)
        if refusal is not None or isinstance(answer, type):
            assert answer is refusal, f"{answer} instead of {refusal}"
            self.tally["requests refused"] += 1
            return None
        self.tally["requests granted"] += 1
        return answer

    def _has_versions(self) -> bool:
        return any(version.number > 0 for version in self.model.there())

    # What users do.

    @precondition(lambda self: len(self.model.users) < 3)
    @rule()
    def new_user(self) -> None:
        """One more, with an empty lineage."""
        self._add_user()

    @precondition(lambda self: len(self.model.concepts) < 9)
    @rule(choice=CHOICE)
    def new_concept(self, choice: int) -> None:
        """For one of the users that are there."""
        if there := [user for user in self.model.users if not user.is_deleted]:
            self._add_concept(there[choice % len(there)])

    @precondition(lambda self: len(self.model.lineages) < 6)
    @rule(choice=CHOICE)
    def new_lineage(self, choice: int) -> None:
        """For one of the users that are there."""
        there = [user for user in self.model.users if not user.is_deleted]
        if there:
            self._add_lineage(there[choice % len(there)])

    @rule(choice=CHOICE)
    def train(self, choice: int) -> None:
        """A concept, on a lineage."""
        self._submit_training(self._picked(choice, self._is_new))

    def _submit_training(self, picked: Picked) -> None:
        user, lineage, concept = picked.user, picked.lineage, picked.concept
        refusal: Refusal = None
        if not self._sees(picked) or concept.user is not user or concept.is_deleted:
            refusal = NotFoundError
        elif lineage.head.has_learned(concept) or concept in self.model.pending(lineage):
            refusal = ConflictError
        placed = self._expect(
            refusal, lambda work: submit_training(work, user.id, lineage.id, concept.id, TrainingOverrides())
        )
        self._queue(placed, lineage, JobKind.TRAIN, concept=concept)

    def _queue(self, placed: PlacedJob | None, lineage: ModelLineage, kind: JobKind, **what: object) -> ModelJob | None:
        if placed is None:
            return None
        job = ModelJob(placed[0].id, lineage, kind, **what)  # type: ignore[arg-type]
        self.model.jobs.append(job)
        return job

    @rule(choice=CHOICE)
    def generate(self, choice: int) -> None:
        """Pictures of a version."""
        picked = self._picked(choice)
        new = NewGeneration(picked.lineage.id, picked.number, "a cat", None, 1, 1, 2, 1.0)
        placed = self._expect(
            self._refused(picked, InvalidInputError), lambda work: submit_generation(work, picked.user.id, new)
        )
        if placed is not None:
            assert isinstance(placed[0].result, GenerateResult)
            version = self.model.shown(picked.lineage)[picked.number]
            generation = ModelGeneration(placed[0].result.generation_id, version)
            self.model.generations.append(generation)
            self._queue(placed, picked.lineage, JobKind.GENERATE, generation=generation)

    @precondition(lambda self: self._has_versions())
    @rule(choice=CHOICE, mode=st.sampled_from(EraseMode))
    def erase(self, choice: int, mode: EraseMode) -> None:
        """A concept, from everything over a lineage's version 0."""
        picked = self._picked(choice, self._is_learned)
        concept, lineage = picked.concept, picked.lineage
        placed = self._expect(
            self._refused_erasure(picked, mode),
            lambda work: submit_erasure(work, picked.user.id, lineage.id, concept.id, mode),
        )
        self._queue(placed, lineage, JobKind.ERASE, concept=concept, mode=mode)

    def _refused_erasure(self, picked: Picked, mode: EraseMode) -> Refusal:
        concept = picked.concept
        if not self._sees(picked) or concept.user is not picked.user or concept.is_purged:
            return NotFoundError
        anew = self.model.anew(picked.lineage, concept)
        lost = [version for version in anew if version.concept is not None and version.concept.is_deleted]
        erasing = [job.concept for job in self.model.jobs if job.kind is JobKind.ERASE and job.is_unfinished()]
        is_nowhere = not self.model.holding(picked.lineage, concept)
        if is_nowhere or (mode is EraseMode.RETRAIN and lost) or concept in erasing:
            return ConflictError
        return None

    @precondition(lambda self: self._has_versions())
    @rule(choice=CHOICE)
    def branch(self, choice: int) -> None:
        """From a version."""
        picked = self._picked(choice)
        refusal = self._refused(picked, InvalidInputError)
        fork = self.model.shown(picked.lineage).get(picked.number)
        options = ("branch", None, TrainingOverrides())
        answer = self._expect(
            refusal,
            lambda work: branch_lineage(work, picked.user.id, picked.lineage.id, picked.number, *options),
        )
        if answer is not None:
            assert fork is not None
            new = ModelLineage(answer[0].id, picked.user, fork, fork, fork.number + 1)
            self.model.lineages.append(new)

    def _is_in_the_way(self, lineage: ModelLineage, head: ModelVersion) -> bool:
        return any(head.has_learned(concept) for concept in self.model.pending(lineage))

    @precondition(lambda self: self._has_versions())
    @rule(choice=CHOICE)
    def roll_back(self, choice: int) -> None:
        """To a version."""
        picked = self._picked(choice)
        lineage, version = picked.lineage, self.model.shown(picked.lineage).get(picked.number)
        refusal = self._refused(picked, InvalidInputError)
        if refusal is None:
            assert version is not None
            is_behind = version in lineage.head.line()[1:]
            refusal = ConflictError if not is_behind or self._is_in_the_way(lineage, version) else None
        self._expect(refusal, lambda work: roll_back(work.session, picked.user.id, lineage.id, picked.number))
        if refusal is None and version is not None:
            lineage.head = version

    @precondition(lambda self: self._has_versions())
    @rule(choice=CHOICE)
    def promote(self, choice: int) -> None:
        """A version."""
        picked = self._picked(choice)
        lineage, version = picked.lineage, self.model.shown(picked.lineage).get(picked.number)
        refusal = self._refused(picked, NotFoundError)
        if refusal is None:
            assert version is not None
            is_aside = version not in lineage.head.line()
            refusal = ConflictError if not is_aside or self._is_in_the_way(lineage, version) else None
        self._expect(refusal, lambda work: promote(work.session, picked.user.id, lineage.id, picked.number))
        if refusal is None and version is not None:
            lineage.head = version
            version.is_held &= version.owner is not lineage

    @precondition(lambda self: self.model.jobs)
    @rule(choice=CHOICE)
    def cancel(self, choice: int) -> None:
        """A job, whoever's and however it stands."""
        jobs = [job for job in self.model.jobs if job.is_unfinished()] if choice % 5 else []
        job = (jobs or self.model.jobs)[choice % len(jobs or self.model.jobs)]
        user = ([job.lineage.user] * 4 + self.model.users)[choice % 7 % (4 + len(self.model.users))]
        refusal: Refusal = None
        if user is not job.lineage.user or job.lineage.is_deleted:
            refusal = NotFoundError
        elif job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
            refusal = ConflictError
        self._expect(refusal, lambda work: cancel_job(work.session, user.id, job.id))
        if refusal is None:
            self.model.cancel(lambda other: other is job)

    @precondition(lambda self: self._has_versions())
    @rule(choice=CHOICE)
    def delete_lineage(self, choice: int) -> None:
        """Now and then the last one too."""
        picked = self._picked(choice)
        lineage = picked.lineage
        refusal = None if self._sees(picked) else NotFoundError
        self._expect(refusal, lambda work: delete_lineage(work.session, picked.user.id, lineage.id))
        if refusal is None:
            self.model.delete_lineage(lineage)

    @precondition(lambda self: self._has_versions())
    @rule(choice=CHOICE)
    def delete_concept(self, choice: int) -> None:
        """Learned or not."""
        picked = self._picked(choice)
        concept = picked.concept
        refusal = NotFoundError if concept.user is not picked.user or concept.is_deleted else None
        self._expect(refusal, lambda work: delete_concept(work.session, picked.user.id, concept.id))
        if refusal is None:
            self.model.delete_concept(concept)

    @precondition(lambda self: self.model.generations)
    @rule(choice=CHOICE)
    def delete_generation(self, choice: int) -> None:
        """Drawn or not."""
        generation = self.model.generations[choice % len(self.model.generations)]
        job = next(job for job in self.model.jobs if job.generation is generation)
        user = ([job.lineage.user] * 4 + self.model.users)[choice % 7 % (4 + len(self.model.users))]
        is_seen = user is job.lineage.user and not job.lineage.is_deleted
        refusal = None if is_seen and not generation.is_deleted and not generation.is_gone else NotFoundError
        self._expect(refusal, lambda work: delete_generation(work.session, user.id, generation.id))
        if refusal is None:
            self.model.delete_generation(generation)

    @precondition(lambda self: sum(not user.is_deleted for user in self.model.users) > 2)
    @rule(choice=CHOICE)
    def delete_user(self, choice: int) -> None:
        """With all that is theirs."""
        user = self.model.users[choice % len(self.model.users)]
        refusal = NotFoundError if user.is_deleted else None
        self._expect(refusal, lambda work: delete_user(work.session, self.place.admin_id, user.id))
        if refusal is None:
            self.model.delete_user(user)

    # What workers do.

    def _idle(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.at is None]

    def _busy(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.at is not None]

    @precondition(lambda self: self._idle() and self.model.claimable())
    @rule(kinds=KINDS)
    def claim(self, kinds: tuple[JobKind, ...]) -> None:
        """A worker takes a job."""
        self._claim(self._idle()[0], kinds)

    def _claim(self, hand: Hand, kinds: tuple[JobKind, ...]) -> Attempt | None:
        may = [job for job in self.model.claimable() if job.kind.queue in kinds]
        claimed = hand.claim(kinds)
        job = next((job for job in may if job.id == claimed), None)
        assert (claimed is None) == (not may), f"{claimed} was claimed, where {may} could be"
        if claimed is None:
            return None
        assert job is not None, "a job was claimed before its turn"
        drawings = [other for other in may if other.kind is JobKind.GENERATE]
        assert job in drawings or not drawings, "somebody waits for a picture"
        self.attempts[hand] = Attempt.begin(self.model, job)
        return self.attempts[hand]

    @precondition(lambda self: self._idle() and self.model.claimable())
    @rule(kinds=KINDS)
    def work_off(self, kinds: tuple[JobKind, ...]) -> None:
        """A worker does a job from its beginning to its end."""
        self._work_off(self._idle()[0], kinds)

    def _work_off(self, hand: Hand, kinds: tuple[JobKind, ...]) -> None:
        if self._claim(hand, kinds) is not None:
            while hand.at is not None:
                self._order(hand, Order.FINISH)

    @precondition(lambda self: self._busy())
    @rule(choice=CHOICE, order=st.sampled_from([Order.STEP, Order.CHECKPOINT, Order.FINISH, Order.FINISH]))
    def go_on(self, choice: int, order: Order) -> None:
        """A worker does something for the job that it has, or believes to have."""
        hand = self._busy()[choice % len(self._busy())]
        self._order(hand, order)

    @precondition(lambda self: self._busy())
    @rule(choice=CHOICE, error=st.sampled_from(ERRORS))
    def fail(self, choice: int, error: Exception) -> None:
        """A worker meets an error."""
        self._order(self._busy()[choice % len(self._busy())], error)

    def _order(self, hand: Hand, order: Order | Exception) -> None:
        assert hand.at is not None
        attempt = self.attempts[hand]
        self.tally[f"{'late ' if attempt.is_stale() else ''}moves of workers"] += 1
        attempt.obey(hand.at, order)
        hand.order(order)

    @precondition(lambda self: self._busy())
    @rule(choice=CHOICE)
    def beat(self, choice: int) -> None:
        """A worker's heartbeat is sent, perhaps too late."""
        hand = self._busy()[choice % len(self._busy())]
        assert hand.lease is not None
        hand.lease.beat()
        self.attempts[hand].beat()

    def _running(self) -> list[ModelJob]:
        return [job for job in self.model.jobs if job.status is JobStatus.RUNNING]

    @precondition(lambda self: self._running())
    @rule(choice=CHOICE, is_swept=st.booleans())
    def expire(self, choice: int, is_swept: bool) -> None:
        """A lease's time is over; its worker knows nothing of it."""
        job = self._running()[choice % len(self._running())]
        self.place.expire(job.id)
        job.is_late = True
        if is_swept:
            self.sweep()

    @precondition(lambda self: any(job.is_late for job in self.model.jobs))
    @rule()
    def sweep(self) -> None:
        """What expired goes back to the queue."""
        self.place.sweeper.tend()
        self.model.sweep()

    @precondition(lambda self: any(job.waits and job.status is JobStatus.QUEUED for job in self.model.jobs))
    @rule()
    def ripen(self) -> None:
        """Every backoff is over."""
        for job in self.model.jobs:
            if job.waits and job.status is JobStatus.QUEUED:
                self.place.ripen(job.id)
                job.waits = False

    def _is_to_be_purged(self) -> bool:
        lineages = any(lineage.is_deleted and not lineage.is_purged for lineage in self.model.lineages)
        concepts = any(concept.is_deleted and not concept.is_purged for concept in self.model.concepts)
        return lineages or concepts or any(drawn.is_deleted and not drawn.is_gone for drawn in self.model.generations)

    @precondition(lambda self: self._is_to_be_purged())
    @rule()
    def collect(self) -> None:
        """What is deleted goes for good."""
        self.place.sweeper.collect()
        self.model.purge()

    # What must be true at any time.

    @invariant()
    def rows_are_as_in_the_model(self) -> None:
        """Every row of these users; nobody else's could have changed."""
        self.tally["rules"] += 1
        rows.compare(self.place, self.model)

    @rule(choice=CHOICE)
    def look(self, choice: int) -> None:
        """Somebody asks for something, and sees it if it is theirs and there."""
        picked = self._picked(choice)
        user, concept, lineage = picked.user, picked.concept, picked.lineage
        page = self._expect(
            None if self._sees(picked) else NotFoundError,
            lambda work: list_versions(work.session, user.id, lineage.id, _ALL),
        )
        if page is not None:
            line = lineage.head.line()
            seen = {row[0].number: (row[1], row[3]) for row in page.items}
            assert seen == {
                number: (version.parent.number if version.parent else None, version in line)
                for number, version in self.model.shown(lineage).items()
            }
        is_there = concept.user is user and not concept.is_deleted
        self._expect(None if is_there else NotFoundError, lambda w: get_concept(w.session, user.id, concept.id))
        self._look_at_jobs(user, choice)

    def _look_at_jobs(self, user: ModelUser, choice: int) -> None:
        jobs = [job for job in self.model.jobs if job.lineage.user is user and not job.lineage.is_deleted]
        page = self.place.ask(lambda work: list_jobs(work.session, user.id, _ALL, None, None, None))
        assert not isinstance(page, type)
        assert {row[0].id: row[1] for row in page.items} == {job.id: self.model.position(job) for job in jobs}
        for job in self.model.jobs[-1 - choice % 5 :][:1]:
            self._expect(
                None if job in jobs else NotFoundError,
                lambda work, job=job: get_job(work.session, user.id, job.id),  # type: ignore[misc]
            )
            if (drawn := job.generation) is not None:
                is_seen = job in jobs and not drawn.is_deleted and not drawn.is_gone
                self._expect(
                    None if is_seen else NotFoundError,
                    lambda work, drawn=drawn: get_generation(work.session, user.id, drawn.id),  # type: ignore[misc]
                )

    def teardown(self) -> None:
        """Everybody leaves, and nothing of them is left."""
        for hand in self._busy():
            while hand.at is not None:
                self._order(hand, Order.FINISH)
        for user in self.model.users:
            if not user.is_deleted:
                self.place.ask(lambda work, user=user: delete_user(work.session, self.place.admin_id, user.id))  # type: ignore[misc]
        for _ in range(2):  # What is running goes with its lease.
            for job in self._running():
                self.place.expire(job.id)
            self.place.sweeper.tend()
            self.place.sweeper.collect()
        rows.insist_on_nothing(self.place, self.model)
        self.tally["histories"] += 1
        self.tally["versions"] += len(self.model.versions)
        self.tally["branches"] += sum(lineage.fork is not None for lineage in self.model.lineages)
        for job in self.model.jobs:
            self.tally[f"{job.kind.value} jobs {job.status.value}"] += 1
