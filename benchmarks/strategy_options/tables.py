"""What the search found, as markdown."""

from collections.abc import Sequence

from app.domain.strategies import StrategyOptions
from benchmarks.strategy_options.candidates import without_options
from benchmarks.strategy_options.choice import Measured, choose, difference, is_default
from benchmarks.strategy_options.plan import Findings

_HEAD = (
    "| strategy | options | average score | less the default's | when learned | forgetting | background | seconds | |"
)


def table(findings: Findings) -> str:
    """A row per candidate, and below them how far they can be told apart."""
    rows = [
        f"| base | | {findings.base_score:.3f} | | | | | | |",
        f"| merge | none | {findings.merge.average_score:.3f} | | {_figures(findings.merge)} | |",
        *(row for candidates in findings.candidates.values() for row in _rows(candidates)),
    ]
    return "\n".join([_HEAD, "|" + " --- |" * _HEAD.count(" |"), *rows, "", _caveat(findings)])


def _rows(candidates: Sequence[Measured]) -> list[str]:
    default = next(candidate for candidate in candidates if is_default(candidate.strategy))
    chosen = choose(candidates)
    strategies = [candidate.strategy for candidate in candidates]
    return [
        f"| {candidate.strategy.name} | {_options(candidate.strategy, strategies)} | {candidate.average_score:.3f} "
        f"| {_lead(candidate, default)} | {_figures(candidate)} | {'chosen' if candidate is chosen else ''} |"
        for candidate in candidates
    ]


def _options(strategy: StrategyOptions, candidates: Sequence[StrategyOptions]) -> str:
    """Those in which the candidates differ."""
    varied = [name for name in type(strategy).model_fields if len({getattr(other, name) for other in candidates}) > 1]
    return ", ".join(f"{name} {getattr(strategy, name)}" for name in varied)


def _lead(candidate: Measured, default: Measured) -> str:
    if candidate is default:
        return "default"
    lead = difference(candidate, default)
    return f"{lead.mean:+.3f} ± {lead.error:.3f}"


def _figures(one: Measured) -> str:
    return f"{one.plasticity:.3f} | {one.forgetting:.3f} | {one.background:.0%} | {one.seconds:.0f}"


def _caveat(findings: Findings) -> str:
    orders = "1 order" if findings.streams == 1 else f"{findings.streams} orders"
    pictures = len(findings.merge.final)
    return (
        f"Concepts: {orders} of held-out objects of the tuning split, the same for every row, {findings.steps} steps "
        f"each; {pictures} pictures by the last versions in each row. After ±: the standard error over pictures, "
        "paired by prompt and noise. It says nothing of other concepts and orders, so differences of a few standard "
        "errors may still be noise. Chosen: of all within one standard error of the strategy's best, the one least "
        "changed from the default. "
        f"Without options to search: {', '.join(without_options())}."
    )
