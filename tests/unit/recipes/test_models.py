"""The parts that are easy to get wrong by a sign: standardised latents, loss weights, timesteps."""

import torch

from recipes.icons_64.diffusion import draw_timesteps, loss_weights, noise_scheduler
from recipes.icons_64.latents import standardise
from recipes.icons_64.vae import build


@torch.no_grad()
def test_standardising_scales_latents_and_leaves_pictures_alone() -> None:
    torch.manual_seed(0)
    vae = build().eval()
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    before = vae.encode(pictures).latent_dist
    drawn = vae.decode(before.mean).sample
    offset, scale = torch.randn(16), torch.rand(16) + 0.5
    standardise(vae, offset, scale)
    after = vae.encode(pictures).latent_dist
    torch.testing.assert_close(after.mean, (before.mean - offset.view(-1, 1, 1)) / scale.view(-1, 1, 1))
    torch.testing.assert_close(after.std, before.std / scale.view(-1, 1, 1))
    torch.testing.assert_close(vae.decode(after.mean).sample, drawn, atol=1e-4, rtol=1e-4)
    assert vae.config.scaling_factor == 1.0


def test_weights_are_one_in_noise_and_capped_where_little_noise_is_left() -> None:
    alphas = torch.tensor([0.0, 0.5, 0.9])
    torch.testing.assert_close(loss_weights(alphas), torch.tensor([1.0, 1.0, 0.6]))


def test_the_last_timestep_is_pure_noise() -> None:
    assert noise_scheduler().alphas_cumprod[-1] == 0


def test_timesteps_come_one_from_each_stratum_and_the_noisy_ones_more_often() -> None:
    timesteps = draw_timesteps(10_000, torch.Generator().manual_seed(0)).double()
    # With density t^(3/7), the share of timesteps below t is (t / 1000)^(10/7).
    for bound in (100, 300, 500, 700, 900):
        assert abs((timesteps < bound).double().mean() - (bound / 1000) ** (10 / 7)) < 1e-3
    again = draw_timesteps(10_000, torch.Generator().manual_seed(1)).double()
    assert timesteps.sort().values.sub(again.sort().values).abs().max() <= 2
