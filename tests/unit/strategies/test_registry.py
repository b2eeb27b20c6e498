"""Names and algorithms are the same set."""

from app.domain.strategies import STRATEGIES
from worker.strategies.registry import ALGORITHMS, strategy_of


def test_every_strategy_has_an_algorithm_and_no_algorithm_lacks_options() -> None:
    assert ALGORITHMS.keys() == STRATEGIES.keys()


def test_each_algorithm_takes_the_options_of_its_name() -> None:
    for name, options in STRATEGIES.items():
        algorithm = strategy_of(options())
        assert algorithm.options == options()  # type: ignore[attr-defined]
        assert type(algorithm).__name__.lower() == name.replace("_", "")
