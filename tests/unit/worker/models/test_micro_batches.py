"""A batch that does not fit is computed in parts, to the same result; one image that does not fit is an error."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from app.domain.strategies import MergeOptions, SelfReplayOptions, StrategyOptions
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, same_weights, weights_of
from worker.models.base import Base, Conditioning
from worker.models.sd import StableDiffusionBase
from worker.training.loop import train
from worker.training.training_task import Trained

pytestmark = pytest.mark.slow

BATCH = OPTIONS.model_copy(update={"batch_size": 5})
SELF_REPLAY = SelfReplayOptions(latents_per_concept=1, neutral_latents=2, sampling_steps=2, replay_batch_size=2)


def room_for(monkeypatch: pytest.MonkeyPatch, images: int) -> list[int]:
    """A device that has room for so many at once; the sizes that it is asked for from now on."""
    asked: list[int] = []
    real = StableDiffusionBase.predict

    def predict(self: StableDiffusionBase, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        asked.append(len(noisy))
        if len(noisy) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, noisy, timesteps, conditioning)

    monkeypatch.setattr(StableDiffusionBase, "predict", predict)
    return asked


def _train(base: Base, strategy: StrategyOptions) -> tuple[Trained, Listener]:
    hooks = Listener(checkpoint_at=frozenset({2}))
    return train(base, a_task(BATCH, strategy), hooks, None), hooks


@pytest.mark.parametrize("strategy", [MergeOptions(), SELF_REPLAY], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize(("room", "found"), [(4, 3), (2, 2)])
def test_parts_give_the_gradient_of_the_whole(
    strategy: StrategyOptions, room: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, heard = _train(tiny_base(), strategy)
    asked = room_for(monkeypatch, room)
    before = weights_of(tiny_base())
    parts, in_parts = _train(tiny_base(), strategy)
    assert same_weights(tiny_base(), before)
    torch.testing.assert_close(in_parts.losses, heard.losses, rtol=1e-4, atol=1e-6)
    for name, factors in whole.adapter.modules.items():
        torch.testing.assert_close(parts.adapter.modules[name].a, factors.a, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(parts.adapter.modules[name].b, factors.b, rtol=1e-3, atol=1e-5)
    # It is tried once, not at every step.
    assert sum(size > room for size in asked) == {4: 1, 2: 2}[room]
    assert (whole.notes.get("images_at_once"), parts.notes["images_at_once"]) == (None, found)


def test_a_training_in_parts_goes_on_from_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drawn is the same, so that a worker with more memory may take over."""
    room_for(monkeypatch, 2)
    task = a_task(BATCH, SELF_REPLAY)
    hooks = Listener(checkpoint_at=frozenset({2}))
    parts = train(tiny_base(), task, hooks, None)
    monkeypatch.undo()
    resumed = train(tiny_base(), task, Listener(), hooks.checkpoints[2])
    for name, factors in parts.adapter.modules.items():
        torch.testing.assert_close(resumed.adapter.modules[name].b, factors.b, rtol=1e-3, atol=1e-5)


def test_one_image_that_does_not_fit_is_an_error_that_leaves_the_base_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = weights_of(tiny_base())
    asked = room_for(monkeypatch, 0)
    with pytest.raises(torch.OutOfMemoryError):
        train(tiny_base(), replace(a_task(BATCH)), Listener(), None)
    assert asked == [5, 3, 2, 1]
    assert same_weights(tiny_base(), before)
