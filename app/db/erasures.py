"""What erasing a concept has to know and to move: everything that shares one version 0."""

from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, and_, select
from sqlalchemy.orm import aliased

from app.db.references import works_on
from app.db.tables import Concept, ErasedVersion, Job, Lineage, Version
from app.domain.erasure import Member
from app.domain.jobs import ERASING_KINDS


def family_versions(lineage_id: UUID) -> Select[Version]:
    """All versions that share the lineage's version 0, in the order of their numbers."""
    family = _family(lineage_id)
    return select(Version).join(family, Version.id == family.c.id).order_by(Version.number, Version.created_at)


def family_lineages(lineage_id: UUID) -> Select[Lineage]:
    """The lineages whose heads are among these, deleted ones that nobody has purged yet included."""
    family = _family(lineage_id)
    return select(Lineage).where(Lineage.head_version_id.in_(select(family.c.id))).order_by(Lineage.id)


def erased_tokens(lineage_id: UUID) -> Select[str | None]:
    """The tokens of all versions that were erased from what shares the lineage's version 0."""
    lineages = family_lineages(lineage_id).with_only_columns(Lineage.id).order_by(None)
    return select(ErasedVersion.token).where(ErasedVersion.lineage_id.in_(lineages))


def teaches(concept_id: UUID) -> ColumnElement[bool]:
    """Whether a job needs the images of that concept; to erase it takes none."""
    return and_(works_on(Concept, [concept_id]), Job.kind.not_in(ERASING_KINDS))


def erases(concept_id: UUID) -> ColumnElement[bool]:
    """Whether a job erases that concept."""
    return and_(works_on(Concept, [concept_id]), Job.kind.in_(ERASING_KINDS))


def member(version: Version) -> Member:
    """The version as the plan sees it."""
    return Member(version.id, version.number, version.parent_id, version.concept_id)


def _family(lineage_id: UUID) -> CTE:
    """The ids of all versions from the root that the lineage's head leads up to."""
    head = select(Lineage.head_version_id).where(Lineage.id == lineage_id).scalar_subquery()
    up = select(Version.id, Version.parent_id).where(Version.id == head).cte(recursive=True)
    parent = aliased(Version)
    up = up.union_all(select(parent.id, parent.parent_id).join(up, parent.id == up.c.parent_id))
    down = select(up.c.id).where(up.c.parent_id.is_(None)).cte(recursive=True)
    child = aliased(Version)
    return down.union_all(select(child.id).join(down, child.parent_id == down.c.id))
