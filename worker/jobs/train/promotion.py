"""What follows a training: an evaluation, if the lineage wants one, and the gate that may keep a version from the head.

A version under a gate is published as held before it is evaluated. So a failing evaluation loses no training. The train
job goes on until the gate has decided, so that the lineage's next training waits.
"""

from app.db import leases
from app.db.locks import lock_lineage
from app.db.session import transaction
from app.db.tables import Job, Version
from app.domain.jobs import JobStatus, TrainParams, TrainResult
from app.domain.lineages import Provenance, VersionStatus
from worker.attempt.job_context import JobContext
from worker.attempt.lease import lock_uncanceled
from worker.evaluation.gate import judge_gate
from worker.jobs.evaluate import evaluation_run
from worker.jobs.follow_up import figures_of
from worker.worker_metrics import GATE_VERDICTS, note_evaluated


def waiting(context: JobContext) -> TrainResult | None:
    """What this job has published, if it is not over: then a gate has yet to decide."""
    with transaction(context.engine) as session:
        job = session.get_one(Job, context.job.id)
    return job.result if job.status is JobStatus.RUNNING and isinstance(job.result, TrainResult) else None


def decide(context: JobContext, params: TrainParams, published: TrainResult) -> None:
    """Evaluate the held version; make it the head if it keeps the lineage's rule, and end the job either way.

    A rule that was taken away meanwhile is kept by everything. A head that has moved meanwhile stays where it is.
    """
    assert published.evaluation_id is not None
    carried_out = evaluation_run.carry_out(context, published.evaluation_id)
    with transaction(context.engine) as session:
        lineage = lock_lineage(session, context.job.lineage_id)
        evaluation_run.publish(session, carried_out)
        lock_uncanceled(session, context.lease.claim)
        version = session.get_one(Version, carried_out.evaluation.version_id)
        gate = lineage.evaluation.gate
        verdict = None if gate is None else judge_gate(gate, carried_out.result)
        if (verdict is None or verdict.passed) and lineage.head_version_id == version.parent_id:
            version.status = VersionStatus.LIVE
            lineage.head_version_id = version.id
        result = published.model_copy(update={"gate": verdict})
        ended = figures_of(result, params.training.steps, _final_loss(version))
        leases.finish(session, context.lease.claim, JobStatus.SUCCEEDED, **ended)
    note_evaluated(params.strategy.name, carried_out.result.metrics.self_retention)
    if verdict is not None:
        GATE_VERDICTS.labels(params.strategy.name, "passed" if verdict.passed else "held").inc()


def _final_loss(version: Version) -> float:
    assert isinstance(version.provenance, Provenance)
    return version.provenance.final_loss
