"""Running histories, few or many."""

from collections import Counter

from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from app.settings import Settings
from tests.integration.histories.hands import Hand, stand_ins
from tests.integration.histories.machine import Histories
from tests.integration.histories.place import open_place

_WORKERS = 4


def run_histories(settings: Settings, histories: int, rules: int) -> Counter[str]:
    """So many histories of at most so many rules; what happened in them, counted.

    Raises:
        AssertionError: one of them breaks a rule; Hypothesis prints it, as short as it gets.
    """
    Histories.tally = Counter()
    with open_place(settings) as place, stand_ins():
        Histories.place, Histories.hands = place, [Hand.of(place) for _ in range(_WORKERS)]
        run_state_machine_as_test(
            Histories,
            settings=hypothesis_settings(
                max_examples=histories,
                stateful_step_count=rules,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
                print_blob=True,
            ),
        )
        assert not list(place.store.list()), "an object is left that nobody names"
    return Histories.tally
