"""What may be done to a history: fork it, move its head, compare two of its versions.

Each locks the lineage first, so that it takes turns with submissions, publications and deletion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.queries import ancestry
from app.db.tables import Lineage, Version
from app.domain.comparison import Difference, Facts, differences, facts_of
from app.domain.concepts import TaughtConcept
from app.domain.effects import faults_of_strategy, insist_on_effect
from app.domain.errors import ConflictError
from app.domain.lineages import VersionStatus
from app.domain.quotas import Quota
from app.domain.strategies_by_kind import FollowedOptions
from app.domain.training import TrainingOverrides
from app.services.context import Work
from app.services.lineages import HeadedLineage, get_lineage, lock_lineage, override
from app.services.past import Past
from app.services.quotas import insist_on_room
from app.services.versions import PlacedVersion, get_version, named_version


async def branch_lineage(
    work: Work,
    user_id: UUID,
    lineage_id: UUID,
    from_version: int,
    name: str,
    strategy: FollowedOptions | None,
    overrides: TrainingOverrides,
) -> HeadedLineage:
    """A lineage that shares the history of a version, which is its head; without a strategy it keeps the original's.

    Raises:
        NotFoundError: the user has no such lineage.
        InvalidInputError: it has no such version, or options that do not go together or change nothing.
        QuotaReachedError: the user has too many lineages already.
    """
    if strategy is not None:
        insist_on_effect(faults_of_strategy(strategy))
    session = work.session
    original = (await lock_lineage(session, user_id, lineage_id))[0]
    await insist_on_room(work, user_id, {Quota.LINEAGES: 1})
    fork = (await named_version(session, lineage_id, from_version, "from_version"))[0]
    branch = Lineage(
        user_id=user_id,
        name=name,
        base_model=original.base_model,
        strategy=original.strategy if strategy is None else strategy,
        training=override(original.training, overrides),
        evaluation=original.evaluation,
        allow_changed_base=original.allow_changed_base,
        head_version_id=fork.id,
        forked_from_version_id=fork.id,
        next_number=fork.number + 1,
    )
    session.add(branch)
    await session.flush()
    return await get_lineage(session, user_id, branch.id)


async def roll_back(session: AsyncSession, user_id: UUID, lineage_id: UUID, to_version: int) -> HeadedLineage:
    """Move the head back to one of its ancestors. Nothing is removed, and training from there on forks the history.

    Raises:
        NotFoundError: the user has no such lineage.
        InvalidInputError: it has no such version.
        ConflictError: the version is not behind the head, or unfinished jobs stand in the way.
    """
    lineage, head = (await lock_lineage(session, user_id, lineage_id))[:2]
    version, _, _, is_on_head_path = await named_version(session, lineage_id, to_version, "to_version")
    if to_version == head or not is_on_head_path:
        hint = "it is the head already" if to_version == head else "promote it instead"
        raise ConflictError(f"Version {to_version} is not behind the head, version {head}; {hint}.")
    await _move_head(session, lineage, version)
    return await get_lineage(session, user_id, lineage_id)


async def promote(session: AsyncSession, user_id: UUID, lineage_id: UUID, number: int) -> PlacedVersion:
    """Make a version the head that is not on the way to it: a held one, or one that a rollback left aside.

    Raises:
        NotFoundError: the user has no such lineage, or it has no such version.
        ConflictError: the version is the head or behind it, or unfinished jobs stand in the way.
    """
    lineage, head = (await lock_lineage(session, user_id, lineage_id))[:2]
    version, _, _, is_on_head_path = await get_version(session, user_id, lineage_id, number)
    if is_on_head_path:
        raise ConflictError(
            f"Version {number} is the head already."
            if number == head
            else f"Version {number} is behind the head, version {head}; roll back to it instead."
        )
    await _move_head(session, lineage, version)
    if version.lineage_id == lineage_id:
        version.status = VersionStatus.LIVE
    await session.flush()
    return await get_version(session, user_id, lineage_id, number)


async def _move_head(session: AsyncSession, lineage: Lineage, head: Version) -> None:
    """Queued train jobs go on from the new head; what a running one publishes will be held."""
    (await Past.of(session, lineage, head.id)).insist_on_room_for_pending()
    lineage.head_version_id = head.id
    await session.flush()


Learned = tuple[Version, TaughtConcept]
"""A concept, and the version that teaches it."""


@dataclass(frozen=True)
class Comparison:
    """How one version differs from another."""

    common_ancestor: int
    gained: Sequence[Learned]
    lost: Sequence[Learned]
    differences: Sequence[Difference]


async def compare_versions(
    session: AsyncSession, user_id: UUID, lineage_id: UUID, from_version: int, to_version: int
) -> Comparison:
    """What the second version has learned that the first has not, the reverse, and how else they came about.

    Raises:
        NotFoundError: the user has no such lineage.
        InvalidInputError: it has no such version.
    """
    await get_lineage(session, user_id, lineage_id)
    before = (await named_version(session, lineage_id, from_version, "from"))[0]
    after = (await named_version(session, lineage_id, to_version, "to"))[0]
    old, new = await ancestry(session, before.id), await ancestry(session, after.id)
    shared = {version.id for version in old} & {version.id for version in new}
    return Comparison(
        common_ancestor=max(version.number for version in old if version.id in shared),
        gained=_learned_by_first_only(new, old),
        lost=_learned_by_first_only(old, new),
        differences=differences(_facts(before), _facts(after)),
    )


def _learned_by_first_only(first: Sequence[Version], second: Sequence[Version]) -> list[Learned]:
    """A concept is the same under the same token: learned again under another, it is lost as well as gained."""
    known = {concept for version in second for concept in version.every_concept()}
    return [(version, concept) for version in first for concept in version.every_concept() if concept not in known]


def _facts(version: Version) -> Facts:
    return facts_of(version.strategy, version.training, version.provenance)
