"""Bodies of what may be done to a history."""

from typing import Annotated

from pydantic import Field

from app.api.schemas.base import Label, example
from app.api.schemas.examples import CONCEPT_ID
from app.api.schemas.lineages import VersionConcept
from app.db.tables import Version
from app.domain.base import Value
from app.domain.comparison import Difference
from app.domain.concepts import TaughtConcept
from app.domain.strategies_by_kind import FollowedStrategy
from app.domain.training import TrainingOverrides
from app.services.branching import Comparison

VersionNumber = Annotated[int, Field(ge=0, le=2**31 - 1, description="0 is the base itself.")]


class NewBranchBody(Value):
    """A branch to make. Without a strategy it keeps the original's; so it does with training options left out."""

    model_config = example(
        {
            "from_version": 1,
            "name": "my pets, orthogonally",
            "strategy": {"name": "orthogonal_merge"},
            "training": {"rank": 4},
        }
    )

    from_version: VersionNumber
    name: Label
    strategy: FollowedStrategy | None = None
    training: TrainingOverrides = TrainingOverrides()


class RollbackBody(Value):
    """Where the head is to go back to."""

    model_config = example({"to_version": 1})

    to_version: VersionNumber


class LearnedConcept(Value):
    """A concept, and the version that has learned it."""

    version: int
    concept: VersionConcept


class ComparisonBody(Value):
    """How the version `to_version` differs from `from_version`."""

    model_config = example(
        {
            "from_version": 1,
            "to_version": 2,
            "common_ancestor": 1,
            "concepts_gained": [
                {
                    "version": 2,
                    "concept": {"id": CONCEPT_ID, "name": "ink", "kind": "style", "class_noun": None, "token": "qvk"},
                }
            ],
            "concepts_lost": [],
            "differences": [{"field": "training.seed", "from_value": 0, "to_value": 7}],
        }
    )

    from_version: int
    to_version: int
    common_ancestor: int = Field(description="The newest version that is, or is an ancestor of, both.")
    concepts_gained: list[LearnedConcept] = Field(description="What to_version has learned and from_version has not.")
    concepts_lost: list[LearnedConcept] = Field(description="What from_version has learned and to_version has not.")
    differences: list[Difference] = Field(
        description="Every field of the two versions' strategy, training options and provenance that differs."
    )

    @classmethod
    def of(cls, from_version: int, to_version: int, comparison: Comparison) -> "ComparisonBody":
        """The body of a comparison of these two."""
        return cls(
            from_version=from_version,
            to_version=to_version,
            common_ancestor=comparison.common_ancestor,
            concepts_gained=[_learned(*learned) for learned in comparison.gained],
            concepts_lost=[_learned(*learned) for learned in comparison.lost],
            differences=list(comparison.differences),
        )


def _learned(version: Version, taught: TaughtConcept) -> LearnedConcept:
    return LearnedConcept(version=version.number, concept=VersionConcept.of(version.concept_id, taught))
