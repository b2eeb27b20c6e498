"""What all jobs that train have in common: a concept's images, a training that resumes, what is remembered of it."""

import io
import logging
import time
from dataclasses import dataclass
from uuid import UUID

from PIL import Image
from sqlalchemy import select

from app.db.session import transaction
from app.db.tables import Concept, ConceptImage, StoredObject
from app.domain.concept_tasks import ConceptTask
from app.domain.errors import DeletedError
from app.domain.lineages import Provenance
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import to_bytes
from worker.adapters.strategy_state import state_to_bytes
from worker.attempt.job_context import JobContext
from worker.attempt.machine import describe_machine
from worker.attempt.taught_base import taught_base
from worker.jobs.training_hooks import read_checkpoint
from worker.models.base import Base
from worker.training.checkpoint import CheckpointError
from worker.training.loop import train
from worker.training.training_task import Hooks, Trained, TrainingTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParentVersion:
    """What a task stands on: the parent and its chain, oldest first, and the sha256 of its adapter if it has one."""

    version_id: UUID
    chain: tuple[ChainLink, ...]
    adapter_sha256: str | None


@dataclass(frozen=True)
class Learned:
    """What came of a task: the adapter's object, still pending, the strategy's state's if any, and the provenance."""

    adapter: StoredObject
    state: StoredObject | None
    provenance: Provenance

    def rows(self) -> list[StoredObject]:
        """The objects."""
        return [self.adapter] if self.state is None else [self.adapter, self.state]


@dataclass(frozen=True)
class ConceptImages:
    """A concept's images, and the hashes of the objects that hold them."""

    images: tuple[Image.Image, ...]
    sha256s: tuple[str, ...]


def learn(context: JobContext, task: ConceptTask, parent: ParentVersion, hooks: Hooks) -> Learned:
    """Train, and store the adapter.

    Raises:
        DeletedError: the concept is gone.
        BaseChangedError: the base has other weights than the parent was taught on.
    """
    started_at = time.monotonic()
    images = load_images(context, task.concept_id)
    base, manifest = taught_base(context, parent.version_id)
    training_task = TrainingTask(
        images=images.images,
        instance_prompt=task.taught.instance_prompt(),
        training=task.training,
        strategy=task.strategy,
        chain=parent.chain,
        adapted_modules=task.training.adapted_modules or manifest.adapted_modules,
        neutral_prompts=manifest.prompts_of_anything(),
    )
    trained = train_resumably(context, base, training_task, hooks)
    adapter = context.objects.put("adapters", to_bytes(trained.adapter, {}), "application/octet-stream")
    state = _put_state(context, trained)
    seconds = time.monotonic() - started_at
    provenance = _provenance(context, parent, images, base, training_task, trained, adapter, state, seconds)
    return Learned(adapter, state, provenance)


def _put_state(context: JobContext, trained: Trained) -> StoredObject | None:
    if not trained.strategy_state:
        return None
    data = state_to_bytes(trained.strategy_state)
    return context.objects.put("strategy-states", data, "application/octet-stream")


def train_resumably(context: JobContext, base: Base, task: TrainingTask, hooks: Hooks) -> Trained:
    """Go on from the job's checkpoint, or from the start if that is of another task than today's."""
    try:
        return train(base, task, hooks, read_checkpoint(context))
    except CheckpointError as error:
        log.warning("job %s starts again from step 0: %s", context.job.id, error)
        return train(base, task, hooks, None)


def load_images(context: JobContext, concept_id: UUID) -> ConceptImages:
    """The images of a concept.

    Raises:
        DeletedError: it is gone.
    """
    with transaction(context.engine) as session:
        rows = session.scalars(
            select(StoredObject)
            .join(ConceptImage, ConceptImage.object_id == StoredObject.id)
            .join(Concept, Concept.id == ConceptImage.concept_id)
            .where(Concept.id == concept_id, Concept.deleted_at.is_(None))
            .order_by(ConceptImage.position)
        ).all()
    if not rows:
        raise DeletedError("The concept has been deleted.")
    images = tuple(Image.open(io.BytesIO(context.objects.get(row.id))).convert("RGB") for row in rows)
    return ConceptImages(images, tuple(row.sha256 for row in rows))


def _provenance(
    context: JobContext,
    parent: ParentVersion,
    images: ConceptImages,
    base: Base,
    task: TrainingTask,
    trained: Trained,
    adapter: StoredObject,
    state: StoredObject | None,
    seconds: float,
) -> Provenance:
    return Provenance(
        base_model=context.job.base_model,
        base_fingerprint=base.fingerprint,
        parent_adapter_sha256=parent.adapter_sha256,
        image_sha256s=images.sha256s,
        instance_prompt=task.instance_prompt,
        neutral_prompts=task.neutral_prompts,
        strategy=task.strategy,
        training=task.training,
        adapter_sha256=adapter.sha256,
        strategy_state_sha256=None if state is None else state.sha256,
        final_loss=trained.final_loss,
        strategy_notes=dict(trained.notes),
        attempts=context.job.attempt,
        training_seconds=round(seconds, 3),
        machine=describe_machine(base.device),
    )
