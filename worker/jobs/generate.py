"""A generate job from its row to the published pictures."""

import json
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import leases
from app.db.histories import taught_in
from app.db.leases import Progress
from app.db.locks import lock_lineage
from app.db.session import transaction
from app.db.tables import Generation, GenerationImage, StoredObject, Version
from app.domain.concepts import TaughtConcept
from app.domain.errors import DeletedError, Fault, InvalidInputError
from app.domain.jobs import GenerateParams, JobStatus, Phase
from worker.attempt.chain import accumulated_update, ancestry
from worker.attempt.job_context import JobContext
from worker.attempt.lease import lock_uncanceled
from worker.attempt.pace import Pace
from worker.attempt.taught_base import taught_base
from worker.attempt.worker_objects import make_live
from worker.generation.png import to_png
from worker.generation.sampling import GenerationRequest, generate
from worker.models.base import Base
from worker.worker_metrics import timed_pictures


class GenerateHooks:
    """Implements `worker.generation.sampling.GenerationHooks` for one attempt at a job."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._pace = Pace()

    def step(self, step: int, total_steps: int) -> None:
        """A denoising step has ended."""
        self._context.lease.tick(Progress(step, total_steps, self._pace.step(), None))
        self._context.hand_back_at_shutdown()


def run(context: JobContext, params: GenerateParams) -> None:
    """Draw the pictures of a generation, each published when it is there: what was drawn stays, whatever comes."""
    task = _read(context, params)
    base, manifest = taught_base(context, task.version.id)
    _insist_on_heard_concepts(context, base, task)
    generation = task.generation
    prompt = generation.resolved_prompt
    update = accumulated_update(context.engine, task.version.id, prompt, context.objects.get, context.updates)
    request = GenerationRequest(
        prompt=prompt,
        negative_prompt=generation.negative_prompt,
        num_images=generation.num_images,
        seed=generation.seed,
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        width=generation.width or manifest.resolution,
        height=generation.height or manifest.resolution,
        exact=generation.exact,
    )
    context.lease.enter(Phase.GENERATING)
    context.hand_back_at_shutdown()
    with closing(generate(base, update, request, GenerateHooks(context), task.drawn)) as pictures:
        for position, picture in enumerate(timed_pictures(context.job.base_model, pictures), task.drawn):
            about = _provenance(task, context.job.base_model, base.fingerprint, position, picture.at_once)
            provenance = about | _size(request)
            row = context.objects.put("pictures", to_png(picture.image, provenance), "image/png")
            with transaction(context.engine) as session:
                _publish(session, context, generation, row, position)
            context.lease.check()
    with transaction(context.engine) as session:
        _finish(session, context, generation)


@dataclass(frozen=True)
class _Task:
    """What is to be drawn; the first `drawn` pictures are there from an earlier attempt."""

    generation: Generation
    version: Version
    adapter: StoredObject | None
    taught: tuple[TaughtConcept, ...]
    drawn: int


def _read(context: JobContext, params: GenerateParams) -> _Task:
    with transaction(context.engine) as session:
        generation = session.get(Generation, params.generation_id)
        if generation is None or generation.deleted_at is not None:
            raise DeletedError("The generation has been deleted.")
        version = session.get_one(Version, generation.version_id)
        adapter = session.get(StoredObject, version.adapter_object_id) if version.adapter_object_id else None
        taught = taught_in(ancestry(session, version.id))
        drawn = select(func.count()).where(GenerationImage.generation_id == generation.id)
        return _Task(generation, version, adapter, taught, session.scalar(drawn) or 0)


def _insist_on_heard_concepts(context: JobContext, base: Base, task: _Task) -> None:
    """Say what of the prompts falls off.

    Raises:
        InvalidInputError: a concept that the prompt names would fall off.
    """
    generation = task.generation
    prompts = {"prompt": generation.resolved_prompt, "negative_prompt": generation.negative_prompt or ""}
    cut = {field: unheard for field, prompt in prompts.items() if (unheard := base.unheard(prompt))}
    named = [concept for concept in task.taught if concept.is_named_in(cut.get("prompt", ""))]
    if named:
        names = ", ".join(f"<{concept.name}>" for concept in named)
        fault = Fault(field="prompt", message=f"too long: {names} would be cut off; name it earlier")
        raise InvalidInputError("The prompt is too long for this base model, which would not hear its end.", (fault,))
    if not cut:
        return
    notes = tuple(Fault(field=field, message=f"cut off, too long: {unheard}") for field, unheard in cut.items())
    with transaction(context.engine) as session:
        leases.lock(session, context.lease.claim)
        row = session.get_one(Generation, generation.id)
        row.warnings = tuple(dict.fromkeys((*row.warnings, *notes)))


def _size(request: GenerationRequest) -> dict[str, str]:
    return {"width": str(request.width), "height": str(request.height)}


def _provenance(task: _Task, base_model: str, base_fingerprint: str, position: int, at_once: int) -> dict[str, str]:
    """What the PNG says of itself: enough to draw it again."""
    generation = task.generation
    return {
        "generation_id": str(generation.id),
        "lineage_id": str(generation.lineage_id),
        "version": str(task.version.number),
        "adapter_sha256": task.adapter.sha256 if task.adapter else "",
        "base_model": base_model,
        "base_fingerprint": base_fingerprint,
        "prompt": generation.prompt,
        "resolved_prompt": generation.resolved_prompt,
        "negative_prompt": generation.negative_prompt or "",
        "seed": str(generation.seed + position),
        "steps": str(generation.steps),
        "guidance_scale": json.dumps(generation.guidance_scale),
        "pictures_at_once": str(at_once),
    }


def _publish(session: Session, context: JobContext, generation: Generation, row: StoredObject, position: int) -> None:
    """Name a picture; also one of a job that was canceled while it was drawn."""
    _lock(session, generation)
    leases.lock(session, context.lease.claim)
    session.add(GenerationImage(generation_id=generation.id, position=position, object_id=row.id))
    make_live(session, [row])


def _finish(session: Session, context: JobContext, generation: Generation) -> None:
    _lock(session, generation)
    lock_uncanceled(session, context.lease.claim)
    steps = generation.num_images * generation.steps
    leases.finish(session, context.lease.claim, JobStatus.SUCCEEDED, error=None, step=steps, total_steps=steps)


def _lock(session: Session, generation: Generation) -> None:
    lock_lineage(session, generation.lineage_id)
    query = select(Generation.id).where(Generation.id == generation.id, Generation.deleted_at.is_(None))
    if session.scalar(query.with_for_update()) is None:
        raise DeletedError("The generation has been deleted.")
