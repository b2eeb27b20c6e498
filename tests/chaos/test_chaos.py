"""A short run of everything that `make chaos` does at length."""

from pathlib import Path

import pytest

from tests.chaos.faults import FaultKind
from tests.chaos.harness import run
from tests.chaos.report import Plan
from tests.chaos.stops import stop_trials

# Shorter than the deployment's in all that is waited for, so that jobs do go round within the minute.
HASTY = Plan(
    seed=7,
    jobs=40,
    faults=2 * len(FaultKind),
    users=3,
    workers=2,
    train_steps=60,
    lease_seconds=3.0,
    heartbeat_seconds=0.5,
    checkpoint_seconds=0.5,
    sweep_seconds=0.5,
    rewake_seconds=2.0,
    gap_seconds=1.0,
    patience_seconds=300.0,
)


@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_overwritten_under_any_fault(tmp_path: Path) -> None:
    outcome = run(HASTY, tmp_path / "home", print)
    assert {what: found for what, found in outcome.violations.items() if found} == {}
    assert sum(outcome.statuses.values()) == HASTY.jobs
    assert set(outcome.faults) == set(FaultKind)
    # Else the run has shown nothing.
    assert outcome.recoveries
    assert outcome.statuses["succeeded"] > HASTY.jobs // 2


@pytest.mark.timeout(900)
def test_workers_that_wake_up_past_their_lease_change_nothing(tmp_path: Path) -> None:
    trials = stop_trials(tmp_path / "home", seed=3, count=3)
    assert trials.woken == 3
    assert trials.violations == []
