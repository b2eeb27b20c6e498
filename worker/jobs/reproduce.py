"""A reproduce job: a version is trained again from what is recorded of it, and the two adapters are compared."""

import hashlib
from dataclasses import dataclass

from app.db import leases
from app.db.session import transaction
from app.db.tables import StoredObject, Version
from app.domain.comparison import Difference, differences, facts_of
from app.domain.errors import DeletedError
from app.domain.jobs import JobStatus, Phase, ReproduceParams, ReproduceResult
from app.domain.lineages import Provenance
from worker.adapters.factors import Adapter, from_bytes, to_bytes
from worker.attempt.chain import load_chain
from worker.attempt.job_context import JobContext
from worker.attempt.lease import lock_uncanceled
from worker.attempt.machine import describe_machine
from worker.jobs.teaching import load_images, train_resumably
from worker.jobs.training_hooks import TrainHooks
from worker.models.device import with_threads
from worker.training.training_task import TrainingTask
from worker.worker_metrics import REPRODUCTIONS


@dataclass(frozen=True)
class _Recorded:
    """What is known of the version."""

    version: Version
    adapter: StoredObject
    provenance: Provenance


def run(context: JobContext, params: ReproduceParams) -> None:
    """Train it on top of its parent, as it was trained, and finish the job with how the two compare."""
    recorded = _load(context, params)
    provenance = recorded.provenance
    images = load_images(context, params.concept_id)
    base, manifest = context.bases.get(context.job.base_model)
    assert recorded.version.parent_id is not None
    task = TrainingTask(
        images=images.images,
        instance_prompt=provenance.instance_prompt,
        training=provenance.training,
        strategy=provenance.strategy,
        chain=load_chain(context.engine, recorded.version.parent_id, context.objects.get),
        adapted_modules=provenance.training.adapted_modules or manifest.adapted_modules,
        neutral_prompts=provenance.neutral_prompts,
    )
    with with_threads(provenance.machine.torch_threads):
        trained = train_resumably(context, base, task, TrainHooks(context, provenance.strategy.name))
        machine = describe_machine(base.device)
    context.lease.enter(Phase.PUBLISHING)
    now = provenance.model_copy(
        update={"base_fingerprint": base.fingerprint, "image_sha256s": images.sha256s, "machine": machine}
    )
    changes = differences(facts_of(None, None, provenance), facts_of(None, None, now))
    _finish(context, recorded, _compared(context, recorded, trained.adapter, changes))


def _load(context: JobContext, params: ReproduceParams) -> _Recorded:
    with transaction(context.engine) as session:
        version = session.get(Version, params.version_id)
        if version is None or not isinstance(version.provenance, Provenance):
            raise DeletedError("The version has been deleted.")
        return _Recorded(version, session.get_one(StoredObject, version.adapter_object_id), version.provenance)


def _compared(
    context: JobContext, recorded: _Recorded, got: Adapter, changes: tuple[Difference, ...]
) -> ReproduceResult:
    expected = from_bytes(context.objects.get(recorded.adapter.id))
    got_sha256 = hashlib.sha256(to_bytes(got, {})).hexdigest()
    return ReproduceResult(
        lineage_id=context.job.lineage_id,
        version=recorded.version.number,
        reproduced=got_sha256 == recorded.adapter.sha256,
        expected_sha256=recorded.adapter.sha256,
        got_sha256=got_sha256,
        max_abs_difference=_largest_difference(expected, got),
        differences=changes,
    )


def _finish(context: JobContext, recorded: _Recorded, result: ReproduceResult) -> None:
    steps = recorded.provenance.training.steps
    claim, succeeded = context.lease.claim, JobStatus.SUCCEEDED
    with transaction(context.engine) as session:
        lock_uncanceled(session, claim)
        leases.finish(session, claim, succeeded, result=result, error=None, step=steps, total_steps=steps)
    REPRODUCTIONS.labels("yes" if result.reproduced else "no").inc()


def _largest_difference(expected: Adapter, got: Adapter) -> float | None:
    if expected.modules.keys() != got.modules.keys():
        return None
    pairs = [(expected.delta(name), got.delta(name)) for name in expected.modules]
    if any(one.shape != other.shape for one, other in pairs):
        return None
    return max(float((one - other).abs().max()) for one, other in pairs)
