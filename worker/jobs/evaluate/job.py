"""An evaluate job from its row to the published result."""

from app.db import leases
from app.db.locks import lock_lineage
from app.db.session import transaction
from app.db.tables import Version
from app.domain.jobs import EvaluateParams, JobStatus
from worker.attempt.job_context import JobContext
from worker.attempt.lease import lock_uncanceled
from worker.jobs.evaluate import evaluation_run
from worker.worker_metrics import note_evaluated


def run(context: JobContext, params: EvaluateParams) -> None:
    """Score a version and its ancestors, and publish what was found."""
    carried_out = evaluation_run.carry_out(context, params.evaluation_id)
    steps = carried_out.total_steps
    with transaction(context.engine) as session:
        lock_lineage(session, context.job.lineage_id)
        evaluation_run.publish(session, carried_out)
        lock_uncanceled(session, context.lease.claim)
        leases.finish(session, context.lease.claim, JobStatus.SUCCEEDED, error=None, step=steps, total_steps=steps)
        version = session.get_one(Version, carried_out.evaluation.version_id)
    strategy = "none" if version.strategy is None else version.strategy.name
    note_evaluated(strategy, carried_out.result.metrics.self_retention)
