"""Histories: which versions a lineage shows, and who inherits them.

A version belongs to the lineage that made it, and its parents lead to version 0. A lineage's history is its own
versions. For a branch, the ancestry of its fork is part of it too. A number grows from parent to child, and a branch
counts on from its fork. So a history has every number once.
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, ScalarSelect, Select, literal, select, update
from sqlalchemy.orm import Session

from app.db.tables import Lineage, Version
from app.domain.concepts import TaughtConcept
from app.domain.lineages import VersionStatus


def ancestry_of(version_id: UUID) -> Select[Version]:
    """The version and all its ancestors, the base among them, oldest first."""
    line = _line(version_id)
    return select(Version).join(line, Version.id == line.c.id).order_by(line.c.depth.desc())


def taught_in(line: Iterable[Version]) -> tuple[TaughtConcept, ...]:
    """All concepts of the versions in their order: an import may have several, the base has none."""
    return tuple(concept for version in line for concept in version.every_concept())


def in_history(lineage_id: UUID) -> ColumnElement[bool]:
    """Whether a version is in the lineage's history."""
    fork = select(Lineage.forked_from_version_id).where(Lineage.id == lineage_id).scalar_subquery()
    own = select(Version.id).where(Version.lineage_id == lineage_id)
    return Version.id.in_(own.union(select(_line(fork).c.id)))


def on_head_path(lineage_id: UUID) -> ColumnElement[bool]:
    """Whether a version is the lineage's head or one of its ancestors."""
    return _in_line(select(Lineage.head_version_id).where(Lineage.id == lineage_id).scalar_subquery())


def hand_over(session: Session, leaving: Collection[UUID]) -> None:
    """Give the versions that branches share with lineages about to be removed to the oldest such branch.

    Afterwards nobody reaches what the leaving lineages still have. What is handed over is live: its heir was branched
    from it, whatever it was to the lineage that made it.
    """
    owners = select(Lineage.user_id).where(Lineage.id.in_(leaving))
    heirs = session.execute(
        select(Lineage.id, Lineage.forked_from_version_id)
        .where(Lineage.forked_from_version_id.is_not(None), Lineage.id.not_in(leaving), Lineage.user_id.in_(owners))
        .order_by(Lineage.created_at, Lineage.id)
    ).all()
    for heir_id, fork_id in heirs:
        session.execute(
            update(Version)
            .where(Version.lineage_id.in_(leaving), _in_line(fork_id))
            .values(lineage_id=heir_id, status=VersionStatus.LIVE)
            .execution_options(synchronize_session=False)
        )


def _line(version_id: UUID | ScalarSelect[UUID | None] | None) -> CTE:
    """The ids of the version and its ancestors, and how many generations above it each stands."""
    start = select(Version.id, Version.parent_id, literal(0).label("depth")).where(Version.id == version_id)
    line = start.cte(recursive=True)
    parents = select(Version.id, Version.parent_id, line.c.depth + 1).join(line, Version.id == line.c.parent_id)
    return line.union_all(parents)


def _in_line(version_id: UUID | ScalarSelect[UUID | None] | None) -> ColumnElement[bool]:
    return Version.id.in_(select(_line(version_id).c.id))
