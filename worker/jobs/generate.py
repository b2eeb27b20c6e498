"""A generate job from its row to the published pictures."""

import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import leases
from app.db.leases import Progress
from app.db.locks import lock_lineage
from app.db.session import transaction
from app.db.tables import Generation, GenerationImage, StoredObject, Version
from app.domain.errors import DeletedError
from app.domain.jobs import GenerateParams, JobStatus, Phase
from worker.attempt.chain import accumulated_update
from worker.attempt.job_context import JobContext
from worker.attempt.lease import lock_uncanceled
from worker.attempt.pace import Pace
from worker.attempt.worker_objects import make_live
from worker.generation.png import to_png
from worker.generation.sampling import GenerationRequest, generate


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
    """Draw the pictures of a generation, and publish them."""
    with transaction(context.engine) as session:
        generation = session.get(Generation, params.generation_id)
        if generation is None or generation.deleted_at is not None:
            raise DeletedError("The generation has been deleted.")
        version = session.get_one(Version, generation.version_id)
        adapter = session.get(StoredObject, version.adapter_object_id) if version.adapter_object_id else None
    base, manifest = context.bases.get(context.job.base_model)
    prompt = generation.resolved_prompt
    update = accumulated_update(context.engine, version.id, prompt, context.objects.get, context.updates)
    request = GenerationRequest(
        prompt=prompt,
        negative_prompt=generation.negative_prompt,
        num_images=generation.num_images,
        seed=generation.seed,
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        resolution=manifest.resolution,
    )
    context.lease.enter(Phase.GENERATING)
    context.hand_back_at_shutdown()
    images = generate(base, update, request, GenerateHooks(context))
    context.lease.enter(Phase.PUBLISHING)
    rows = []
    for position, image in enumerate(images):
        provenance = _provenance(generation, version, adapter, manifest.name, base.fingerprint, position)
        rows.append(context.objects.put("pictures", to_png(image, provenance), "image/png"))
        context.lease.check()
    with transaction(context.engine) as session:
        _publish(session, context, generation, rows)


def _provenance(
    generation: Generation,
    version: Version,
    adapter: StoredObject | None,
    base_model: str,
    base_fingerprint: str,
    position: int,
) -> dict[str, str]:
    """What the PNG says of itself: enough to draw it again."""
    return {
        "generation_id": str(generation.id),
        "lineage_id": str(generation.lineage_id),
        "version": str(version.number),
        "adapter_sha256": adapter.sha256 if adapter else "",
        "base_model": base_model,
        "base_fingerprint": base_fingerprint,
        "prompt": generation.prompt,
        "resolved_prompt": generation.resolved_prompt,
        "negative_prompt": generation.negative_prompt or "",
        "seed": str(generation.seed + position),
        "steps": str(generation.steps),
        "guidance_scale": json.dumps(generation.guidance_scale),
    }


def _publish(session: Session, context: JobContext, generation: Generation, rows: list[StoredObject]) -> None:
    """Name the pictures and finish the job: all of it or nothing."""
    lock_lineage(session, generation.lineage_id)
    query = select(Generation.id).where(Generation.id == generation.id, Generation.deleted_at.is_(None))
    if session.scalar(query.with_for_update()) is None:
        raise DeletedError("The generation has been deleted.")
    lock_uncanceled(session, context.lease.claim)
    session.add_all(
        GenerationImage(generation_id=generation.id, position=position, object_id=row.id)
        for position, row in enumerate(rows)
    )
    make_live(session, rows)
    steps = generation.num_images * generation.steps
    leases.finish(session, context.lease.claim, JobStatus.SUCCEEDED, error=None, step=steps, total_steps=steps)
