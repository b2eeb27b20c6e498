"""The front end's reads of evaluations, and how a new one is made: by a request, or by the worker after a training."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import Select, select

from app.db.evaluation_tables import Evaluation, EvaluationFile
from app.db.jobs import new_job
from app.db.tables import Job, Lineage, StoredObject, Version
from app.domain.evaluations import EvaluationProtocol
from app.domain.jobs import EvaluateParams, EvaluateResult


def evaluations_of(user_id: UUID) -> Select[Evaluation, int, Job]:
    """The evaluations of a user, each with the number of its version and the job that carries it out."""
    return (
        select(Evaluation, Version.number, Job)
        .join(Version, Version.id == Evaluation.version_id)
        .join(Lineage, Lineage.id == Evaluation.lineage_id)
        .join(Job, Job.id == Evaluation.job_id)
        .where(Evaluation.user_id == user_id, Evaluation.deleted_at.is_(None), Lineage.deleted_at.is_(None))
    )


def evaluation_files(evaluation_ids: Sequence[UUID]) -> Select[EvaluationFile, StoredObject]:
    """The figures of these evaluations."""
    return (
        select(EvaluationFile, StoredObject)
        .join(StoredObject, StoredObject.id == EvaluationFile.object_id)
        .where(EvaluationFile.evaluation_id.in_(evaluation_ids))
        .order_by(EvaluationFile.evaluation_id, EvaluationFile.name)
    )


def evaluation_of_line(
    lineage: Lineage, line: Sequence[Version], job_id: UUID, protocol: EvaluationProtocol, *, isolated: bool = False
) -> Evaluation:
    """The row of an evaluation of the line's last version, to be carried out by that job."""
    return Evaluation(
        user_id=lineage.user_id,
        lineage_id=lineage.id,
        version_id=line[-1].id,
        job_id=job_id,
        concept_ids=[version.concept_id for version in line if version.concept_id is not None],
        protocol=protocol,
        isolated=isolated,
    )


def evaluate_job(lineage: Lineage, version_id: UUID) -> tuple[Job, UUID]:
    """A job that evaluates that version, and the id that its evaluation is to have."""
    evaluation_id = uuid4()
    params = EvaluateParams(evaluation_id=evaluation_id)
    job = new_job(lineage, params, version_id=version_id, result=EvaluateResult(evaluation_id=evaluation_id))
    return job, evaluation_id
