"""The sweep: stage by stage, one group of options at a time around the best so far.

A full grid over five options would take a day on two cores; a stage asks one question and keeps the answer. The first
concepts judge every variant, and all concepts judge the best few at the end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.base import Value
from app.domain.training import TrainingOptions
from benchmarks.experiments.concepts import Concept
from benchmarks.experiments.crew import Crew
from benchmarks.headroom.runs import Gain, Run, Trial, gain

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
CONVOLUTIONS = ("proj_in", "proj_out", "conv1", "conv2")
MODULES: Mapping[str, tuple[str, ...]] = {
    "attention": ATTENTION,
    "attention, feed-forward": ATTENTION + FEED_FORWARD,
    "attention, feed-forward, convolutions": ATTENTION + FEED_FORWARD + CONVOLUTIONS,
}

# Beyond this a concept is learned for certain; one that is learned by far must not hide another that is not.
_ENOUGH = 4.0
BACKGROUND_KEPT = 0.9
SECONDS_ALLOWED = 60.0


@dataclass(frozen=True)
class Stage:
    """One question: which of these variants of the best options so far is the best?"""

    question: str
    variants: Callable[[TrainingOptions], list[TrainingOptions]]


def _changed(options: TrainingOptions, **changes: object) -> TrainingOptions:
    return TrainingOptions.model_validate(options.model_dump() | changes)


STAGES = (
    Stage(
        "modules and learning rate",
        lambda best: [
            _changed(best, adapted_modules=modules, learning_rate=rate)
            for modules in MODULES.values()
            for rate in (1e-3, 2e-3, 4e-3)
        ],
    ),
    Stage("rank", lambda best: [_changed(best, rank=rank) for rank in (4, 8, 16)]),
    Stage("steps", lambda best: [_changed(best, steps=steps) for steps in (150, 300, 450)]),
    Stage("batch size", lambda best: [_changed(best, batch_size=size) for size in (4, 6, 10)]),
    Stage("learning rate's end", lambda best: [best, _changed(best, lr_scheduler="cosine")]),
)
START = TrainingOptions(adapted_modules=ATTENTION)
FINALISTS = "the best, on all concepts"


class Candidate(Value):
    """Options, and what they gained on each concept."""

    training: TrainingOptions
    gains: tuple[Gain, ...]

    @property
    def merit(self) -> tuple[bool, float]:
        """Whether backgrounds stay and the time allows it; then the standardised gain, capped, mean over concepts."""
        background = sum(gain.background for gain in self.gains) / len(self.gains)
        seconds = max(gain.seconds for gain in self.gains)
        learned = sum(min(gain.first.standardised, _ENOUGH) for gain in self.gains) / len(self.gains)
        return background >= BACKGROUND_KEPT and seconds < SECONDS_ALLOWED, learned


def judge(
    crew: Crew[Trial, Run], options: Sequence[TrainingOptions], concepts: Sequence[Concept], label: str
) -> list[Candidate]:
    """Every variant on every concept, best first."""
    bases = crew.runs([Trial(concept, None) for concept in concepts], f"{label}: base")
    # Concept after concept: should the minutes run out, the first few have judged all variants.
    runs = crew.runs([Trial(concept, training) for concept in concepts for training in options], label)
    candidates = []
    for place, training in enumerate(options):
        own = runs[place :: len(options)]
        gains = tuple(gain(run, base) for run, base in zip(own, bases, strict=True))
        candidates.append(Candidate(training=training, gains=gains))
    return sorted(candidates, key=lambda candidate: candidate.merit, reverse=True)


def sweep(
    crew: Crew[Trial, Run], concepts: Sequence[Concept], judges: int = 3, finalists: int = 2
) -> Iterator[tuple[str, list[Candidate]]]:
    """Each stage's question with its candidates, best first, as it ends; the last are the best few on all concepts.

    The first `judges` concepts judge every candidate.

    Raises:
        OutOfBudgetError: the minutes are used up; called again, it goes on from there.
    """
    best = START
    seen: dict[TrainingOptions, Candidate] = {}
    for stage in STAGES:
        candidates = judge(crew, stage.variants(best), concepts[:judges], stage.question)
        yield stage.question, candidates
        best = candidates[0].training
        seen |= {candidate.training: candidate for candidate in candidates}
    ranked = sorted(seen.values(), key=lambda candidate: candidate.merit, reverse=True)
    chosen = [candidate.training for candidate in ranked[:finalists]]
    yield FINALISTS, judge(crew, chosen, concepts, FINALISTS)
