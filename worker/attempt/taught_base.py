"""The base model of a job, whose weights must be those that its version was taught on."""

from uuid import UUID

from app.db.base_models import taught_on
from app.db.session import transaction
from app.db.tables import BaseModelRow, Lineage
from app.domain.base_models import BaseModelManifest
from app.domain.base_versions import insist_unchanged
from worker.attempt.chain import ancestry
from worker.attempt.job_context import JobContext
from worker.models.base import Base


def taught_base(context: JobContext, version_id: UUID) -> tuple[Base, BaseModelManifest]:
    """The job's base, loaded, and its manifest. The API has looked too, at what it knew when the job was submitted.

    Raises:
        BaseChangedError: the version and its ancestors were taught on other weights; the lineage does not allow that.
        NotFoundError: no base model of that name is registered.
        BaseModelError: it cannot be loaded.
    """
    base, manifest = context.bases.get(context.job.base_model)
    with transaction(context.engine) as session:
        row = session.get_one(BaseModelRow, context.job.base_model)
        if not session.get_one(Lineage, context.job.lineage_id).allow_changed_base:
            insist_unchanged(row.name, taught_on(row, ancestry(session, version_id)), base.fingerprint)
    return base, manifest
