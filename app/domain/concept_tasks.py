"""What a version learns, as one value: from the request over the job to the version's row."""

from uuid import UUID

from app.domain.base import Value
from app.domain.concepts import TaughtConcept
from app.domain.strategies import AnyStrategy, MergeOptions
from app.domain.training import TrainingOptions


class ConceptTask(Value):
    """One concept to learn on top of a version: as which words, by which strategy, with which training options."""

    concept_id: UUID
    taught: TaughtConcept
    strategy: AnyStrategy
    training: TrainingOptions


class ImportedConcept(Value):
    """What an imported adapter has learned elsewhere. Its factors are given, so they add to the base, as in `merge`."""

    taught: TaughtConcept | None
    concept_id: None = None
    strategy: MergeOptions = MergeOptions()
    training: None = None
