"""Evaluations: the version and the whole protocol are pinned at submission."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.evaluation_queries import evaluate_job, evaluation_files, evaluation_of_line, evaluations_of
from app.db.evaluation_tables import Evaluation, EvaluationFile
from app.db.locks import lock_user
from app.db.pages import Page, Window, fetch_page
from app.db.queries import UNFINISHED, ancestry
from app.db.tables import Job, StoredObject
from app.db.tombstones import tombstoned
from app.domain.deletions import DeletedKind
from app.domain.effects import faults_of_evaluation, faults_of_line, insist_on_effect
from app.domain.errors import ConflictError, Fault, InvalidInputError, NotFoundError
from app.domain.evaluations import EvaluationFileName, EvaluationOptions, EvaluationResult
from app.services.context import Work
from app.services.deletions import note_deletion
from app.services.grouping import grouped
from app.services.jobs import PlacedJob, request_cancel
from app.services.lineages import get_lineage, lock_lineage
from app.services.submission import submit_job
from app.services.taught_bases import insist_on_base
from app.services.versions import named_version


@dataclass(frozen=True)
class EvaluationDetails:
    """An evaluation, the number of its version, its job, and the figures there are."""

    evaluation: Evaluation
    version: int
    job: Job
    files: Sequence[tuple[EvaluationFile, StoredObject]]


async def submit_evaluation(
    work: Work, user_id: UUID, lineage_id: UUID, number: int | None, options: EvaluationOptions, *, isolated: bool
) -> PlacedJob:
    """Queue an evaluate job for a version, by default the head.

    Raises:
        NotFoundError: the user has no such lineage.
        InvalidInputError: it has no such version, or one that has learned nothing, or options that change nothing.
        BaseChangedError: the base has other weights than the version was taught on.
        QuotaReachedError: the user has too many jobs already, or has used up the GPU seconds.
    """
    insist_on_effect(faults_of_evaluation(options))
    session = work.session
    await lock_user(session, user_id)
    lineage, head = (await get_lineage(session, user_id, lineage_id))[:2]
    version = (await named_version(session, lineage_id, head if number is None else number, "version"))[0]
    line = await ancestry(session, version.id)
    if all(link.taught is None for link in line):
        fault = Fault(field="version", message="it has learned no concept")
        raise InvalidInputError(f"Version {version.number} has learned nothing that could be scored.", (fault,))
    kinds = frozenset(link.taught.kind for link in line if link.taught is not None)
    is_trained = any(link.taught is not None and link.training is not None for link in line)
    insist_on_effect(faults_of_line(options, kinds, isolated=isolated, trained=is_trained))
    base = await insist_on_base(session, lineage, line)
    job, evaluation_id = evaluate_job(lineage, version.id)
    placed = await submit_job(work, job)
    evaluation = evaluation_of_line(
        lineage, line, job.id, base.manifest.evaluation.overridden(options), isolated=isolated
    )
    evaluation.id = evaluation_id
    session.add(evaluation)
    await session.flush()
    return placed


async def list_evaluations(
    session: AsyncSession, user_id: UUID, window: Window, lineage_id: UUID | None
) -> Page[EvaluationDetails]:
    """The user's evaluations, newest first."""
    query = evaluations_of(user_id)
    if lineage_id is not None:
        query = query.where(Evaluation.lineage_id == lineage_id)
    page = await fetch_page(session, query, Evaluation, window)
    rows = await session.execute(evaluation_files([row[0].id for row in page.items]))
    files = grouped(rows.all(), lambda row: row[0].evaluation_id)
    return page.map(lambda row: EvaluationDetails(row[0], row[1], row[2], files.get(row[0].id, [])))


async def get_evaluation(session: AsyncSession, user_id: UUID, evaluation_id: UUID) -> EvaluationDetails:
    """One evaluation.

    Raises:
        NotFoundError: the user has no such evaluation.
    """
    row = (await session.execute(evaluations_of(user_id).where(Evaluation.id == evaluation_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no evaluation {evaluation_id}.")
    files = (await session.execute(evaluation_files([evaluation_id]))).all()
    return EvaluationDetails(row[0], row[1], row[2], [(file, stored) for file, stored in files])


async def get_result(session: AsyncSession, user_id: UUID, evaluation_id: UUID) -> EvaluationResult:
    """What an evaluation has found.

    Raises:
        NotFoundError: the user has no such evaluation, or it has found nothing (yet).
    """
    details = await get_evaluation(session, user_id, evaluation_id)
    if details.evaluation.result is None:
        raise NotFoundError(f"There is no result; the job is {details.job.status.value}.")
    return details.evaluation.result


async def get_file(session: AsyncSession, user_id: UUID, evaluation_id: UUID, name: EvaluationFileName) -> StoredObject:
    """The object that holds a figure.

    Raises:
        NotFoundError: the user has no such evaluation, or that figure is not there (yet).
    """
    details = await get_evaluation(session, user_id, evaluation_id)
    for file, stored in details.files:
        if file.name is name:
            return stored
    raise NotFoundError(f"There is no {name.value}; the job is {details.job.status.value}.")


async def delete_evaluation(session: AsyncSession, user_id: UUID, evaluation_id: UUID) -> None:
    """Hide the evaluation, and cancel its job; the sweeper purges it.

    Raises:
        NotFoundError: the user has no such evaluation.
        ConflictError: a gate waits for it; its train job can be canceled.
    """
    # Its lineage first: an erasure there may be about to remove it.
    details = await get_evaluation(session, user_id, evaluation_id)
    await lock_lineage(session, user_id, details.evaluation.lineage_id)
    if details.job.kind.traits.is_gated and details.job.status in UNFINISHED:
        name = f"{details.job.kind.value} job {details.job.id}"
        raise ConflictError(f"A promotion gate waits for it: cancel the {name} instead.")
    deleted = await session.scalar(tombstoned(Evaluation, Evaluation.id == evaluation_id))
    if deleted is None:  # Somebody else was faster.
        raise NotFoundError(f"There is no evaluation {evaluation_id}.")
    note_deletion(session, user_id, DeletedKind.EVALUATION, evaluation_id)
    await request_cancel(session, Job.id == details.job.id)
