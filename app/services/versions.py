"""Versions: looking at them, and taking their adapters along."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.adapter_files.card import Card
from app.adapter_files.export import Export
from app.db.histories import taught_in
from app.db.pages import Page, Window, fetch_page
from app.db.queries import ancestry, versions_of
from app.db.tables import BaseModelRow, ErasedVersion, Lineage, StoredObject, Version
from app.domain.adapters import AdapterFormat, Origin, PastVersion, Precision
from app.domain.chains import first_choice
from app.domain.errors import ConflictError, ErasedError, Fault, InvalidInputError, NotFoundError
from app.domain.strategies import StrategyOptions
from app.services.lineages import get_lineage

PlacedVersion = Row[Version, int | None, StoredObject | None, bool]
"""A version, its parent's number, its adapter, and whether it is the head or one of the head's ancestors."""


async def list_versions(session: AsyncSession, user_id: UUID, lineage_id: UUID, window: Window) -> Page[PlacedVersion]:
    """The versions of a lineage's history, newest first.

    Raises:
        NotFoundError: the user has no such lineage.
    """
    await get_lineage(session, user_id, lineage_id)
    return await fetch_page(session, versions_of(lineage_id), Version, window)


async def get_version(session: AsyncSession, user_id: UUID, lineage_id: UUID, number: int) -> PlacedVersion:
    """One version.

    Raises:
        NotFoundError: the user has no such lineage, or it has no such version.
        ErasedError: it had, until a concept that the version held was erased.
    """
    await get_lineage(session, user_id, lineage_id)
    row = (await session.execute(versions_of(lineage_id).where(Version.number == number))).one_or_none()
    if row is None:
        await _insist_on_not_erased(session, lineage_id, number)
        raise NotFoundError(f"Lineage {lineage_id} has no version {number}.")
    return row


async def named_version(session: AsyncSession, lineage_id: UUID, number: int, field: str) -> PlacedVersion:
    """The version of a lineage's history that a field of a request names.

    Raises:
        InvalidInputError: it has no such version.
        ErasedError: it had, until a concept that the version held was erased.
    """
    row = (await session.execute(versions_of(lineage_id).where(Version.number == number))).one_or_none()
    if row is None:
        await _insist_on_not_erased(session, lineage_id, number)
        raise InvalidInputError(
            f"Lineage {lineage_id} has no version {number}.", (Fault(field=field, message="unknown"),)
        )
    return row


async def _insist_on_not_erased(session: AsyncSession, lineage_id: UUID, number: int) -> None:
    if await session.get(ErasedVersion, (lineage_id, number)) is not None:
        raise ErasedError(f"Version {number} of lineage {lineage_id} was erased with a concept that it held.")


@dataclass(frozen=True)
class ExportPlan:
    """What an export is made of."""

    links: Sequence[tuple[StrategyOptions, StoredObject]]
    export: Export

    def digest(self) -> str:
        """The sha256 of all that the export is a function of; known before anything is read."""
        parts = [f"{strategy.model_dump_json()} {row.sha256}" for strategy, row in self.links]
        return hashlib.sha256("\n".join([repr(self.export), *parts]).encode()).hexdigest()


@dataclass(frozen=True)
class Wanted:
    """Which adapter is asked for: whose names, of which rank at most, which concept alone, and how precisely."""

    kind: AdapterFormat
    max_rank: int | None = None
    concept: str | None = None
    precision: Precision = Precision.FP32


async def plan_export(
    session: AsyncSession, user_id: UUID, lineage_id: UUID, number: int, wanted: Wanted
) -> ExportPlan:
    """Where the adapters of a version and its ancestors are.

    Raises:
        NotFoundError: the user has no such lineage, or it has no such version.
        ConflictError: version 0, which has no adapter.
        InvalidInputError: a concept is asked for that the version has no adapter of its own for; or none, of several.
    """
    version = (await get_version(session, user_id, lineage_id, number))[0]
    if number == 0:
        raise ConflictError("Version 0 is the base model itself; it has no adapter.")
    chain = _chosen(await ancestry(session, version.id), wanted.concept)
    ids = [link.adapter_object_id for link in chain]
    objects = {row.id: row for row in await session.scalars(select(StoredObject).where(StoredObject.id.in_(ids)))}
    links = [
        (link.strategy, objects[link.adapter_object_id])
        for link in chain
        if link.strategy is not None and link.adapter_object_id is not None
    ]
    base = await session.get_one(BaseModelRow, (await session.get_one(Lineage, lineage_id)).base_model)
    export = Export(
        kind=wanted.kind,
        family=base.manifest.family,
        denoiser=base.manifest.family.denoiser,
        max_rank=wanted.max_rank,
        precision=wanted.precision,
        card=_card(lineage_id, number, base, chain),
        resolution=base.manifest.resolution,
    )
    return ExportPlan(links, export)


def _card(lineage_id: UUID, number: int, base: BaseModelRow, chain: Sequence[Version]) -> Card:
    history = [
        PastVersion(
            version=link.number,
            strategy=link.strategy.name,
            concept=", ".join(concept.name for concept in link.every_concept())[:200] or None,
            adapter_sha256=None if link.provenance is None else link.provenance.adapter_sha256,
        )
        for link in chain[-1000:]
        if link.strategy is not None
    ]
    fingerprints = [link.provenance.base_fingerprint for link in chain if link.provenance is not None]
    origin = Origin(
        lineage_id=str(lineage_id),
        version=number,
        base_model=base.name,
        base_fingerprint=fingerprints[-1] if fingerprints else None,
        history=tuple(history),
    )
    return Card(origin=origin, taught=taught_in(chain))


def _chosen(ancestry: Sequence[Version], concept: str | None) -> list[Version]:
    """The versions that the adapter is made of: of those that each stand for their concept alone, the one asked for."""
    chain = [version for version in ancestry if version.strategy is not None]
    first = first_choice([version.strategy for version in chain if version.strategy is not None])
    apart = {version.taught.name: version for version in chain[first:] if version.taught is not None}
    known = ", ".join(apart)
    if concept is None and len(apart) > 1:
        raise _concept_fault(f"This version has an adapter for each concept: {known}. Say which.", "needed")
    if concept is not None and not apart:
        raise _concept_fault("This version has one adapter for all of its concepts.", "only for strategy isolated")
    if concept is not None and concept not in apart:
        raise _concept_fault(f"This version has no adapter for {concept}; it has: {known}.", "unknown")
    return chain if concept is None else [*chain[:first], apart[concept]]


def _concept_fault(detail: str, message: str) -> InvalidInputError:
    return InvalidInputError(detail, (Fault(field="concept", message=message),))
