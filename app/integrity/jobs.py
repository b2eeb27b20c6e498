"""Jobs: a status comes with what belongs to it, and a result with what it names."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.tables import Generation, GenerationImage, Job
from app.domain.jobs import TERMINAL, GenerateResult, JobStatus, TrainResult
from app.integrity.lineages import Histories
from app.integrity.violations import Rule, Violation


def job_violations(session: Session, histories: Histories) -> Iterator[Violation]:
    """What is wrong with any job's row, or with what its result names."""
    jobs = session.scalars(select(Job)).all()
    for job in jobs:
        for lack in _lacks(job):
            yield Violation(Rule.JOB_COMPLETE, f"job {job.id} ({job.kind.value})", lack)
    yield from _versions(jobs, histories)
    yield from _pictures(session, jobs)


def _lacks(job: Job) -> Iterator[str]:
    is_over, is_running = job.status in TERMINAL, job.status is JobStatus.RUNNING
    if is_over is not (job.finished_at is not None):
        yield f"it is {job.status.value}, and finished_at is {job.finished_at}"
    if is_running is not (job.lease_expires_at is not None):
        yield f"it is {job.status.value}, and its lease expires at {job.lease_expires_at}"
    if is_running is not (job.worker is not None):
        yield f"it is {job.status.value}, and its worker is {job.worker}"
    if job.status is JobStatus.SUCCEEDED and job.result is None:
        yield "it succeeded without a result"
    if job.status is JobStatus.FAILED and job.error is None:
        yield "it failed without an error"
    if job.attempt == 0 and (is_running or job.status is JobStatus.SUCCEEDED):
        yield f"it is {job.status.value} without an attempt"


def _versions(jobs: Sequence[Job], histories: Histories) -> Iterator[Violation]:
    """What a train or an import job published is there or was erased, and no other job published it."""
    results = [(job, job.result) for job in jobs if isinstance(job.result, TrainResult)]
    there = {(line, node.number) for line, shown in histories.shown().items() for node in shown} | histories.erased
    published = Counter((result.lineage_id, result.version) for _, result in results)
    for job, result in results:
        subject, name = f"job {job.id} ({job.kind.value})", (result.lineage_id, result.version)
        if name not in there:
            yield Violation(Rule.RESULT_EXISTS, subject, f"its version {result.version} is not there")
        if published[name] > 1:
            yield Violation(Rule.PUBLISHED_ONCE, subject, f"another job published version {result.version} too")


def _pictures(session: Session, jobs: Sequence[Job]) -> Iterator[Violation]:
    """A generation whose job succeeded has all its pictures; any other has those that were drawn, at most all."""
    drawn = {
        job.result.generation_id: job
        for job in jobs
        if job.status is JobStatus.SUCCEEDED and isinstance(job.result, GenerateResult)
    }
    counts = session.execute(
        select(Generation.id, Generation.num_images, func.count(GenerationImage.position))
        .outerjoin(GenerationImage, GenerationImage.generation_id == Generation.id)
        .group_by(Generation.id)
    ).all()
    for generation_id, wanted, got in counts:
        least = wanted if generation_id in drawn else 0
        if not least <= got <= wanted:
            subject = f"generation {generation_id}"
            yield Violation(Rule.RESULT_EXISTS, subject, f"it has {got} pictures instead of {wanted}")
