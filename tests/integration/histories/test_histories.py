"""Histories of jobs and lineages in any order. `python -m tests.integration.histories 500 50` runs many long ones."""

from app.settings import Settings
from tests.integration.histories.run import run_histories


def test_every_history_keeps_the_rules(settings: Settings) -> None:
    tally = run_histories(settings, histories=12, rules=25)
    assert tally["histories"] >= 12
    assert tally["versions"] > 0
