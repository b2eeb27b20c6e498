"""What the sweep and the confirmation found, as markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from app.domain.evaluations import Encoders
from app.domain.training import TrainingOptions
from benchmarks.headroom.runs import Ceiling, Gain, Judged
from benchmarks.headroom.search import MODULES, Candidate
from benchmarks.statistics import Estimate, share

LEARNED = 1.5
"""The standardised gain from which on a concept counts as learned."""


def sweep_tables(stages: Mapping[str, Sequence[Candidate]]) -> str:
    """One table per question, in the order in which they were asked."""
    return "\n\n".join(f"## {question}\n\n{_candidates(candidates)}" for question, candidates in stages.items())


def _candidates(candidates: Iterable[Candidate]) -> str:
    head = (
        "| modules | rank | learning rate | steps | batch | schedule "
        "| gain | gain / deviation | by our judge | background | seconds |"
    )
    rows = [f"| {_options(c.training)} | {_summary(c.gains)} |" for c in candidates]
    return "\n".join([head, _rule(head), *rows])


def _options(training: TrainingOptions) -> str:
    modules = {names: name for name, names in MODULES.items()}.get(training.adapted_modules or (), "the base's")
    shape = f"{modules} | {training.rank} | {training.learning_rate:g} | {training.steps}"
    return f"{shape} | {training.batch_size} | {training.lr_scheduler.value}"


def _summary(gains: Sequence[Gain]) -> str:
    """By the judge that decides, then by the other over the concepts that it judges."""
    others = [gain.second for gain in gains if gain.second is not None]
    beside = f"{fmean(one.standardised for one in others):.2f}" if others else "–"
    background = fmean(gain.background for gain in gains)
    gained = _gained([gain.first for gain in gains])
    return f"{gained} | {beside} | {background:.0%} | {max(gain.seconds for gain in gains):.0f}"


def _gained(judged: Sequence[Judged]) -> str:
    cosine = fmean(one.identity - one.base_identity for one in judged)
    worst = min(one.standardised for one in judged)
    return f"{cosine:+.3f} | {fmean(one.standardised for one in judged):.2f} (least {worst:.2f})"


Ceilings = Sequence[tuple[Ceiling, Ceiling | None]]


def confirmation_table(gains: Sequence[Gain], ceilings: Ceilings, names: Encoders) -> str:
    """One row per concept with what its own icons would gain, and below it how many are learned; judge by judge.

    `names`: the encoders that judged first, objects and styles.
    """
    background = fmean(gain.background for gain in gains)
    first = [(gain.concept, gain.first, own) for gain, (own, _) in zip(gains, ceilings, strict=True)]
    second = [
        (gain.concept, gain.second, own)
        for gain, (_, own) in zip(gains, ceilings, strict=True)
        if gain.second is not None and own is not None
    ]
    held = f"Background right: {background:.0%}. Training: at most {max(gain.seconds for gain in gains):.0f} s."
    parts = [f"By `{names.object}` (objects) and `{names.style}` (styles):", _judged_table(first), held]
    if second:
        parts += ["Objects by `icons-64-what`, which was trained here:", _judged_table(second)]
    return "\n\n".join(parts)


def _judged_table(rows: Sequence[tuple[str, Judged, Ceiling]]) -> str:
    head = "| concept | identity, base | learned | gain / deviation | real pictures | real, through the VAE |"
    lines = [
        f"| {concept} | {one.base_identity:.3f} | {one.identity:.3f} | {one.standardised:.2f} "
        f"| {own.real:.2f} | {own.through_vae:.2f} |"
        for concept, one, own in rows
    ]
    learned = share([one.standardised >= LEARNED for _, one, _ in rows])
    reached = [sum(value >= LEARNED for value in values) for values in zip(*map(_reach, rows), strict=True)]
    verdict = (
        f"Gain / deviation of {LEARNED} or more: {_percent(learned)} of {learned.count} concepts; "
        f"real pictures: {reached[0]}, through the VAE: {reached[1]}."
    )
    return "\n".join([head, _rule(head), *lines, "", verdict])


def _reach(row: tuple[str, Judged, Ceiling]) -> tuple[float, float]:
    return row[2].real, row[2].through_vae


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} ({estimate.low:.0%} to {estimate.high:.0%})"


def _rule(head: str) -> str:
    return "|" + " --- |" * head.count(" |")
