"""Lineages: made with their version 0, changed, hidden."""

from itertools import chain
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.locks import lock_user, locked_lineages
from app.db.pages import Page, Window, fetch_page
from app.db.queries import lineages_of
from app.db.tables import Job, Lineage, Version
from app.db.tombstones import tombstoned
from app.domain.deletions import DeletedKind
from app.domain.effects import faults_of_policy, faults_of_strategy, faults_of_training, insist_on_effect
from app.domain.errors import Fault, InvalidInputError, NotFoundError
from app.domain.evaluations import EvaluationPolicy
from app.domain.lineages import VersionStatus
from app.domain.strategies_by_kind import FollowedOptions
from app.domain.training import TrainingOptions, TrainingOverrides
from app.services.deletions import note_deletion
from app.services.jobs import request_cancel
from app.services.taught_bases import find_base_model

HeadedLineage = Row[Lineage, int, int | None]
"""A lineage, the number of its head, and for a branch that of its fork."""


async def create_lineage(
    session: AsyncSession,
    user_id: UUID,
    name: str,
    base_model: str,
    strategy: FollowedOptions,
    overrides: TrainingOverrides,
    evaluation: EvaluationPolicy,
    *,
    allow_changed_base: bool,
) -> HeadedLineage:
    """A lineage whose head is version 0, the base itself. `base_model` may be an alias: of today's newest version.

    Raises:
        InvalidInputError: no such base model, or options that do not go together or change nothing.
    """
    insist_on_effect(chain(faults_of_strategy(strategy), faults_of_policy(evaluation)))
    base = await find_base_model(session, base_model)
    # Written out, so that registering the base again with other defaults changes no lineage.
    own = TrainingOptions(
        resolution=base.manifest.resolution, adapted_modules=base.manifest.adapted_modules
    ).overridden(base.manifest.training_defaults)
    lineage = Lineage(
        user_id=user_id,
        name=name,
        base_model=base.name,
        strategy=strategy,
        training=override(own, overrides),
        evaluation=evaluation,
        allow_changed_base=allow_changed_base,
    )
    session.add(lineage)
    await session.flush()
    root = Version(lineage_id=lineage.id, number=0, status=VersionStatus.LIVE)
    session.add(root)
    await session.flush()
    lineage.head_version_id = root.id
    await session.flush()
    return await get_lineage(session, user_id, lineage.id)


def override(options: TrainingOptions, overrides: TrainingOverrides) -> TrainingOptions:
    """The options with the overrides.

    Raises:
        InvalidInputError: they do not go together, or one of them would change nothing.
    """
    try:
        overridden = options.overridden(overrides)
    except ValidationError as error:
        faults = tuple(
            Fault(field=".".join(["training", *map(str, problem["loc"])]), message=problem["msg"])
            for problem in error.errors()
        )
        raise InvalidInputError("These training options do not go together.", faults) from error
    insist_on_effect(faults_of_training(overridden))
    return overridden


async def list_lineages(session: AsyncSession, user_id: UUID, window: Window) -> Page[HeadedLineage]:
    """The user's lineages, newest first."""
    return await fetch_page(session, lineages_of(user_id), Lineage, window)


async def get_lineage(session: AsyncSession, user_id: UUID, lineage_id: UUID) -> HeadedLineage:
    """One lineage.

    Raises:
        NotFoundError: the user has no such lineage.
    """
    query = lineages_of(user_id).where(Lineage.id == lineage_id).execution_options(populate_existing=True)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no lineage {lineage_id}.")
    return row


async def lock_lineage(session: AsyncSession, user_id: UUID, lineage_id: UUID) -> HeadedLineage:
    """The same, locked, and its user before it: two submissions, or a submission and a publication, take turns.

    Raises:
        NotFoundError: the user has no such lineage.
    """
    await lock_user(session, user_id)
    # Locked before it is read: a lock on the joined query would, after a wait, join the new head with old versions.
    await session.execute(locked_lineages(Lineage.id == lineage_id, Lineage.user_id == user_id))
    return await get_lineage(session, user_id, lineage_id)


async def change_lineage(
    session: AsyncSession,
    user_id: UUID,
    lineage_id: UUID,
    name: str | None,
    evaluation: EvaluationPolicy | None,
    *,
    allow_changed_base: bool | None,
) -> HeadedLineage:
    """Give the lineage another name, another way of evaluating new versions, or leave to use changed weights.

    Raises:
        NotFoundError: the user has no such lineage.
        InvalidInputError: the evaluation has options that change nothing.
    """
    if evaluation is not None:
        insist_on_effect(faults_of_policy(evaluation))
    row = await lock_lineage(session, user_id, lineage_id)
    if name is not None:
        row[0].name = name
    if evaluation is not None:
        row[0].evaluation = evaluation
    if allow_changed_base is not None:
        row[0].allow_changed_base = allow_changed_base
    return row


async def delete_lineage(session: AsyncSession, user_id: UUID, lineage_id: UUID) -> None:
    """Hide the lineage with all its versions, and cancel its jobs; the sweeper purges it.

    Raises:
        NotFoundError: the user has no such lineage.
    """
    deleted = await session.scalar(tombstoned(Lineage, Lineage.id == lineage_id, Lineage.user_id == user_id))
    if deleted is None:
        raise NotFoundError(f"There is no lineage {lineage_id}.")
    note_deletion(session, user_id, DeletedKind.LINEAGE, lineage_id)
    await request_cancel(session, Job.lineage_id == lineage_id)
