"""The `sd` family against formulas in numpy and against diffusers' own pipeline."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tiny_pipelines import PredictionType, tiny_base, tiny_sd
from worker.models.base import Conditioning, LatentDistribution, Sampling
from worker.models.sd import StableDiffusionBase

TIMESTEPS = torch.tensor([0, 500, 999])


def alpha_sigma() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The schedule that `tiny_pipelines` asks for, by its definition: betas linear in their square roots."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    products = np.cumprod(1 - betas)[TIMESTEPS.numpy()].reshape(-1, 1, 1, 1)
    return np.sqrt(products), np.sqrt(1 - products)


def latents_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 4, 8, 8, generator=generator)


def test_noise_is_added_as_the_schedule_says() -> None:
    latents, noise = latents_and_noise()
    alpha, sigma = alpha_sigma()
    noisy = tiny_base().add_noise(latents, noise, TIMESTEPS)
    np.testing.assert_allclose(noisy, alpha * latents.numpy() + sigma * noise.numpy(), atol=1e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_target_is_that_of_the_prediction_type(prediction_type: PredictionType) -> None:
    latents, noise = latents_and_noise()
    alpha, sigma = alpha_sigma()
    expected = {
        "epsilon": noise.numpy(),
        "v_prediction": alpha * noise.numpy() - sigma * latents.numpy(),
        "sample": latents.numpy(),
    }
    target = tiny_base(prediction_type).target(latents, noise, TIMESTEPS)
    np.testing.assert_allclose(target, expected[prediction_type], atol=1e-5)


def test_a_prediction_type_of_another_family_is_refused() -> None:
    base = StableDiffusionBase(tiny_sd(), "other")
    base.noise_scheduler.register_to_config(prediction_type="flow_prediction")
    with pytest.raises(ValueError, match="flow_prediction"):
        base.target(*latents_and_noise(), TIMESTEPS)


def test_timesteps_are_drawn_from_all_of_the_schedule() -> None:
    drawn = tiny_base().sample_timesteps(20_000, torch.Generator().manual_seed(0))
    assert (int(drawn.min()), int(drawn.max())) == (0, 999)
    assert drawn.float().mean().item() == pytest.approx(499.5, abs=10)


def test_images_are_encoded_in_the_scaled_units_of_the_denoiser() -> None:
    base, pipeline = tiny_base(), tiny_sd()
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gaussian = pipeline.vae.encode(pixels).latent_dist
    distribution = base.encode_images(pixels)
    scaling = pipeline.vae.config.scaling_factor
    torch.testing.assert_close(distribution.mean, gaussian.mean.detach() * scaling)
    torch.testing.assert_close(distribution.std, torch.exp(0.5 * gaussian.logvar).detach() * scaling)


def test_latents_are_drawn_from_their_distribution() -> None:
    wide = LatentDistribution(torch.full((1, 100, 10, 10), 3.0), torch.full((1, 100, 10, 10), 0.5))
    drawn = wide.sample(torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(3, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.02)


def test_rows_make_a_batch() -> None:
    indices = torch.tensor([2, 0, 2])
    rows = torch.arange(3.0).reshape(3, 1)
    assert Conditioning({"x": rows}).rows(indices).tensors["x"].flatten().tolist() == [2, 0, 2]
    assert LatentDistribution(rows, rows + 1).rows(indices).std.flatten().tolist() == [3, 1, 3]


def test_prompts_are_told_apart() -> None:
    embeds = tiny_base().encode_prompts(["a zqa cat", "a zqb cat", "a zqa cat"]).tensors["encoder_hidden_states"]
    assert torch.equal(embeds[0], embeds[2])
    assert not torch.allclose(embeds[0], embeds[1], atol=1e-2)


def test_a_sample_is_that_of_the_pipeline_itself() -> None:
    sampling = Sampling(prompt="a cat", negative_prompt="a dog", steps=3, guidance_scale=3.0, width=64, height=64)
    steps: list[tuple[int, int]] = []
    image = tiny_base().sample(sampling, [torch.Generator().manual_seed(5)], lambda *step: steps.append(step))[0]
    pipeline = tiny_sd()
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a cat",
        negative_prompt="a dog",
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    assert np.array_equal(np.asarray(image), np.asarray(expected))
    assert steps == [(1, 3), (2, 3), (3, 3)]
