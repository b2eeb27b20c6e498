"""What a run found: losses by kind, recovery times, and steps done twice beside what the interval predicts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True)
class Plan:
    """What is run: everything that a run is a function of, but for the machine's pace."""

    seed: int
    jobs: int
    faults: int
    train_steps: int
    users: int = 4
    workers: int = 4
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 3.0
    checkpoint_seconds: float = 1.0
    sweep_seconds: float = 5.0
    rewake_seconds: float = 15.0
    gap_seconds: float = 5.5
    patience_seconds: float = 1200.0
    """After the last fault, for the users to submit what is left; then once more, for what they have to end."""


@dataclass(frozen=True)
class Work:
    """The optimizer steps: done in all, needed by the trainings that succeeded, and how the rest came about."""

    done: int
    needed: int
    interruptions: int
    seconds_per_step: float

    def done_twice(self) -> int:
        """What another attempt had done already, or a canceled or failed job did for nothing."""
        return self.done - self.needed

    def predicted(self, plan: Plan) -> float:
        """What the interval predicts, for interruptions that come at any moment of a job: half an interval each.

        Of a job of n whole intervals I and a rest r: (n I^2 + r^2) / 2 of its length.
        """
        length = plan.train_steps * self.seconds_per_step
        if length == 0:
            return 0.0
        whole, rest = divmod(length, plan.checkpoint_seconds)
        seconds = (whole * plan.checkpoint_seconds**2 + rest**2) / (2 * length)
        return self.interruptions * seconds / self.seconds_per_step


@dataclass(frozen=True)
class Outcome:
    """All that the checker found."""

    plan: Plan
    seconds: float
    statuses: Mapping[str, int]
    faults: Mapping[str, int]
    recoveries: Sequence[float]
    work: Work
    violations: Mapping[str, Sequence[str]]

    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.violations.values())

    def recovery(self, percent: int) -> float:
        """That percentile, in seconds; 0 without a sample."""
        if len(self.recoveries) < 2:
            return sum(self.recoveries)
        return quantiles(self.recoveries, n=100, method="inclusive")[percent - 1]

    def table(self) -> str:
        """As Markdown."""
        work, plan = self.work, self.plan
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        length = plan.train_steps * work.seconds_per_step
        predicted = work.predicted(plan)
        rows = {
            "seed": plan.seed,
            "jobs accepted": f"{sum(self.statuses.values())} ({ended})",
            "faults": sum(self.faults.values()),
            **{f"- {kind}": count for kind, count in self.faults.items()},
            **{f"violations: {what}": len(found) for what, found in self.violations.items()},
            "jobs whose worker was taken down": len(self.recoveries),
            "recovery, p50 and p95": f"{self.recovery(50):.1f} s, {self.recovery(95):.1f} s"
            f" (lease {plan.lease_seconds:.0f} s)",
            "a training, without its loading": f"{plan.train_steps} steps, {length:.1f} s; a checkpoint every"
            f" {plan.checkpoint_seconds:.0f} s",
            "interrupted trainings": work.interruptions,
            "optimizer steps done": f"{work.done}, of which twice or for nothing {work.done_twice()}"
            f" ({work.done_twice() / max(1, work.done):.1%})",
            "predicted from the interval": f"{predicted:.0f} ({predicted / max(1, work.done):.1%})",
            "duration": f"{self.seconds:.0f} s",
        }
        return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def count_kinds(kinds: Sequence[str]) -> dict[str, int]:
    """How often each came, in the order of their names."""
    return dict(sorted(Counter(kinds).items()))
