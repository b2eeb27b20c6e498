"""Users take turns at the queue, long jobs have their share, and a lineage's jobs keep their order."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select

from app.db import leases
from app.db.leases import Claim
from app.db.session import make_engine, transaction
from app.db.tables import BaseModelRow, Job, Lineage, User
from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.jobs import (
    LONG_KINDS,
    PUBLISHING_KINDS,
    QUEUES,
    GenerateParams,
    ImportParams,
    JobKind,
    JobParams,
    JobStatus,
    ReproduceParams,
    TrainParams,
)
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions
from app.settings import Settings

USERS = 3
NOBODY = UUID(int=0)
TAUGHT = TaughtConcept(name="rex", kind=ConceptKind.STYLE, class_noun=None, token="tok")
PARAMS: dict[JobKind, JobParams] = {
    JobKind.TRAIN: TrainParams(concept_id=NOBODY, taught=TAUGHT, strategy=MergeOptions(), training=TrainingOptions()),
    JobKind.GENERATE: GenerateParams(generation_id=NOBODY),
    JobKind.IMPORT: ImportParams(file_name="a", file_sha256="0" * 64, taught=TAUGHT),
    JobKind.REPRODUCE: ReproduceParams(version_id=NOBODY, concept_id=NOBODY),
}
WORKERS = (QUEUES, (JobKind.GENERATE, JobKind.EVALUATE), (JobKind.GENERATE,), (JobKind.TRAIN,))


@dataclass(frozen=True)
class Submitted:
    """One job: whose, in which of the user's two lineages, and what it does."""

    user: int
    lineage: int
    kind: JobKind


@dataclass(frozen=True)
class Claimed:
    """A worker of these queues asks for work."""

    kinds: tuple[JobKind, ...]
    prefer_short: bool


@dataclass(frozen=True)
class Finished:
    """One of the jobs that run ends."""

    which: int


SUBMITTED = st.builds(Submitted, st.integers(0, USERS - 1), st.integers(0, 1), st.sampled_from(tuple(PARAMS)))
CLAIMED = st.builds(Claimed, st.sampled_from(WORKERS), st.booleans())
STEPS = st.lists(SUBMITTED | SUBMITTED | CLAIMED | CLAIMED | st.builds(Finished, st.integers(0, 9)), max_size=40)
ONE_USER_AT_A_TIME = hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def engine(module_settings: Settings) -> Iterator[Engine]:
    assert module_settings.database_url is not None
    engine = make_engine(module_settings.database_url)
    manifest = BaseModelManifest(name="tiny", family=Family.SD, resolution=64, rare_tokens=("tok",))
    with transaction(engine) as session:
        session.add(BaseModelRow(name="tiny", source="/nowhere", manifest=manifest))
        for number in range(USERS):
            user = User(id=UUID(int=number + 1), name=f"user-{number}")
            session.add(user)
            session.flush()
            for lineage in range(2):
                id_ = UUID(int=100 * (number + 1) + lineage)
                session.add(
                    Lineage(
                        id=id_,
                        user_id=user.id,
                        name="pets",
                        base_model="tiny",
                        strategy=MergeOptions(),
                        training=TrainingOptions(),
                    )
                )
    yield engine
    engine.dispose()


def submit(engine: Engine, jobs: list[Submitted]) -> None:
    with transaction(engine) as session:
        for job in jobs:
            session.add(
                Job(
                    user_id=UUID(int=job.user + 1),
                    lineage_id=UUID(int=100 * (job.user + 1) + job.lineage),
                    base_model="tiny",
                    kind=job.kind,
                    params=PARAMS[job.kind],
                )
            )
            session.flush()


def claim(engine: Engine, kinds: tuple[JobKind, ...] = QUEUES, *, prefer_short: bool = False) -> Claim | None:
    with transaction(engine) as session:
        return leases.claim(session, kinds, "w", 30, prefer_short=prefer_short)


def finish(engine: Engine, claimed: Claim) -> None:
    with transaction(engine) as session:
        leases.finish(session, claimed, JobStatus.SUCCEEDED)


def of(engine: Engine, claimed: Claim | None) -> Job:
    assert claimed is not None
    with transaction(engine) as session:
        return session.get_one(Job, claimed.job_id)


def drain(engine: Engine, kinds: tuple[JobKind, ...]) -> list[Job]:
    """The jobs in the order in which one worker gets them."""
    done: list[Job] = []
    while (claimed := claim(engine, kinds)) is not None:
        finish(engine, claimed)
        done.append(of(engine, claimed))
    return done


@pytest.fixture(autouse=True)
def emptied(engine: Engine) -> None:
    empty(engine)


def empty(engine: Engine) -> None:
    with transaction(engine) as session:
        session.execute(delete(Job))


@dataclass
class Entry:
    """A job as the model knows it; `began` counts claims."""

    job: Submitted
    seq: int
    status: JobStatus = JobStatus.QUEUED
    began: int = -1

    def is_of(self, user: int, kinds: set[JobKind]) -> bool:
        return self.job.user == user and self.job.kind in kinds


class Model:
    """The rules of `app.db.turns`, over a list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.claims = 0

    def next(self, step: Claimed) -> Entry | None:
        kinds = {kind for kind in JobKind if kind.queue in step.kinds}
        found = min(
            (entry for entry in self.entries if entry.job.kind in kinds and self.is_claimable(entry)),
            key=lambda entry: self.place(entry, kinds, short_first=self.is_short_first(kinds, step)),
            default=None,
        )
        if found is not None:
            found.status, found.began = JobStatus.RUNNING, self.claims
            self.claims += 1
        return found

    def is_claimable(self, entry: Entry) -> bool:
        blocked = entry.job.kind in PUBLISHING_KINDS and any(
            other.seq < entry.seq
            and other.job.kind in PUBLISHING_KINDS
            and (other.job.user, other.job.lineage) == (entry.job.user, entry.job.lineage)
            and other.status in (JobStatus.QUEUED, JobStatus.RUNNING)
            for other in self.entries
        )
        return entry.status is JobStatus.QUEUED and not blocked

    def is_short_first(self, kinds: set[JobKind], step: Claimed) -> bool:
        if kinds <= set(LONG_KINDS) or not kinds & set(LONG_KINDS):
            return False
        running = [entry.job.kind in LONG_KINDS for entry in self.entries if entry.status is JobStatus.RUNNING]
        return step.prefer_short or sum(running) + 1 > max(1, (len(running) + 1) // 2)

    def place(self, entry: Entry, kinds: set[JobKind], *, short_first: bool) -> tuple[int, ...]:
        of_user = max(other.began for other in self.entries if other.is_of(entry.job.user, kinds))
        of_kind = max(other.began for other in self.entries if other.is_of(entry.job.user, {entry.job.kind}))
        return (short_first and entry.job.kind in LONG_KINDS, of_user, of_kind, entry.seq)


@ONE_USER_AT_A_TIME
@given(STEPS)
def test_claims_follow_the_model(engine: Engine, steps: list[Submitted | Claimed | Finished]) -> None:
    empty(engine)
    model, running = Model(), list[tuple[Claim, Entry]]()
    for step in steps:
        match step:
            case Submitted():
                submit(engine, [step])
                model.entries.append(Entry(step, len(model.entries)))
            case Claimed():
                claimed, expected = claim(engine, step.kinds, prefer_short=step.prefer_short), model.next(step)
                assert (claimed is None) == (expected is None)
                if claimed is not None and expected is not None:
                    assert of(engine, claimed).seq == seqs(engine)[expected.seq]
                    running.append((claimed, expected))
            case Finished():
                for claimed, ended in running[step.which : step.which + 1]:
                    finish(engine, claimed)
                    ended.status = JobStatus.SUCCEEDED
                del running[step.which : step.which + 1]


def seqs(engine: Engine) -> list[int]:
    with transaction(engine) as session:
        return list(session.scalars(select(Job.seq).order_by(Job.seq)))


@ONE_USER_AT_A_TIME
@given(st.lists(SUBMITTED, max_size=24), st.sampled_from(WORKERS))
def test_nobody_waits_for_more_than_one_turn_of_each_other(
    engine: Engine, jobs: list[Submitted], kinds: tuple[JobKind, ...]
) -> None:
    empty(engine)
    submit(engine, jobs)
    done = drain(engine, kinds)
    assert len(done) == sum(job.kind.queue in kinds for job in jobs)
    for place, job in enumerate(done):
        own = [other for other in done[:place] if other.user_id == job.user_id]
        # A user's jobs of a kind keep their order.
        assert all(other.seq < job.seq for other in own if other.kind is job.kind)
        for user in {other.user_id for other in done} - {job.user_id}:
            before = sum(other.user_id == user for other in done[:place])
            # Who came later in the same round may be one ahead.
            assert before <= len(own) + 1


@pytest.mark.parametrize("many", PARAMS)
@pytest.mark.parametrize("one", PARAMS)
def test_a_thousand_jobs_of_one_kind_hold_up_no_other_user(engine: Engine, many: JobKind, one: JobKind) -> None:
    submit(engine, [Submitted(0, 0, many)] * 1000 + [Submitted(1, 0, one)] * 2)
    turns = []
    for _ in range(4):
        claimed = claim(engine)
        turns.append(of(engine, claimed).user_id.int - 1)
        assert claimed is not None
        finish(engine, claimed)
    assert turns == [0, 1, 0, 1]


def test_who_always_draws_gets_trainings_too(engine: Engine) -> None:
    """Drawings take no turn at a worker that only trains. Where a worker does both, a user's kinds alternate."""
    submit(engine, [Submitted(0, 0, JobKind.TRAIN)] * 20 + [Submitted(1, 0, JobKind.GENERATE)] * 20)
    for _ in range(3):
        for kinds in ((JobKind.TRAIN,), (JobKind.GENERATE,)):
            claimed = claim(engine, kinds)
            assert claimed is not None
            finish(engine, claimed)
    submit(engine, [Submitted(1, 0, JobKind.TRAIN)] * 2)
    trained = claim(engine, (JobKind.TRAIN,))
    assert of(engine, trained).user_id.int == 2
    assert trained is not None
    finish(engine, trained)
    kinds_of_second = [job.kind for job in drain(engine, QUEUES) if job.user_id.int == 2]
    assert JobKind.TRAIN in kinds_of_second[:2]


def test_long_jobs_leave_half_of_the_busy_workers_to_short_ones(engine: Engine) -> None:
    submit(engine, [Submitted(user, 0, JobKind.REPRODUCE) for user in range(USERS) for _ in range(10)])
    submit(engine, [Submitted(0, 0, JobKind.GENERATE)] * 10)
    kinds = [of(engine, claim(engine)).kind for _ in range(10)]
    for count in range(1, 11):
        assert sum(kind in LONG_KINDS for kind in kinds[:count]) == max(1, count // 2)
    # Without short ones the others are free.
    with transaction(engine) as session:
        session.execute(delete(Job).where(Job.kind == JobKind.GENERATE, Job.status == JobStatus.QUEUED))
    assert of(engine, claim(engine)).kind is JobKind.REPRODUCE


def test_workers_that_ask_at_one_moment_share_as_well(engine: Engine) -> None:
    count = 12
    submit(engine, [Submitted(user, 0, JobKind.REPRODUCE) for user in range(USERS) for _ in range(count)])
    submit(engine, [Submitted(user, 0, JobKind.GENERATE) for user in range(USERS) for _ in range(count)])
    ready, claims = threading.Barrier(count), list[Claim | None]()

    def work() -> None:
        with transaction(engine) as session:
            session.execute(select(1))
            ready.wait()
            claims.append(leases.claim(session, QUEUES, "w", 30))
            ready.wait()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({claimed.job_id for claimed in claims if claimed is not None}) == count
    with transaction(engine) as session:
        running = select(func.count()).where(Job.status == JobStatus.RUNNING, Job.kind.in_(LONG_KINDS))
        assert 1 <= (session.scalar(running) or 0) <= count // 2
