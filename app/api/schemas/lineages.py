"""Bodies of lineages and versions."""

from datetime import datetime
from uuid import UUID

from pydantic import Field, JsonValue

from app.api.schemas.base import Label, PageBody, example, page_example
from app.api.schemas.examples import CONCEPT_ID, EARLIER, LINEAGE_ID, SHA256, THEN
from app.domain.base import Value
from app.domain.base_models import BaseModelName
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.evaluations import EvaluationPolicy
from app.domain.lineages import AnyProvenance, VersionStatus
from app.domain.strategies import AnyStrategy
from app.domain.strategies_by_kind import DEFAULT_STRATEGY, FollowedStrategy
from app.domain.training import TrainingOptions, TrainingOverrides
from app.services.lineages import HeadedLineage
from app.services.versions import PlacedVersion

_TRAINING: dict[str, JsonValue] = TrainingOptions(steps=200).model_dump(mode="json")

_ALLOW_CHANGED_BASE = (
    "Whether to draw, train and evaluate also where the base model has other weights than the versions were taught on."
)


class NewLineageBody(Value):
    """A lineage to create. What is left out takes a default; that of training options is the base model's."""

    model_config = example(
        {
            "name": "my pets",
            "base_model": "icons-64",
            "strategy": {"name": "merge"},
            "training": {"rank": 8, "steps": 200},
            "evaluation": {"after_training": True, "gate": {"metric": "self_retention", "max_loss": 0.2}},
        }
    )

    name: Label
    base_model: BaseModelName = Field(description="A base model, or an alias: of its newest version.")
    strategy: FollowedStrategy = DEFAULT_STRATEGY
    training: TrainingOverrides = TrainingOverrides()
    evaluation: EvaluationPolicy = EvaluationPolicy()
    allow_changed_base: bool = Field(False, description=_ALLOW_CHANGED_BASE)


class LineageChanges(Value):
    """What of a lineage to change; what is left out stays."""

    model_config = example({"name": "my cats", "evaluation": {"after_training": True}})

    name: Label | None = None
    evaluation: EvaluationPolicy | None = Field(
        None, description="Replaces the whole policy; versions that are in training are held to the new one."
    )
    allow_changed_base: bool | None = Field(None, description=_ALLOW_CHANGED_BASE)


class LineageBody(Value):
    """A lineage: versions over one base model under one strategy, each trained on top of another."""

    model_config = example(
        {
            "id": LINEAGE_ID,
            "name": "my pets",
            "base_model": "icons-64.3",
            "strategy": {"name": "merge"},
            "training": _TRAINING,
            "evaluation": EvaluationPolicy(after_training=True).model_dump(mode="json"),
            "allow_changed_base": False,
            "head_version": 1,
            "forked_from_version": None,
            "created_at": EARLIER,
        }
    )

    id: UUID
    name: str
    base_model: str = Field(description="The version, where the base model has versions.")
    strategy: FollowedStrategy
    training: TrainingOptions
    evaluation: EvaluationPolicy
    allow_changed_base: bool = Field(description=_ALLOW_CHANGED_BASE)
    head_version: int = Field(description="0 is the base itself.")
    forked_from_version: int | None = Field(
        description="Of a branch: the version that it was made from. That one and its ancestors are shared."
    )
    created_at: datetime

    @classmethod
    def of(cls, row: HeadedLineage) -> "LineageBody":
        """The body of a lineage, its head and its fork."""
        lineage, head, fork = row
        return cls(
            id=lineage.id,
            name=lineage.name,
            base_model=lineage.base_model,
            strategy=lineage.strategy,
            training=lineage.training,
            evaluation=lineage.evaluation,
            allow_changed_base=lineage.allow_changed_base,
            head_version=head,
            forked_from_version=fork,
            created_at=lineage.created_at,
        )


class LineagePage(PageBody[LineageBody]):
    """A page of lineages."""

    model_config = page_example(LineageBody)


class NewVersionBody(Value):
    """A concept to teach, and what this version trains otherwise than its lineage says."""

    model_config = example({"concept_id": CONCEPT_ID, "training": {"steps": 300}})

    concept_id: UUID
    training: TrainingOverrides = TrainingOverrides()


class VersionConcept(Value):
    """What a version has learned, and the words that stand for it: a rare token, or an imported adapter's own."""

    id: UUID | None = Field(description="Null for what was imported. Of a deleted concept, an erasure takes it still.")
    name: str
    kind: ConceptKind
    class_noun: str | None
    token: str

    @classmethod
    def of(cls, concept_id: UUID | None, taught: TaughtConcept) -> "VersionConcept":
        """The body of a learned concept."""
        return cls(id=concept_id, name=taught.name, kind=taught.kind, class_noun=taught.class_noun, token=taught.token)


class AdapterBody(Value):
    """What a version's own task has learned, as it is stored."""

    sha256: str
    size_bytes: int


class VersionBody(Value):
    """A version. It never changes, but for its status."""

    model_config = example(
        {
            "lineage_id": LINEAGE_ID,
            "owner_lineage_id": LINEAGE_ID,
            "version": 1,
            "status": "live",
            "parent": 0,
            "on_head_path": True,
            "concept": {"id": CONCEPT_ID, "name": "rex", "kind": "object", "class_noun": "dog", "token": "zvx"},
            "strategy": {"name": "merge"},
            "training": _TRAINING,
            "adapter": {"sha256": SHA256, "size_bytes": 181472},
            "provenance": None,
            "created_at": THEN,
        }
    )

    lineage_id: UUID
    owner_lineage_id: UUID = Field(
        description="The lineage that made the version, or the branch that inherited it when that lineage was deleted. "
        "Another one than lineage_id for what a branch shares."
    )
    version: int
    status: VersionStatus
    parent: int | None = Field(description="The version that this one was trained on top of; null for version 0.")
    on_head_path: bool = Field(description="Whether it is the head or one of the head's ancestors.")
    concept: VersionConcept | None
    strategy: AnyStrategy | None
    training: TrainingOptions | None
    adapter: AdapterBody | None
    provenance: AnyProvenance | None
    created_at: datetime

    @classmethod
    def of(cls, lineage_id: UUID, row: PlacedVersion) -> "VersionBody":
        """The body of a version in the history of that lineage."""
        version, parent, adapter, is_on_head_path = row
        return cls(
            lineage_id=lineage_id,
            owner_lineage_id=version.lineage_id,
            version=version.number,
            # A branch was made from what it shares: whatever that is to its owner, here it is live.
            status=version.status if version.lineage_id == lineage_id else VersionStatus.LIVE,
            parent=parent,
            on_head_path=is_on_head_path,
            concept=None if version.taught is None else VersionConcept.of(version.concept_id, version.taught),
            strategy=version.strategy,
            training=version.training,
            adapter=None if adapter is None else AdapterBody(sha256=adapter.sha256, size_bytes=adapter.size_bytes),
            provenance=version.provenance,
            created_at=version.created_at,
        )


class VersionPage(PageBody[VersionBody]):
    """A page of versions."""

    model_config = page_example(VersionBody)
