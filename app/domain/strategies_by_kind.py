"""Which strategy a lineage follows: one for everything, or one for objects and another for styles."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from app.domain.base import Value
from app.domain.concepts import ConceptKind
from app.domain.strategies import (
    STRATEGIES,
    AnyStrategy,
    MergeOptions,
    SelfReplayOptions,
    StrategyInfo,
    StrategyOptions,
)


class ByKindOptions(Value):
    """Each concept by the strategy for its kind; a version, and its provenance, name the one that it was learned by."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="Objects by one strategy, styles by another: replay keeps objects and hinders styles.",
        source="docs/study.md; by default arXiv 2311.14028 for objects, arXiv 2410.04891 for styles",
        cost="That of the strategy that a concept is learned by.",
    )
    name: Literal["by_kind"] = "by_kind"
    objects: AnyStrategy = Field(default=SelfReplayOptions(), description="What objects are learned by.")
    styles: AnyStrategy = Field(default=MergeOptions(), description="What styles are learned by.")


FollowedOptions = StrategyOptions | ByKindOptions
"""What a lineage may follow."""
FollowedStrategy = Annotated[FollowedOptions, Field(discriminator="name")]

DEFAULT_STRATEGY = ByKindOptions()
"""What a lineage follows that names no strategy: what kept the most of objects in the study, and of styles the
plainest of those that could not be told apart (docs/study.md)."""

FOLLOWED: dict[str, type[FollowedOptions]] = {**STRATEGIES, ByKindOptions.model_fields["name"].default: ByKindOptions}


def strategy_for(kind: ConceptKind, followed: FollowedOptions) -> StrategyOptions:
    """The strategy that a concept of that kind is learned by in a lineage that follows `followed`."""
    if not isinstance(followed, ByKindOptions):
        return followed
    return followed.objects if kind is ConceptKind.OBJECT else followed.styles
