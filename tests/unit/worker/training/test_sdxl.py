"""A concept taught to an SDXL base: trained, interrupted, drawn, and taken along to diffusers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.domain.adapters import AdapterFormat
from app.domain.base_models import Family
from app.domain.strategies import MergeOptions, NaiveOptions, StrategyOptions
from app.domain.training import TrainingOptions
from tests.tiny_pipelines import PredictionType
from tests.tiny_sdxl import tiny_sdxl, tiny_sdxl_base, write_tiny_sdxl
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, file_of, fixed_loss, same_weights, weights_of
from worker.adapters.accumulated import ChainLink, Update, applied
from worker.adapters.factors import to_bytes
from worker.adapters.tensor_file import unpack
from worker.models.base import Base, Framing, Sampling
from worker.models.loading import load_base
from worker.strategies.replay import replay
from worker.training.data import encode
from worker.training.loop import train

pytestmark = pytest.mark.slow

STRATEGIES = [MergeOptions(), NaiveOptions()]
SAMPLING = Sampling(prompt="a zqa cat", negative_prompt=None, steps=3, guidance_scale=3.0, width=64, height=64)


def with_options(**changes: float) -> TrainingOptions:
    return TrainingOptions.model_validate(OPTIONS.model_dump() | changes)


def teach(
    strategy: StrategyOptions,
    count: int,
    training: TrainingOptions = OPTIONS,
    prediction_type: PredictionType = "epsilon",
) -> tuple[ChainLink, ...]:
    """A chain of `count` versions, all of the same concept."""
    chain: tuple[ChainLink, ...] = ()
    for _ in range(count):
        trained = train(tiny_sdxl_base(prediction_type), a_task(training, strategy, chain), Listener(), None)
        chain += (ChainLink(strategy, trained.adapter),)
    return chain


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_training_lowers_the_loss_on_fixed_noise(strategy: StrategyOptions, prediction_type: PredictionType) -> None:
    base, training = tiny_sdxl_base(prediction_type), with_options(steps=20, rank=4, batch_size=4, learning_rate=2e-2)
    chain = teach(strategy, 2, training, prediction_type)
    untaught, once, twice = (fixed_loss(base, a_task(), replay(chain[:n]).update) for n in range(3))
    # Epsilon is noise: what random weights can lose of its loss is little more than their excess over 1.
    assert once < 0.99 * untaught
    assert twice < 0.995 * once


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interruption_changes_no_bit_and_the_base_is_as_it_was(strategy: StrategyOptions) -> None:
    base = tiny_sdxl_base()
    before, modules = weights_of(base), dict(base.denoiser.named_modules())
    task, hooks = a_task(strategy=strategy, chain=teach(strategy, 1)), Listener(checkpoint_at=frozenset({2}))
    expected = file_of(train(base, task, hooks, None))
    stopped = Listener(checkpoint_at=frozenset({2}), stop_after=3)
    with pytest.raises(Listener.Stopped):
        train(base, task, stopped, None)
    assert stopped.checkpoints == hooks.checkpoints
    assert file_of(train(base, task, Listener(), stopped.checkpoints[2])) == expected
    assert same_weights(base, before)
    assert dict(base.denoiser.named_modules()) == modules


def test_each_image_is_trained_under_its_own_framing() -> None:
    encoded = encode(tiny_sdxl_base(), a_task(), lambda: None)
    assert encoded.conditioning.tensors["framing"].tolist() == [[70, 90, 0, 9], [96, 64, 16, 0]]
    assert {len(tensor) for tensor in encoded.conditioning.tensors.values()} == {2}


def test_training_hears_the_framing(monkeypatch: pytest.MonkeyPatch) -> None:
    told, plain = Listener(), Listener()
    train(tiny_sdxl_base(), a_task(), told, None)
    monkeypatch.setattr("worker.training.data.framing", lambda *_: Framing((64, 64), (0, 0)))
    train(tiny_sdxl_base(), a_task(), plain, None)
    assert told.losses != plain.losses


def test_all_of_the_unets_attention_is_adapted_and_no_text_encoder() -> None:
    (link,) = teach(MergeOptions(), 1)
    keys = unpack(to_bytes(link.adapter, {}))[0].keys()
    assert all(key.startswith("unet.") for key in keys)
    blocks = sum(type(module).__name__ == "Attention" for module in tiny_sdxl_base().denoiser.modules())
    assert len(keys) == 2 * 4 * blocks
    assert all(link.adapter.delta(name).abs().max() > 0 for name in link.adapter.modules)


def draw(update: Update, base: Base | None = None) -> np.ndarray:
    """Palimpsest's own picture of a version, in 0 .. 255."""
    base = base or tiny_sdxl_base()
    with applied(base.denoiser, update):
        image = base.sample(SAMPLING, [torch.Generator().manual_seed(5)], lambda *_: None)[0]
    return np.asarray(image, dtype=np.float64)


@pytest.mark.parametrize("kind", list(AdapterFormat))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_diffusers_draws_the_same_from_an_export(
    strategy: StrategyOptions, kind: AdapterFormat, tmp_path: Path
) -> None:
    chain = teach(strategy, 2, with_options(learning_rate=0.1))
    links = [Link(link.strategy, to_bytes(link.adapter, {})) for link in chain]
    (tmp_path / "adapter.safetensors").write_bytes(export_adapter(links, Export(kind, Family.SDXL)))
    pipeline = tiny_sdxl()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(tmp_path, weight_name="adapter.safetensors")
    generator = torch.Generator().manual_seed(5)
    options = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np"}
    expected = 255 * pipeline(SAMPLING.prompt, generator=generator, **options).images[0]
    taught = draw(replay(chain).update)
    # Half a step of 255 is what rounding to a pixel's byte costs.
    np.testing.assert_allclose(taught, expected, atol=0.5 + 255 * 1e-3)
    assert abs(taught - draw({})).max() > 3
    assert np.array_equal(draw({}), draw({}))


def test_a_base_in_half_precision_trains_and_draws(tmp_path: Path) -> None:
    write_tiny_sdxl(tmp_path)
    base = load_base(Family.SDXL, str(tmp_path), torch.device("cpu"), torch.bfloat16)
    before = weights_of(base)
    adapter = train(base, a_task(), Listener(), None).adapter
    assert {factors.b.dtype for factors in adapter.modules.values()} == {torch.float32}
    update = replay((ChainLink(MergeOptions(), adapter),)).update
    assert abs(draw(update, base) - draw(update)).mean() < 0.1 * draw(update).std()
    assert same_weights(base, before)
