"""A train job from its row to the published version."""

import io
import logging
import time
from dataclasses import dataclass
from uuid import UUID

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import leases
from app.db.session import transaction
from app.db.tables import Concept, ConceptImage, StoredObject, Version
from app.domain.base_models import DEFAULT_NEUTRAL_PROMPTS, BaseModelManifest
from app.domain.errors import DeletedError
from app.domain.jobs import JobStatus, Phase, TrainParams, TrainResult
from app.domain.lineages import Provenance, VersionStatus
from worker.adapters.factors import to_bytes
from worker.adapters.strategy_state import state_to_bytes
from worker.chain import load_chain
from worker.context import JobContext
from worker.lease import CanceledError
from worker.models.base import Base
from worker.objects import make_live
from worker.provenance import describe_machine
from worker.train_hooks import TrainHooks, read_checkpoint
from worker.training.checkpoint import CheckpointError
from worker.training.loop import train
from worker.training.task import Trained, TrainingTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Inputs:
    """What a train job reads from Postgres and S3."""

    images: tuple[Image.Image, ...]
    image_sha256s: tuple[str, ...]
    parent_id: UUID
    parent_adapter_sha256: str | None


@dataclass(frozen=True)
class _Products:
    """What a train job has put into S3: the adapter, and what the strategy keeps beside it, if anything."""

    adapter: StoredObject
    state: StoredObject | None

    def rows(self) -> list[StoredObject]:
        return [self.adapter] if self.state is None else [self.adapter, self.state]


def run(context: JobContext, params: TrainParams) -> None:
    """Train the concept on top of the lineage's head, and publish the version."""
    started_at = time.monotonic()
    inputs = _load_inputs(context, params)
    base, manifest = context.bases.get(context.job.base_model)
    task = TrainingTask(
        images=inputs.images,
        instance_prompt=params.taught.instance_prompt(),
        training=params.training,
        strategy=params.strategy,
        chain=load_chain(context.engine, inputs.parent_id, context.objects.get),
        adapted_modules=params.training.adapted_modules or manifest.adapted_modules,
        neutral_prompts=_neutral_prompts(manifest),
    )
    trained = _train(context, base, task)
    context.lease.enter(Phase.PUBLISHING)
    data = to_bytes(trained.adapter, {})
    adapter = context.objects.put("adapters", data, "application/octet-stream")
    products = _Products(adapter, _put_state(context, trained))
    provenance = _provenance(context, params, inputs, base, manifest, trained, products, time.monotonic() - started_at)
    with transaction(context.engine) as session:
        _publish(session, context, params, products, provenance)


def _put_state(context: JobContext, trained: Trained) -> StoredObject | None:
    if not trained.strategy_state:
        return None
    data = state_to_bytes(trained.strategy_state)
    return context.objects.put("strategy-states", data, "application/octet-stream")


def _neutral_prompts(manifest: BaseModelManifest) -> tuple[str, ...]:
    return manifest.neutral_prompts or DEFAULT_NEUTRAL_PROMPTS


def _train(context: JobContext, base: Base, task: TrainingTask) -> Trained:
    """Go on from the job's checkpoint, or from the start if that is of another task than today's."""
    hooks = TrainHooks(context)
    try:
        return train(base, task, hooks, read_checkpoint(context))
    except CheckpointError as error:
        log.warning("job %s begins anew: %s", context.job.id, error)
        return train(base, task, hooks, None)


def _load_inputs(context: JobContext, params: TrainParams) -> _Inputs:
    with transaction(context.engine) as session:
        rows = session.scalars(
            select(StoredObject)
            .join(ConceptImage, ConceptImage.object_id == StoredObject.id)
            .join(Concept, Concept.id == ConceptImage.concept_id)
            .where(Concept.id == params.concept_id, Concept.deleted_at.is_(None))
            .order_by(ConceptImage.position)
        ).all()
        parent = session.get_one(Version, context.job.parent_version_id)
        parent_adapter = session.get(StoredObject, parent.adapter_object_id) if parent.adapter_object_id else None
    if not rows:
        raise DeletedError("The concept has been deleted.")
    images = tuple(Image.open(io.BytesIO(context.objects.get(row.id))).convert("RGB") for row in rows)
    return _Inputs(
        images=images,
        image_sha256s=tuple(row.sha256 for row in rows),
        parent_id=parent.id,
        parent_adapter_sha256=parent_adapter.sha256 if parent_adapter else None,
    )


def _provenance(
    context: JobContext,
    params: TrainParams,
    inputs: _Inputs,
    base: Base,
    manifest: BaseModelManifest,
    trained: Trained,
    products: _Products,
    seconds: float,
) -> Provenance:
    machine = describe_machine(base.device)
    return Provenance(
        base_model=manifest.name,
        base_fingerprint=base.fingerprint,
        parent_adapter_sha256=inputs.parent_adapter_sha256,
        image_sha256s=inputs.image_sha256s,
        instance_prompt=params.taught.instance_prompt(),
        neutral_prompts=_neutral_prompts(manifest),
        strategy=params.strategy,
        training=params.training,
        adapter_sha256=products.adapter.sha256,
        strategy_state_sha256=products.state.sha256 if products.state else None,
        final_loss=trained.final_loss,
        strategy_notes=dict(trained.notes),
        attempts=context.job.attempt,
        training_seconds=round(seconds, 3),
        machine=machine,
    )


def _publish(
    session: Session, context: JobContext, params: TrainParams, products: _Products, provenance: Provenance
) -> None:
    """Insert the version, move the head if it is still the parent, finish the job: all of it or nothing."""
    job = context.job
    lineage = leases.lock_lineage(session, job.lineage_id)
    _insist_on_concept(session, params.concept_id)
    if leases.lock(session, context.lease.claim).cancel_requested:
        raise CanceledError("The job was canceled at the user's request.")
    version = Version(
        lineage_id=lineage.id,
        number=lineage.take_number(),
        status=VersionStatus.LIVE if lineage.head_version_id == job.parent_version_id else VersionStatus.HELD,
        parent_id=job.parent_version_id,
        concept_id=params.concept_id,
        taught=params.taught,
        strategy=params.strategy,
        training=params.training,
        adapter_object_id=products.adapter.id,
        strategy_state_object_id=products.state.id if products.state else None,
        provenance=provenance,
    )
    session.add(version)
    session.flush()
    if version.status is VersionStatus.LIVE:
        lineage.head_version_id = version.id
    make_live(session, products.rows())
    result = TrainResult(lineage_id=lineage.id, version=version.number)
    leases.finish(
        session,
        context.lease.claim,
        JobStatus.SUCCEEDED,
        result=result,
        error=None,
        step=params.training.steps,
        total_steps=params.training.steps,
        loss=provenance.final_loss,
    )


def _insist_on_concept(session: Session, concept_id: UUID) -> None:
    """Locks the concept, so that it is not deleted between this look and the commit."""
    query = select(Concept.id).where(Concept.id == concept_id, Concept.deleted_at.is_(None)).with_for_update(read=True)
    if session.scalar(query) is None:
        raise DeletedError("The concept has been deleted.")
