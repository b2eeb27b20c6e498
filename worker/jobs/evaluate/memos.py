"""What evaluations need not make again: objects that a row names by the hash of all that they are a function of."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from app.db import leases
from app.db.evaluation_tables import EvaluationMemo
from app.db.locks import kept_version
from app.db.session import transaction
from app.domain.errors import DeletedError, ObjectLostError
from worker.attempt.job_context import JobContext
from worker.attempt.worker_objects import make_dead, make_live


@dataclass(frozen=True)
class VersionMemos:
    """Implements `worker.evaluation.evaluation_task.Store` for one version, within one attempt at a job."""

    context: JobContext
    version_id: UUID

    def get(self, key: str) -> bytes | None:
        """What was put under this key by any job; None also where its object is lost, which is then forgotten."""
        with transaction(self.context.engine) as session:
            memo = session.get(EvaluationMemo, (self.version_id, key))
        if memo is None:
            return None
        try:
            return self.context.objects.get(memo.object_id)
        except ObjectLostError:
            self._forget(memo)
            return None

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep it, unless another job has done so meanwhile; its own object is then left to the collector.

        Raises:
            LeaseLostError: this attempt no longer holds the job.
            DeletedError: the version was erased meanwhile.
        """
        row = self.context.objects.put("evaluations", data, content_type)
        with transaction(self.context.engine) as session:
            leases.lock(session, self.context.lease.claim)
            if session.scalar(kept_version(self.version_id)) is None:
                raise DeletedError("The version has been erased.")
            statement = insert(EvaluationMemo).values(version_id=self.version_id, key=key, object_id=row.id)
            kept = session.scalar(statement.on_conflict_do_nothing().returning(EvaluationMemo.key))
            if kept is not None:
                make_live(session, [row])
            else:
                make_dead(session, row.id)

    def _forget(self, memo: EvaluationMemo) -> None:
        with transaction(self.context.engine) as session:
            leases.lock(session, self.context.lease.claim)
            session.delete(session.get_one(EvaluationMemo, (memo.version_id, memo.key)))
            make_dead(session, memo.object_id)
