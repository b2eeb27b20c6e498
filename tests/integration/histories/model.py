"""The rules of jobs and lineages in memory: what one request of a user, or one move of a worker, must do.

Nothing here is taken from the product but its words. A version, a lineage, a concept or a job is itself, whatever its
id: rows are compared by what they say.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.domain.erasure import EraseMode
from app.domain.jobs import TERMINAL, JobKind, JobStatus

_births = itertools.count()


@dataclass(eq=False)
class ModelUser:
    """Somebody."""

    id: UUID
    is_deleted: bool = False
    is_purged: bool = False


@dataclass(eq=False)
class ModelConcept:
    """What a user teaches. `is_purged`: not even its row is left."""

    id: UUID
    user: ModelUser
    is_deleted: bool = False
    is_purged: bool = False


@dataclass(eq=False)
class ModelVersion:
    """A version; `owner` is the lineage that made it or has inherited it."""

    number: int
    parent: "ModelVersion | None"
    concept: ModelConcept | None
    owner: "ModelLineage | None" = None
    is_held: bool = False
    is_there: bool = True
    born: int = field(default_factory=lambda: next(_births))

    def line(self) -> "list[ModelVersion]":
        """It and its ancestors, the base last."""
        return [self, *(self.parent.line() if self.parent else [])]

    def root(self) -> "ModelVersion":
        """Its version 0."""
        return self.line()[-1]

    def has_learned(self, concept: ModelConcept | None) -> bool:
        """Whether it, or an ancestor, was taught that concept."""
        return any(version.concept is concept for version in self.line() if version.concept is not None)


@dataclass(eq=False)
class ModelLineage:
    """A lineage; `erased` are the numbers that it has shown and lost."""

    id: UUID
    user: ModelUser
    head: ModelVersion
    fork: ModelVersion | None = None
    next_number: int = 1
    is_deleted: bool = False
    is_purged: bool = False
    erased: set[int] = field(default_factory=set)


@dataclass(eq=False)
class ModelGeneration:
    """Pictures asked for of a version."""

    id: UUID
    version: ModelVersion
    is_deleted: bool = False
    is_gone: bool = False


@dataclass(eq=False)
class ModelJob:
    """A job. `is_late`: its lease has expired, and nobody has swept yet. `waits`: it waits out a backoff."""

    id: UUID
    lineage: ModelLineage
    kind: JobKind
    concept: ModelConcept | None = None
    generation: ModelGeneration | None = None
    mode: EraseMode | None = None
    status: JobStatus = JobStatus.QUEUED
    attempt: int = 0
    failures: int = 0
    is_cancel_asked: bool = False
    error: str | None = None
    waits: bool = False
    is_late: bool = False
    has_checkpoint: bool = False
    checkpoint_parent: ModelVersion | None = None
    drafts: set[ModelVersion] = field(default_factory=set)
    is_gone: bool = False

    def is_unfinished(self) -> bool:
        """Whether it is queued or running."""
        return self.status not in TERMINAL

    def publishes(self) -> bool:
        """Whether it takes turns with the others of its lineage."""
        return self.kind is not JobKind.GENERATE

    def end(self, status: JobStatus, error: str | None = None) -> None:
        """It has ended for good."""
        assert self.is_unfinished(), "a terminal status never changes"
        self.status, self.error = status, error

    def back_to_the_queue(self) -> None:
        """Unless its cancellation was asked for."""
        self.status = JobStatus.CANCELED if self.is_cancel_asked else JobStatus.QUEUED


@dataclass(eq=False)
class Model:
    """Everything that the users of one history have."""

    max_failures: int
    users: list[ModelUser] = field(default_factory=list)
    concepts: list[ModelConcept] = field(default_factory=list)
    lineages: list[ModelLineage] = field(default_factory=list)
    versions: list[ModelVersion] = field(default_factory=list)
    generations: list[ModelGeneration] = field(default_factory=list)
    jobs: list[ModelJob] = field(default_factory=list)

    # What there is.

    def there_users(self) -> list[ModelUser]:
        """The users that are not deleted."""
        return [user for user in self.users if not user.is_deleted]

    def is_to_be_purged(self) -> bool:
        """Whether something is deleted that is not gone."""
        things: list[ModelUser | ModelLineage | ModelConcept] = [*self.users, *self.lineages, *self.concepts]
        is_waiting = any(thing.is_deleted and not thing.is_purged for thing in things)
        return is_waiting or any(drawn.is_deleted and not drawn.is_gone for drawn in self.generations)

    def there(self) -> list[ModelVersion]:
        """The versions that have a row."""
        return [version for version in self.versions if version.is_there]

    def shown(self, lineage: ModelLineage) -> dict[int, ModelVersion]:
        """The history of a lineage, by number."""
        line = [] if lineage.fork is None else lineage.fork.line()
        history = [version for version in self.there() if version.owner is lineage or version in line]
        assert len({version.number for version in history}) == len(history), "a number is given once"
        return {version.number: version for version in history}

    def unfinished(self, lineage: ModelLineage) -> list[ModelJob]:
        """The jobs that will publish into a lineage, in their order."""
        return [job for job in self.jobs if job.lineage is lineage and job.publishes() and job.is_unfinished()]

    def pending(self, lineage: ModelLineage) -> list[ModelConcept]:
        """What is about to be taught."""
        jobs = [job for job in self.unfinished(lineage) if job.kind is JobKind.TRAIN and not job.is_cancel_asked]
        return [job.concept for job in jobs if job.concept is not None]

    def claimable(self) -> list[ModelJob]:
        """What a worker may take now."""
        queued = [job for job in self.jobs if job.status is JobStatus.QUEUED and not job.waits]
        return [job for job in queued if not job.publishes() or self.unfinished(job.lineage)[0] is job]

    def position(self, job: ModelJob) -> int | None:
        """How many queued jobs of its kind its user has before it."""
        if job.status is not JobStatus.QUEUED:
            return None
        ahead = self.jobs[: self.jobs.index(job)]
        own = [other for other in ahead if other.lineage.user is job.lineage.user and other.kind is job.kind]
        return sum(other.status is JobStatus.QUEUED for other in own)

    # What users do.

    def cancel(self, which: Callable[[ModelJob], bool]) -> None:
        """Queued jobs end; running ones are asked to."""
        for job in filter(ModelJob.is_unfinished, self.jobs):
            if which(job):
                job.is_cancel_asked, job.error = True, None
                if job.status is JobStatus.QUEUED:
                    job.end(JobStatus.CANCELED)

    def delete_lineage(self, lineage: ModelLineage) -> None:
        """Hide it, and cancel its jobs."""
        lineage.is_deleted = True
        self.cancel(lambda job: job.lineage is lineage)

    def delete_concept(self, concept: ModelConcept) -> None:
        """Hide it, and cancel what trains it; what erases it goes on."""
        concept.is_deleted = True
        self.cancel(lambda job: job.kind is JobKind.TRAIN and job.concept is concept)

    def delete_generation(self, generation: ModelGeneration) -> None:
        """Hide it, and cancel what draws it."""
        generation.is_deleted = True
        self.cancel(lambda job: job.generation is generation)

    def delete_user(self, user: ModelUser) -> None:
        """Hide everything of theirs."""
        user.is_deleted = True
        for lineage in self.lineages:
            lineage.is_deleted |= lineage.user is user
        for concept in self.concepts:
            concept.is_deleted |= concept.user is user
        for job in self.jobs:
            if job.generation is not None and job.lineage.user is user:
                job.generation.is_deleted = True
        self.cancel(lambda job: job.lineage.user is user)

    # What workers do.

    def publish(self, job: ModelJob, parent: ModelVersion) -> None:
        """A version on top of what was the head when the job was claimed."""
        lineage = job.lineage
        is_next = lineage.head is parent
        version = ModelVersion(lineage.next_number, parent, job.concept, lineage, is_held=not is_next)
        lineage.next_number += 1
        self.versions.append(version)
        if is_next:
            lineage.head = version
        job.end(JobStatus.SUCCEEDED)

    def sweep(self) -> None:
        """What has lost its worker goes back to the queue, or ends."""
        for job in self.jobs:
            if job.status is JobStatus.RUNNING and job.is_late:
                job.failures += 1
                job.is_late = False
                if job.is_cancel_asked:
                    job.end(JobStatus.CANCELED)
                elif job.failures >= self.max_failures:
                    job.end(JobStatus.FAILED, "worker-lost")
                else:
                    job.status = JobStatus.QUEUED

    # Erasing.

    def family(self, lineage: ModelLineage) -> list[ModelVersion]:
        """All versions over the lineage's version 0, parents before children."""
        root = lineage.head.root()
        members = [version for version in self.there() if version.root() is root]
        return sorted(members, key=lambda version: (version.number, version.born))

    def holding(self, lineage: ModelLineage, concept: ModelConcept) -> list[ModelVersion]:
        """Those that were taught the concept, or stand on one that was."""
        return [version for version in self.family(lineage) if version.has_learned(concept)]

    def remade(self, lineage: ModelLineage, concept: ModelConcept) -> list[ModelVersion]:
        """Those of them that were taught something else."""
        return [version for version in self.holding(lineage, concept) if version.concept is not concept]

    def lacking(self, job: ModelJob) -> list[ModelVersion]:
        """What an erase job has yet to train."""
        assert job.concept is not None
        if job.mode is EraseMode.REFOLD:
            return []
        return [version for version in self.remade(job.lineage, job.concept) if version not in job.drafts]

    def erase(self, job: ModelJob) -> None:
        """New versions without the concept in the place of those that hold it."""
        concept = job.concept
        assert concept is not None
        root = job.lineage.head.root()
        lineages = [line for line in self.lineages if not line.is_purged and line.head.root() is root]
        holding, remade = self.holding(job.lineage, concept), self.remade(job.lineage, concept)
        made: dict[ModelVersion, ModelVersion] = {}

        def stand_in(version: ModelVersion) -> ModelVersion:
            while version in holding and version not in made:
                assert version.parent is not None
                version = version.parent
            return made.get(version, version)

        first = max(line.next_number for line in lineages)
        for number, old in enumerate(remade, start=first):
            assert old.parent is not None
            made[old] = ModelVersion(number, stand_in(old.parent), old.concept, old.owner, old.is_held)
        for line in lineages:
            shared = [] if line.fork is None else line.fork.line()
            line.erased |= {old.number for old in holding if old.owner is line or old in shared}
            line.next_number = first + len(remade)
            line.head = stand_in(line.head)
            line.fork = None if line.fork is None else stand_in(line.fork)
        self.versions += made.values()
        self._remove(holding)
        self.cancel(
            lambda other: other.kind is JobKind.TRAIN and other.concept is concept and other.lineage in lineages
        )
        self.cancel(lambda other: other.generation is not None and other.generation.version in holding)
        self._forget(job, holding, lineages)
        is_held = any(version.concept is concept for version in self.there())
        if not is_held and not any(concept in self.pending(line) for line in self.lineages):
            concept.is_deleted = True
        job.end(JobStatus.SUCCEEDED)

    def _forget(self, job: ModelJob, holding: list[ModelVersion], lineages: list[ModelLineage]) -> None:
        """Checkpoints and drafts that were made of what is gone."""
        for other in self.jobs:
            other.drafts -= set(holding)
            erases_here = other.kind is JobKind.ERASE and other.lineage in lineages and other is not job
            if erases_here or other.checkpoint_parent in holding:
                other.has_checkpoint, other.checkpoint_parent = False, None

    def _remove(self, versions: Sequence[ModelVersion]) -> None:
        for version in versions:
            version.is_there = False
        for generation in self.generations:
            generation.is_gone |= generation.version in versions

    # Purging.

    def purge(self) -> None:
        """Remove what is deleted and in no running job's hands."""
        running = [job for job in self.jobs if job.status is JobStatus.RUNNING]
        busy = {job.lineage.user for job in running}
        for user in self.users:
            user.is_purged |= user.is_deleted and user not in busy
        self._purge_lineages(running)
        for concept in self.concepts:
            is_taught = any(job.kind is JobKind.TRAIN and job.concept is concept for job in running)
            is_learned = any(version.concept is concept for version in self.there())
            is_gone = concept.user.is_purged or (concept.is_deleted and not is_taught and not is_learned)
            concept.is_purged |= is_gone
        for generation in self.generations:
            is_drawn = any(job.generation is generation for job in running)
            generation.is_gone |= generation.is_deleted and not is_drawn

    def _purge_lineages(self, running: list[ModelJob]) -> None:
        busy = {job.lineage for job in running}
        leaving = [
            line
            for line in self.lineages
            if not line.is_purged and (line.user.is_purged or (line.is_deleted and line not in busy))
        ]
        for version, heir in self._inherited(leaving):
            if version.owner in leaving:
                version.owner, version.is_held = heir, False
        self._remove([version for version in self.there() if version.owner in leaving])
        for line in leaving:
            line.is_purged = True
        for job in self.jobs:
            if job.lineage.is_purged:
                job.is_gone = True
                if job.generation is not None:
                    job.generation.is_gone = True

    def _inherited(self, leaving: list[ModelLineage]) -> Iterator[tuple[ModelVersion, ModelLineage]]:
        """What branches share with lineages that leave, the oldest branch first."""
        for heir in self.lineages:
            if heir.fork is not None and heir not in leaving and not heir.is_purged:
                yield from ((version, heir) for version in heir.fork.line())
