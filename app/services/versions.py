"""Versions: looking at them, and taking their adapters along."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from anyio import to_thread
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.pages import Page, Window, fetch_page
from app.db.queries import ancestry, versions_of
from app.db.tables import StoredObject, Version
from app.domain.errors import ConflictError, NotFoundError
from app.domain.strategies import StrategyOptions
from app.services.adapter_export import AdapterFormat, Link, export_adapter
from app.services.context import Services
from app.services.lineages import get_lineage

PlacedVersion = Row[Version, int | None, StoredObject | None]
"""A version, its parent's number, and its adapter."""


async def list_versions(session: AsyncSession, user_id: UUID, lineage_id: UUID, window: Window) -> Page[PlacedVersion]:
    """The versions of a lineage, newest first.

    Raises:
        NotFoundError: the user has no such lineage.
    """
    await get_lineage(session, user_id, lineage_id)
    return await fetch_page(session, versions_of(lineage_id), Version, window)


async def get_version(session: AsyncSession, user_id: UUID, lineage_id: UUID, number: int) -> PlacedVersion:
    """One version.

    Raises:
        NotFoundError: the user has no such lineage, or it has no such version.
    """
    await get_lineage(session, user_id, lineage_id)
    row = (await session.execute(versions_of(lineage_id).where(Version.number == number))).one_or_none()
    if row is None:
        raise NotFoundError(f"Lineage {lineage_id} has no version {number}.")
    return row


@dataclass(frozen=True)
class ExportPlan:
    """What an export is made of."""

    links: Sequence[tuple[StrategyOptions, StoredObject]]
    about: Mapping[str, str]
    kind: AdapterFormat

    def digest(self) -> str:
        """The sha256 of all that the export is a function of; known before anything is read."""
        parts = [f"{strategy.model_dump_json()} {row.sha256}" for strategy, row in self.links]
        return hashlib.sha256("\n".join([self.kind.value, *self.about.values(), *parts]).encode()).hexdigest()


async def plan_export(
    session: AsyncSession, user_id: UUID, lineage_id: UUID, number: int, kind: AdapterFormat
) -> ExportPlan:
    """Where the adapters of a version and its ancestors are.

    Raises:
        NotFoundError: the user has no such lineage, or it has no such version.
        ConflictError: version 0, which has no adapter.
    """
    version, _, _ = await get_version(session, user_id, lineage_id, number)
    if number == 0:
        raise ConflictError("Version 0 is the base model itself; it has no adapter.")
    chain = await ancestry(session, version.id)
    ids = [link.adapter_object_id for link in chain]
    objects = {row.id: row for row in await session.scalars(select(StoredObject).where(StoredObject.id.in_(ids)))}
    links = [
        (link.strategy, objects[link.adapter_object_id])
        for link in chain
        if link.strategy is not None and link.adapter_object_id is not None
    ]
    taught = [link.taught for link in chain if link.taught is not None]
    about = {
        "lineage_id": str(lineage_id),
        "version": str(number),
        "concepts": ", ".join(f"<{concept.name}> = {concept.phrase()}" for concept in taught),
    }
    return ExportPlan(links, about, kind)


async def export_version(services: Services, plan: ExportPlan) -> bytes:
    """The whole version as one safetensors file: everything learned up to it, not its last task alone.

    Raises:
        ConflictError: the version's update is no product of factors.
        StorageError: S3 failed.
    """

    def read_and_fold() -> bytes:
        links = [Link(strategy, services.store.get(row)) for strategy, row in plan.links]
        return export_adapter(links, plan.kind, plan.about)

    return await to_thread.run_sync(read_and_fold, limiter=services.export_slot)
