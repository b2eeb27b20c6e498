"""From a version's row to its chain of adapters, and to the accumulated update that the chain stands for."""

import hashlib
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.db.histories import ancestry_of
from app.db.session import transaction
from app.db.tables import ObjectStatus, StoredObject, Version
from app.domain.chains import first_choice
from worker.adapters.accumulated import ChainLink, Update
from worker.adapters.cache import UpdateCache, UpdateKey
from worker.adapters.factors import from_bytes
from worker.adapters.strategy_state import state_from_bytes
from worker.strategies.replay import replay

# Raised whenever a strategy's rule changes, so that nothing computed by an older rule is served.
_RULES_VERSION = "1"


def load_chain(engine: Engine, version_id: UUID, read: Callable[[UUID], bytes]) -> tuple[ChainLink, ...]:
    """The strategies and adapters of the version and its ancestors, oldest first; empty for version 0."""
    with transaction(engine) as session:
        versions = ancestry(session, version_id)[1:]
    return _links(versions, read)


def accumulated_update(
    engine: Engine, version_id: UUID, prompt: str, read: Callable[[UUID], bytes], cache: UpdateCache
) -> Update:
    """The version's D for this resolved prompt, from the cache if its chain was replayed lately."""
    with transaction(engine) as session:
        chain = _counted(ancestry(session, version_id)[1:], prompt)
        key = _update_key(session, chain)
    return cache.get(key, lambda: replay(_links(chain, read)).update)


@dataclass(frozen=True)
class StoredLink:
    """A version, and the objects that hold its adapter and what its strategy keeps beside it."""

    version: Version
    adapter_object_id: UUID | None
    strategy_state_object_id: UUID | None

    @classmethod
    def of(cls, version: Version) -> "StoredLink":
        """With its own objects."""
        return cls(version, version.adapter_object_id, version.strategy_state_object_id)


def links_of(chain: Sequence[StoredLink], read: Callable[[UUID], bytes]) -> tuple[ChainLink, ...]:
    """The links of a chain, read from their objects."""
    links = []
    for stored in chain:
        version, kept = stored.version, stored.strategy_state_object_id
        assert stored.adapter_object_id is not None
        assert version.strategy is not None
        prompts = tuple(concept.instance_prompt() for concept in version.every_concept())
        state = {} if kept is None else state_from_bytes(read(kept))
        links.append(ChainLink(version.strategy, from_bytes(read(stored.adapter_object_id)), prompts, state))
    return tuple(links)


def _links(versions: Sequence[Version], read: Callable[[UUID], bytes]) -> tuple[ChainLink, ...]:
    return links_of([StoredLink.of(version) for version in versions], read)


def _counted(chain: list[Version], prompt: str) -> list[Version]:
    """The chain without the versions among which the prompt chooses and which it does not name (`isolated`)."""
    first = first_choice([version.strategy for version in chain if version.strategy is not None])
    named = [version for version in chain[first:] if version.taught is None or version.taught.is_named_in(prompt)]
    return [*chain[:first], *named]


def ancestry(session: Session, version_id: UUID) -> list[Version]:
    """The version and all its ancestors, the base among them, oldest first."""
    return list(session.scalars(ancestry_of(version_id)))


def chain_key(session: Session, chain: Sequence[Version]) -> str:
    """The hash of everything that the replay of the chain (without the base) is a function of."""
    digest = hashlib.sha256(_RULES_VERSION.encode())
    for version in chain:
        assert version.strategy is not None
        adapter = session.get_one(StoredObject, version.adapter_object_id)
        digest.update(f"{version.strategy.model_dump_json()}{adapter.sha256}".encode())
    return digest.hexdigest()


def _update_key(session: Session, chain: Sequence[Version]) -> UpdateKey:
    """With the adapters' ids in the hash, so that it always stands for the same ones."""
    parts = [str(version.adapter_object_id) for version in chain]
    digest = hashlib.sha256(" ".join([chain_key(session, chain), *parts]).encode()).hexdigest()
    return UpdateKey(digest, frozenset(parts))


def lost_adapters(engine: Engine, object_ids: Set[str]) -> Set[str]:
    """Those of these objects that are there no more, or about to go."""
    asked = [UUID(object_id) for object_id in object_ids]
    live = select(StoredObject.id).where(StoredObject.id.in_(asked), StoredObject.status == ObjectStatus.LIVE)
    with transaction(engine) as session:
        return object_ids - {str(object_id) for object_id in session.scalars(live)}
