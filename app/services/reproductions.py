"""Asking whether a version, trained again, comes out the same."""

from uuid import UUID

from app.db.jobs import new_job
from app.db.locks import kept_concepts, lock_user
from app.db.tables import Version
from app.domain.errors import ConflictError
from app.domain.jobs import ReproduceParams
from app.domain.lineages import Provenance
from app.services.context import Work
from app.services.jobs import PlacedJob
from app.services.lineages import get_lineage
from app.services.submission import submit_job
from app.services.versions import get_version


async def submit_reproduction(work: Work, user_id: UUID, lineage_id: UUID, number: int) -> PlacedJob:
    """Queue a job that trains a version again.

    Raises:
        NotFoundError: the user has no such lineage, or it has no such version.
        ConflictError: the version was not trained here, or its concept's images are gone.
        QuotaReachedError: the user has too many jobs.
    """
    session = work.session
    await lock_user(session, user_id)
    lineage = (await get_lineage(session, user_id, lineage_id))[0]
    version = (await get_version(session, user_id, lineage_id, number))[0]
    concept_id, provenance = _trained(version)
    # Until the commit nobody deletes it.
    if concept_id is None or await session.scalar(kept_concepts([concept_id])) is None:
        raise ConflictError("The images that this version was trained on are deleted; it cannot be trained again.")
    params = ReproduceParams(version_id=version.id, concept_id=concept_id)
    return await submit_job(work, new_job(lineage, params, total_steps=provenance.training.steps))


def _trained(version: Version) -> tuple[UUID | None, Provenance]:
    if version.number == 0:
        raise ConflictError("Version 0 is the base model itself; nothing was trained.")
    if not isinstance(version.provenance, Provenance):
        raise ConflictError("This version was imported; there is no training to repeat.")
    if version.provenance.residual:
        raise ConflictError("This version was trained on top of another parent than it has since an erasure.")
    return version.concept_id, version.provenance
