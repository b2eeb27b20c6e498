"""Submitting a train job: which concept, as which token, on top of what."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.erasures import erased_tokens
from app.db.histories import in_history
from app.db.jobs import new_job
from app.db.queries import ancestry, concepts_of, unfinished_publishing
from app.db.tables import BaseModelRow, Concept, Lineage, Version
from app.domain.chains import changed_within_run
from app.domain.concepts import TaughtConcept, holds_words
from app.domain.errors import ConflictError, Fault, InvalidInputError, NotFoundError
from app.domain.jobs import NewVersionParams, TrainParams
from app.domain.strategies import StrategyOptions
from app.domain.strategies_by_kind import strategy_for
from app.domain.training import TrainingOptions, TrainingOverrides
from app.services.context import Work
from app.services.jobs import PlacedJob
from app.services.lineages import lock_lineage, override
from app.services.past import Past, concepts_taught_by, teaches_again
from app.services.submission import submit_job
from app.services.taught_bases import insist_on_base


async def submit_training(
    work: Work, user_id: UUID, lineage_id: UUID, concept_id: UUID, overrides: TrainingOverrides
) -> PlacedJob:
    """Queue a train job. The lineage is locked, so that its jobs' order is the order of their commits.

    Raises:
        NotFoundError: the user has no such lineage or concept.
        ConflictError: the concept is taught already, or no token is left.
        BaseChangedError: the base has other weights than the head was taught on.
        InvalidInputError: training options that do not go together, or that the strategy fixes while its run goes on.
    """
    session = work.session
    lineage = (await lock_lineage(session, user_id, lineage_id))[0]
    concept = await _lock_concept(session, user_id, concept_id)
    assert lineage.head_version_id is not None
    await insist_on_base(session, lineage, await ancestry(session, lineage.head_version_id))
    past = await Past.of(session, lineage, lineage.head_version_id)
    _insist_on_new(past, concept)
    training = override(lineage.training, overrides)
    strategy = strategy_for(concept.kind, lineage.strategy)
    _insist_on_same_run(past, strategy, training)
    token = await _next_token(session, lineage)
    taught = TaughtConcept(name=concept.name, kind=concept.kind, class_noun=concept.class_noun, token=token)
    params = TrainParams(concept_id=concept.id, taught=taught, strategy=strategy, training=training)
    return await submit_job(work, new_job(lineage, params, total_steps=training.steps))


async def _lock_concept(session: AsyncSession, user_id: UUID, concept_id: UUID) -> Concept:
    """The concept, which until the commit nobody deletes."""
    concept = await session.scalar(concepts_of(user_id).where(Concept.id == concept_id).with_for_update(read=True))
    if concept is None:
        raise NotFoundError(f"There is no concept {concept_id}.")
    return concept


def _insist_on_new(past: Past, concept: Concept) -> None:
    if teaches_again(past.taught(), concept.id, concept.name):
        raise ConflictError(f"This lineage has learned a concept named {concept.name}, or is about to.")


def _insist_on_same_run(past: Past, strategy: StrategyOptions, training: TrainingOptions) -> None:
    if changed := changed_within_run(past.parent_options(), (strategy, training)):
        message = f"strategy {strategy.name} fixes it while it trains one adapter on and on"
        faults = tuple(Fault(field=f"training.{name}", message=message) for name in changed)
        raise InvalidInputError("These training options cannot change from one version to the next.", faults)


async def _next_token(session: AsyncSession, lineage: Lineage) -> str:
    """The first rare token of the base that nothing in the lineage has, held versions and canceled runs included."""
    base = await session.get_one(BaseModelRow, lineage.base_model)
    versions = await session.scalars(select(Version).where(in_history(lineage.id)))
    jobs = await session.scalars(unfinished_publishing(lineage.id))
    used = {concept.token for version in versions for concept in version.every_concept()}
    used |= {token for token in await session.scalars(erased_tokens(lineage.id)) if token is not None}
    pending = [job.params for job in jobs if isinstance(job.params, NewVersionParams)]
    used |= {concept.token for params in pending for concept in concepts_taught_by(params)}
    # The trigger words of an imported file are several, and may hold a rare token.
    words = "\n".join(used)
    token = next((token for token in base.manifest.rare_tokens if not holds_words(words, token)), None)
    if token is None:
        detail = f"All {len(base.manifest.rare_tokens)} rare tokens of {lineage.base_model} are used in this lineage."
        raise ConflictError(detail)
    return token
