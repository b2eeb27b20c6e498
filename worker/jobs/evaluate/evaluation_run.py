"""Carrying out an evaluation, within whatever job has asked for it, and publishing what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

import torch
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.evaluation_tables import Evaluation, EvaluationFile
from app.db.locks import kept_concepts
from app.db.session import transaction
from app.db.tables import StoredObject
from app.domain.concepts import ConceptKind
from app.domain.errors import DeletedError
from app.domain.evaluations import EvaluationFileName, EvaluationProtocol, EvaluationResult
from app.domain.jobs import Phase
from worker.attempt.job_context import JobContext
from worker.attempt.taught_base import taught_base
from worker.attempt.worker_objects import make_live
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.evaluation.evaluate import Evaluated, evaluate
from worker.jobs.evaluate.hooks import JobEvaluationHooks
from worker.jobs.evaluate.inputs import make_task


@dataclass(frozen=True)
class CarriedOut:
    """What an evaluation has found, its figures as pending objects, and the denoising steps of all its pictures."""

    evaluation: Evaluation
    result: EvaluationResult
    files: Mapping[EvaluationFileName, StoredObject]
    total_steps: int


def carry_out(context: JobContext, evaluation_id: UUID) -> CarriedOut:
    """Evaluate; what an earlier attempt has drawn is not drawn again.

    Raises:
        DeletedError: the evaluation has been deleted.
        BaseChangedError: the base has other weights than the version was taught on.
        EncoderError: an encoder cannot be loaded.
    """
    with transaction(context.engine) as session:
        evaluation = session.get(Evaluation, evaluation_id)
    if evaluation is None or evaluation.deleted_at is not None:
        raise DeletedError("The evaluation has been deleted.")
    base, manifest = taught_base(context, evaluation.version_id)
    hooks = JobEvaluationHooks(context)
    task = make_task(context, evaluation, base, manifest, hooks)
    hooks.begin(task.total_steps())
    encoders = {kind: _encoder(evaluation.protocol.encoders.of(kind), base.device) for kind in ConceptKind}
    second = evaluation.protocol.encoders.second_object
    evaluated = evaluate(base, task, encoders, hooks, None if second is None else _encoder(second, base.device))
    figures = _figures(evaluation.protocol, evaluated, [column.references for column in task.columns])
    context.lease.enter(Phase.PUBLISHING)
    return CarriedOut(evaluation, evaluated.result, _stored(context, figures), task.total_steps())


@cache
def _encoder(name: str, device: torch.device) -> Encoder:
    """Each encoder is loaded once by a process, as base models are."""
    return load_encoder(name, device)


def _figures(
    protocol: EvaluationProtocol, evaluated: Evaluated, references: Sequence[Sequence[Image.Image]]
) -> dict[EvaluationFileName, bytes]:
    # Matplotlib is slow to import, and most workers draw no figure for long.
    from worker.evaluation.plots.curve import curve
    from worker.evaluation.plots.heatmap import heatmap
    from worker.evaluation.plots.sheet import sheet

    result = evaluated.result
    figures = {
        EvaluationFileName.HEATMAP_PNG: heatmap(result, protocol),
        EvaluationFileName.CURVE_PNG: curve(result, protocol, "png"),
        EvaluationFileName.CURVE_SVG: curve(result, protocol, "svg"),
    }
    sheets = sheet(result, references, evaluated.tiles)
    return figures | {EvaluationFileName(f"sheet.{image_format}"): data for image_format, data in sheets.items()}


def _stored(context: JobContext, figures: Mapping[EvaluationFileName, bytes]) -> dict[EvaluationFileName, StoredObject]:
    rows = {}
    for name, data in figures.items():
        rows[name] = context.objects.put("evaluations", data, name.media_type)
        context.lease.check()
    return rows


def publish(session: Session, carried_out: CarriedOut) -> None:
    """Name the figures and store the result, in the transaction that ends the job; the lineage is locked.

    Raises:
        DeletedError: the evaluation, or a concept whose pictures it shows, has been deleted.
    """
    evaluation = session.scalar(
        select(Evaluation)
        .where(Evaluation.id == carried_out.evaluation.id, Evaluation.deleted_at.is_(None))
        .with_for_update()
    )
    if evaluation is None:
        raise DeletedError("The evaluation has been deleted.")
    _insist_on_concepts(session, evaluation.concept_ids, carried_out.result)
    for name, row in carried_out.files.items():
        session.add(EvaluationFile(evaluation_id=evaluation.id, name=name, object_id=row.id))
    make_live(session, carried_out.files.values())
    evaluation.result = carried_out.result


def _insist_on_concepts(session: Session, concept_ids: Sequence[UUID], result: EvaluationResult) -> None:
    """Locks the concepts, so that none whose pictures are shown is deleted between this look and the commit."""
    there = session.scalars(kept_concepts(concept_ids)).all()
    if len(there) < sum(concept.references > 0 for concept in result.concepts):
        raise DeletedError("A concept has been deleted while it was evaluated.")
