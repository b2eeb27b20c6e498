"""How much a user has, and may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ScalarSelect, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.locks import lock_user
from app.db.queries import UNFINISHED
from app.db.tables import Concept, ConceptImage, Generation, Job, Lineage, StoredObject, User, Version
from app.db.usage import gpu_seconds
from app.domain.errors import Fault, QuotaReachedError
from app.domain.quotas import Quota, QuotaOverrides
from app.services.context import Work

# Only what time alone frees; a picture or a lineage goes when its owner deletes it.
_RETRY_AFTER_SECONDS = {Quota.UNFINISHED_JOBS: 60, Quota.GPU_SECONDS: 24 * 3600}


@dataclass(frozen=True)
class Usage:
    """How much a user has."""

    concepts: int
    images: int
    lineages: int
    versions: int
    generations: int
    unfinished_jobs: int
    stored_bytes: int
    gpu_seconds: int


async def measure_usage(session: AsyncSession, user_id: UUID) -> Usage:
    """How much the user has."""
    concepts = select(func.count(Concept.id)).where(Concept.user_id == user_id, Concept.deleted_at.is_(None))
    lineages = select(Lineage.id).where(Lineage.user_id == user_id, Lineage.deleted_at.is_(None))
    # Version 0 is the base itself, and nobody's doing.
    versions = select(func.count(Version.id)).where(Version.lineage_id.in_(lineages), Version.number > 0)
    generations = select(func.count(Generation.id)).where(
        Generation.lineage_id.in_(lineages), Generation.deleted_at.is_(None)
    )
    counts = select(
        concepts.scalar_subquery(),
        _used(Quota.IMAGES, user_id),
        _used(Quota.LINEAGES, user_id),
        versions.scalar_subquery(),
        generations.scalar_subquery(),
        *(_used(quota, user_id) for quota in (Quota.UNFINISHED_JOBS, Quota.STORED_BYTES, Quota.GPU_SECONDS)),
    )
    return Usage(*map(int, (await session.execute(counts)).one()))


async def insist_on_room(work: Work, user_id: UUID, more: Mapping[Quota, int]) -> None:
    """The same, exactly: the user's row stays locked until the commit, so that no two requests take the last place.

    Raises:
        QuotaReachedError: a quota is used up; the fault names it and tells the numbers.
    """
    await lock_user(work.session, user_id)
    await check_room(work, user_id, more)


async def check_room(work: Work, user_id: UUID, more: Mapping[Quota, int]) -> None:
    """Let pass only who may have that many more at this moment.

    Raises:
        QuotaReachedError: a quota is used up; the fault names it and tells the numbers.
    """
    for quota, wanted in more.items():
        (await room_left(work, user_id, quota)).take(wanted)


@dataclass
class Room:
    """What is left of a quota at this moment."""

    quota: Quota
    used: int
    limit: int

    def take(self, wanted: int) -> None:
        """Count that many more.

        Raises:
            QuotaReachedError: there is no room for them.
        """
        if self.used + wanted > self.limit:
            raise _reached(self.quota, self.used, wanted, self.limit)
        self.used += wanted


async def room_left(work: Work, user_id: UUID, quota: Quota) -> Room:
    """How much of a quota the user has, and may have."""
    row = (await work.session.execute(select(User.quotas, _used(quota, user_id)).where(User.id == user_id))).one()
    quotas = (row[0] or QuotaOverrides()).over(work.services.settings.quotas)
    return Room(quota, int(row[1]), quotas.limit(quota))


def _reached(quota: Quota, used: int, wanted: int, limit: int) -> QuotaReachedError:
    detail = f"You have {used:,} of {limit:,} {quota.value.replace('_', ' ')}, and this takes {wanted:,} more."
    fault = Fault(field=quota.value, message=f"{used:,} of {limit:,} used")
    return QuotaReachedError(detail, (fault,), _RETRY_AFTER_SECONDS.get(quota))


def _used(quota: Quota, user_id: UUID) -> ScalarSelect[int] | ScalarSelect[float]:
    query: Select[int] | Select[float]
    match quota:
        case Quota.IMAGES:
            images = select(func.count()).select_from(ConceptImage).join(Concept)
            query = images.where(Concept.user_id == user_id, Concept.deleted_at.is_(None))
        case Quota.LINEAGES:
            query = select(func.count(Lineage.id)).where(Lineage.user_id == user_id, Lineage.deleted_at.is_(None))
        case Quota.UNFINISHED_JOBS:
            query = select(func.count(Job.id)).where(Job.user_id == user_id, Job.status.in_(UNFINISHED))
        case Quota.STORED_BYTES:
            query = select(func.coalesce(func.sum(StoredObject.size_bytes), 0)).where(StoredObject.user_id == user_id)
        case Quota.GPU_SECONDS:
            query = gpu_seconds(user_id)
    return query.scalar_subquery()
