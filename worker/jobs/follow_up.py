"""The evaluation that follows a training, asked for in the transaction that publishes the version."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluation_queries import evaluate_job, evaluation_of_line
from app.db.tables import BaseModelRow, Job, Lineage, Version
from app.domain.jobs import TrainResult
from worker.attempt.chain import ancestry


def ask_for_evaluation(session: Session, job: Job, lineage: Lineage, version: Version, *, waits: bool) -> UUID | None:
    """The evaluation of a new version: to be carried out by its train job, which waits, or by a job of its own.

    None where the lineage wants none.
    """
    policy = lineage.evaluation
    if not waits and not policy.after_training:
        return None
    protocol = session.get_one(BaseModelRow, lineage.base_model).manifest.evaluation.overridden(policy.options)
    line = ancestry(session, version.id)
    if waits:
        evaluation = evaluation_of_line(lineage, line, job.id, protocol)
    else:
        own_job, evaluation_id = evaluate_job(lineage, version.id)
        session.add(own_job)
        session.flush()
        evaluation = evaluation_of_line(lineage, line, own_job.id, protocol)
        evaluation.id = evaluation_id
    session.add(evaluation)
    session.flush()
    return evaluation.id


def figures_of(result: TrainResult, steps: int, loss: float | None) -> dict[str, Any]:
    """What the row of a trained job says: an evaluation on the way has counted steps of its own."""
    return {"result": result, "error": None, "step": steps, "total_steps": steps, "loss": loss}
