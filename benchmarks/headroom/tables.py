"""What the sweep and the confirmation found, as markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from app.domain.training import TrainingOptions
from benchmarks.headroom.runs import Gain
from benchmarks.headroom.search import MODULES, Candidate
from benchmarks.statistics import Estimate, share

LEARNED = 1.5
"""The standardised gain from which on a concept counts as learned."""


def sweep_tables(stages: Mapping[str, Sequence[Candidate]]) -> str:
    """One table per question, in the order in which they were asked."""
    return "\n\n".join(f"## {question}\n\n{_candidates(candidates)}" for question, candidates in stages.items())


def _candidates(candidates: Iterable[Candidate]) -> str:
    head = (
        "| modules | rank | learning rate | steps | batch | schedule | gain | gain / deviation | background | seconds |"
    )
    rows = [f"| {_options(c.training)} | {_summary(c.gains)} |" for c in candidates]
    return "\n".join([head, _rule(head), *rows])


def _options(training: TrainingOptions) -> str:
    modules = {names: name for name, names in MODULES.items()}.get(training.adapted_modules or (), "the base's")
    shape = f"{modules} | {training.rank} | {training.learning_rate:g} | {training.steps}"
    return f"{shape} | {training.batch_size} | {training.lr_scheduler.value}"


def _summary(gains: Sequence[Gain]) -> str:
    cosine = fmean(gain.identity - gain.base_identity for gain in gains)
    worst = min(gain.standardised for gain in gains)
    standardised = f"{fmean(gain.standardised for gain in gains):.2f} (least {worst:.2f})"
    background = fmean(gain.background for gain in gains)
    return f"{cosine:+.3f} | {standardised} | {background:.0%} | {max(gain.seconds for gain in gains):.0f}"


def confirmation_table(gains: Sequence[Gain], ceilings: Sequence[float]) -> str:
    """One row per concept with what its own icons would gain, and below it how many are learned."""
    head = (
        "| concept | identity, base | learned | gain / deviation | of its own icons "
        "| background, base | learned | seconds |"
    )
    rows = [
        f"| {g.concept} | {g.base_identity:.3f} | {g.identity:.3f} | {g.standardised:.2f} | {ceiling:.2f} "
        f"| {g.base_background:.0%} | {g.background:.0%} | {g.seconds:.1f} |"
        for g, ceiling in zip(gains, ceilings, strict=True)
    ]
    learned = share([gain.standardised >= LEARNED for gain in gains])
    background = fmean(gain.background for gain in gains)
    verdict = (
        f"Gain / deviation of {LEARNED} or more: {_percent(learned)} of {learned.count} concepts; "
        f"their own icons: {sum(ceiling >= LEARNED for ceiling in ceilings)}. "
        f"Background right: {background:.0%}. Training: at most {max(gain.seconds for gain in gains):.0f} s."
    )
    return "\n".join([head, _rule(head), *rows, "", verdict])


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} ({estimate.low:.0%} to {estimate.high:.0%})"


def _rule(head: str) -> str:
    return "|" + " --- |" * head.count(" |")
