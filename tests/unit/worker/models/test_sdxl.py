"""The `sdxl` family against diffusers' own pipeline, its parts called one by one."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_pipelines import PredictionType, tiny_base
from tests.tiny_sdxl import tiny_sdxl, tiny_sdxl_base
from worker.models.base import Conditioning, Framing, Sampling
from worker.models.sdxl import StableDiffusionXLBase

PROMPTS = ["a zqa cat", "a photo of a dog", ""]
TIMESTEPS = torch.tensor([0, 500, 999])


def latents_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 4, 8, 8, generator=generator)


def encode_by_hand(prompts: list[str]) -> Conditioning:
    """The last but one layer of each encoder, side by side, and the second one's projected end-of-text state."""
    pipeline = tiny_sdxl()
    states, pooled = [], torch.empty(0)
    parts = [(pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)]
    for tokenizer, encoder in parts:
        tokens = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            output = encoder(tokens, output_hidden_states=True)
        states.append(output.hidden_states[-2])
        pooled = output[0]
    return Conditioning({"encoder_hidden_states": torch.cat(states, dim=-1), "text_embeds": pooled})


def test_both_encoders_and_the_pooled_state() -> None:
    tensors = tiny_sdxl_base().encode_prompts(PROMPTS).tensors
    expected = encode_by_hand(PROMPTS).tensors
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "encoder_hidden_states": (3, 24, 64),
        "text_embeds": (3, 24),
    }
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name])
        assert not tensor.requires_grad


@pytest.mark.parametrize(
    ("framings", "time_ids"),
    [
        (None, [[64, 64, 0, 0, 64, 64]] * 3),
        (
            [Framing((70, 90), (0, 9)), Framing((512, 256), (32, 0)), Framing((64, 64), (0, 0))],
            [[70, 90, 0, 9, 64, 64], [512, 256, 32, 0, 64, 64], [64, 64, 0, 0, 64, 64]],
        ),
    ],
)
def test_a_prediction_is_the_unets_own(framings: list[Framing] | None, time_ids: list[list[float]]) -> None:
    base, (noisy, _), by_hand = tiny_sdxl_base(), latents_and_noise(), encode_by_hand(PROMPTS).tensors
    conditioning = base.encode_prompts(PROMPTS)
    if framings is not None:
        conditioning = conditioning.beside(base.encode_framings(framings))
    added = {"text_embeds": by_hand["text_embeds"], "time_ids": torch.tensor(time_ids, dtype=torch.float32)}
    states = by_hand["encoder_hidden_states"]
    with torch.no_grad():
        model_pred = base.predict(noisy, TIMESTEPS, conditioning)
        expected = tiny_sdxl().unet(noisy, TIMESTEPS, states, added_cond_kwargs=added).sample
    torch.testing.assert_close(model_pred, expected)


def test_the_framing_and_the_pooled_state_are_heard() -> None:
    base, (noisy, _) = tiny_sdxl_base(), latents_and_noise()
    prompt = base.encode_prompts(PROMPTS)
    silent = Conditioning({**prompt.tensors, "text_embeds": torch.zeros_like(prompt.tensors["text_embeds"])})
    cropped = prompt.beside(base.encode_framings([Framing((64, 640), (0, 288))] * 3))
    with torch.no_grad():
        plain, *others = (base.predict(noisy, TIMESTEPS, conditioning) for conditioning in (prompt, silent, cropped))
    assert all((other - plain).abs().max() > 1e-4 for other in others)


def test_a_batch_takes_its_rows() -> None:
    base = tiny_sdxl_base()
    framings = base.encode_framings([Framing((70, 90), (0, 9)), Framing((512, 256), (32, 0))])
    both = base.encode_prompts(PROMPTS[:2]).beside(framings).rows(torch.tensor([1, 0, 1]))
    assert both.tensors["framing"].tolist() == [[512, 256, 32, 0], [70, 90, 0, 9], [512, 256, 32, 0]]
    assert torch.equal(both.tensors["text_embeds"][1], base.encode_prompts(PROMPTS[:2]).tensors["text_embeds"][0])


def test_sd_is_told_nothing_of_the_framing() -> None:
    assert tiny_base().encode_framings([Framing((70, 90), (0, 9))]).tensors == {}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_schedule_is_that_of_the_sampler(prediction_type: PredictionType) -> None:
    """SDXL comes with an Euler sampler, which counts noise otherwise: x + sigma' noise, with sigma' = sigma / alpha."""
    base, (latents, noise) = tiny_sdxl_base(prediction_type), latents_and_noise()
    alpha = tiny_sdxl().scheduler.alphas_cumprod[TIMESTEPS].sqrt().reshape(-1, 1, 1, 1)
    sigma = (1 - alpha.square()).sqrt()
    torch.testing.assert_close(base.add_noise(latents, noise, TIMESTEPS), alpha * latents + sigma * noise)
    expected = noise if prediction_type == "epsilon" else alpha * noise - sigma * latents
    torch.testing.assert_close(base.target(latents, noise, TIMESTEPS), expected)


@pytest.mark.parametrize("negative_prompt", [None, "", "a dog"])
def test_a_sample_is_that_of_the_pipeline_itself(negative_prompt: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a negative prompt the unconditional states are zeros (`force_zeros_for_empty_prompt`)."""
    sampling = Sampling(
        prompt="a cat", negative_prompt=negative_prompt, steps=3, guidance_scale=3.0, width=64, height=64
    )
    steps: list[tuple[int, int]] = []
    decoded = decoded_by(monkeypatch, tiny_sdxl_base())
    image = tiny_sdxl_base().sample(sampling, [torch.Generator().manual_seed(5)], lambda *step: steps.append(step))[0]
    pipeline = tiny_sdxl()
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a cat",
        negative_prompt=negative_prompt,
        num_inference_steps=3,
        guidance_scale=3.0,
        latents=torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(5)),
        output_type="pt",
    ).images
    torch.testing.assert_close((decoded[0] / 2 + 0.5).clamp(0, 1), expected, atol=1e-5, rtol=0)
    bytes_expected = (255 * expected[0].permute(1, 2, 0)).round().numpy()
    assert abs(np.asarray(image) - bytes_expected).max() <= 1
    assert np.asarray(image).std() > 1
    assert steps == [(1, 3), (2, 3), (3, 3)]


def decoded_by(monkeypatch: pytest.MonkeyPatch, base: StableDiffusionXLBase) -> list[torch.Tensor]:
    """Fills with the pixels that the base decodes, before they are rounded to bytes."""
    decoded: list[torch.Tensor] = []
    postprocess = base.pipeline.image_processor.postprocess

    def listen(pixels: torch.Tensor, output_type: str) -> list[Image.Image]:
        decoded.append(pixels)
        images: list[Image.Image] = postprocess(pixels, output_type=output_type)
        return images

    monkeypatch.setattr(base.pipeline.image_processor, "postprocess", listen)
    return decoded
