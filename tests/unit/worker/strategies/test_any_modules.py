"""Every strategy teaches two tasks on either family, whichever modules are adapted."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from app.domain.strategies import STRATEGIES
from tests.tiny_pipelines import tiny_base
from tests.tiny_sdxl import tiny_sdxl_base
from tests.unit.worker.adapters.oracle import accumulated
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, same_weights, weights_of
from worker.adapters.accumulated import ChainLink
from worker.models.base import Base
from worker.strategies.replay import replay
from worker.training.loop import train

pytestmark = pytest.mark.slow

TRAINING = OPTIONS.model_copy(update={"steps": 1, "batch_size": 1})
# What strategies measure or draw beside their steps, as little of it as there may be.
BRIEFLY: dict[str, dict[str, int]] = {
    "self_replay": {"latents_per_concept": 1, "neutral_latents": 1, "sampling_steps": 1, "replay_batch_size": 1},
    "null_space": {"gradient_batches": 1},
    "ewc": {"fisher_samples": 1},
}


@pytest.mark.parametrize("modules", [("conv1", "to_k", "proj_in"), ("conv_in",)], ids="-".join)
@pytest.mark.parametrize("base_of", [tiny_base, tiny_sdxl_base], ids=["sd", "sdxl"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_any_modules_of_either_family_are_taught(
    name: str, base_of: Callable[[], Base], modules: tuple[str, ...]
) -> None:
    strategy, base = STRATEGIES[name].model_validate(BRIEFLY.get(name, {})), base_of()
    before, chain = weights_of(base), list[ChainLink]()
    for _ in range(2):
        trained = train(base, a_task(TRAINING, strategy, tuple(chain), modules), Listener(), None)
        chain.append(ChainLink(strategy, trained.adapter, ("a zqa cat",), trained.strategy_state))
    assert same_weights(base, before)
    update = replay(chain).update
    assert {path.split(".")[-1] for path in update} == set(modules)
    for path, d in update.items():
        expected = accumulated(chain, path, (d.shape[0], d.shape[1]))
        assert torch.isfinite(d).all()
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(d, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
