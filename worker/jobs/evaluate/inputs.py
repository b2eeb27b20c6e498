"""From an evaluation's row to the line of versions that it looks at."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from PIL import Image
from sqlalchemy import select

from app.db.evaluation_tables import Evaluation
from app.db.session import transaction
from app.db.tables import Concept, ConceptImage, StoredObject, Version
from app.domain.base_models import BaseModelManifest
from worker.adapters.accumulated import Update
from worker.attempt.chain import accumulated_update, ancestry, chain_key
from worker.attempt.job_context import JobContext
from worker.evaluation.evaluation_task import Column, EvaluationTask, Row, Subject
from worker.jobs.evaluate.hooks import JobEvaluationHooks
from worker.jobs.evaluate.isolated_training import IsolatedConcept, isolated_subject
from worker.jobs.evaluate.memos import VersionMemos
from worker.models.base import Base


@dataclass(frozen=True)
class _Line:
    """The evaluated version's line, the base first; the hash of each version's chain; its concepts' images today."""

    versions: Sequence[Version]
    keys: Sequence[str]
    images: Sequence[Sequence[StoredObject]]


def make_task(
    context: JobContext,
    evaluation: Evaluation,
    base: Base,
    manifest: BaseModelManifest,
    hooks: JobEvaluationHooks,
) -> EvaluationTask:
    """What the evaluation is to do; nothing is drawn or trained yet."""
    line = _read_line(context, evaluation)
    rows, columns = [], []
    for place, (version, key, images) in enumerate(zip(line.versions, line.keys, line.images, strict=True)):
        memos = VersionMemos(context, version.id)
        subject = Subject(f"{base.fingerprint} {key}", partial(_update, context, version.id), memos)
        rows.append(Row(version.number, version.taught, subject))
        if version.taught is None:
            continue
        pictures = tuple(_picture(context.objects.get(row.id)) for row in images)
        alone = None
        if evaluation.isolated and pictures and version.training is not None:
            concept = IsolatedConcept(pictures, tuple(row.sha256 for row in images), version.taught, version.training)
            alone = isolated_subject(context, base, manifest, concept, memos, hooks)
        columns.append(Column(version.taught, place, pictures, alone))
    return EvaluationTask(
        protocol=evaluation.protocol,
        resolution=manifest.resolution,
        neutral_prompts=manifest.prompts_of_anything(),
        rows=tuple(rows),
        columns=tuple(columns),
    )


def _update(context: JobContext, version_id: UUID, prompt: str) -> Update:
    return accumulated_update(context.engine, version_id, prompt, context.objects.get, context.updates)


def _read_line(context: JobContext, evaluation: Evaluation) -> _Line:
    with transaction(context.engine) as session:
        versions = ancestry(session, evaluation.version_id)
        keys = [chain_key(session, versions[1:end]) for end in range(1, len(versions) + 1)]
        found = session.execute(
            select(ConceptImage.concept_id, StoredObject)
            .join(StoredObject, StoredObject.id == ConceptImage.object_id)
            .join(Concept, Concept.id == ConceptImage.concept_id)
            .where(Concept.id.in_(evaluation.concept_ids), Concept.deleted_at.is_(None))
            .order_by(ConceptImage.position)
        ).all()
    images = [[row for concept_id, row in found if concept_id == version.concept_id] for version in versions]
    return _Line(versions, keys, images)


def _picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")
