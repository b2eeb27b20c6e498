"""Users take turns at the queue, and a lineage's training keeps its order."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select, update

from app.db import leases
from app.db.session import make_engine, transaction
from app.db.tables import BaseModelRow, Job, Lineage, User
from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.jobs import GenerateParams, JobKind, JobStatus, TrainParams
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions
from app.settings import Settings

KINDS = (JobKind.TRAIN, JobKind.GENERATE)
USERS = 3
NOBODY = UUID(int=0)
TAUGHT = TaughtConcept(name="rex", kind=ConceptKind.STYLE, class_noun=None, token="tok")

# One job: whose, in which of two lineages, and whether it trains.
Submitted = tuple[int, int, bool]
SUBMISSIONS = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, 1), st.booleans()), max_size=24)


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
    train = TrainParams(concept_id=NOBODY, taught=TAUGHT, strategy=MergeOptions(), training=TrainingOptions())
    with transaction(engine) as session:
        session.execute(delete(Job))
        for user, lineage, is_training in jobs:
            session.add(
                Job(
                    user_id=UUID(int=user + 1),
                    lineage_id=UUID(int=100 * (user + 1) + lineage),
                    base_model="tiny",
                    kind=JobKind.TRAIN if is_training else JobKind.GENERATE,
                    params=train if is_training else GenerateParams(generation_id=NOBODY),
                )
            )
            session.flush()


def drain(engine: Engine) -> list[Job]:
    """The jobs in the order in which one worker gets them."""
    done: list[Job] = []
    while True:
        with transaction(engine) as session:
            claimed = leases.claim(session, KINDS, "w", 30)
            if claimed is None:
                return done
            leases.finish(session, claimed, JobStatus.SUCCEEDED)
            done.append(session.get_one(Job, claimed.job_id, populate_existing=True))


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SUBMISSIONS)
def test_nobody_waits_for_more_than_one_turn_of_each_other(engine: Engine, jobs: list[Submitted]) -> None:
    submit(engine, jobs)
    done = drain(engine)
    assert len(done) == len(jobs)
    assert [job.kind is JobKind.TRAIN for job in done] == sorted(job.kind is JobKind.TRAIN for job in done)
    for kind in KINDS:
        order = [job for job in done if job.kind is kind]
        for place, job in enumerate(order):
            own = [other.seq for other in order[:place] if other.user_id == job.user_id]
            # A user's jobs of a kind keep their order, and with them a lineage's training.
            assert all(seq < job.seq for seq in own)
            for user in {other.user_id for other in order} - {job.user_id}:
                before = sum(other.user_id == user for other in order[:place])
                # Those who came later in the same round may be one ahead; so may who was served last before.
                assert before <= len(own) + 1


def test_the_first_job_of_another_goes_before_the_second_of_a_thousand(engine: Engine) -> None:
    submit(engine, [(0, 0, False)] * 1000 + [(1, 0, False)])
    with transaction(engine) as session:
        turns = []
        for _ in range(3):
            claimed = leases.claim(session, KINDS, "w", 30)
            assert claimed is not None
            turns.append(session.scalar(select(Job.user_id).where(Job.id == claimed.job_id)))
    assert turns == [UUID(int=1), UUID(int=2), UUID(int=1)]
    with transaction(engine) as session:
        session.execute(update(Job).values(status=JobStatus.CANCELED, finished_at=func.clock_timestamp()))
