"""Measuring the base: every figure of the report, from pictures drawn for it and from real ones."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from app.domain.base_models import BaseModelManifest
from benchmarks.base_quality import diversity
from benchmarks.base_quality.asks import Ask, draw_asks, draw_real
from benchmarks.base_quality.figures import Figure
from benchmarks.base_quality.judge import Judge, Verdict
from benchmarks.base_quality.vae import psnr, round_trip
from benchmarks.drawing import Sampler, Wanted, draw
from benchmarks.statistics import Estimate, share
from recipes.icons_64.data import Pictures
from recipes.icons_64.rare_tokens import PROMPTS, rare_token_cosines
from worker.models.sd import StableDiffusionBase

# Noises that no picture of the main sample starts from.
_FURTHER_SEEDS = 1_000_000
# The last two are none that pretraining held the rare tokens apart in.
_TOKEN_PROMPTS = (
    *PROMPTS,
    "a noto icon of a {token} cookie on a red background",
    "an image of a castle in {token} style",
)
_TIMED_ROUNDS = 3
_VERDICTS: Sequence[tuple[str, str, Callable[[Verdict], bool]]] = (
    ("background right, by the pixels", ">= 97%", lambda verdict: verdict.background),
    ("set right (`how`, nearest of 5)", ">= 85% of the real", lambda verdict: verdict.set_right),
    ("name right (`what`, nearest of {names})", ">= 30%", lambda verdict: verdict.top_1),
    ("name among the 5 nearest", ">= 50%", lambda verdict: verdict.top_5),
)


@dataclass(frozen=True)
class Drawn:
    """The main sample: what was asked for, and what was drawn."""

    asks: list[Ask]
    images: list[Image.Image]
    groups: list[list[Image.Image]]
    """Some of the asks again, each drawn from several noises."""


def draw_sample(
    base: StableDiffusionBase, names: Sequence[str], count: int, sampler: Sampler, on_pictures: Callable[[int], None]
) -> Drawn:
    """Draw the main sample of `count`, picture n from seed n, and some of it again from other seeds."""
    asks = draw_asks(names, count, seed=0)
    images = draw(base, [Wanted(ask.prompt, seed) for seed, ask in enumerate(asks)], sampler, on_pictures)
    more = diversity.GROUP_SIZE - 1
    again = [ask for ask in asks[: diversity.GROUPS] for _ in range(more)]
    wanted = [Wanted(ask.prompt, _FURTHER_SEEDS + n) for n, ask in enumerate(again)]
    others = draw(base, wanted, sampler, on_pictures)
    groups = [[images[n], *others[n * more : (n + 1) * more]] for n in range(min(count, diversity.GROUPS))]
    return Drawn(asks, images, groups)


def sample_size(count: int) -> int:
    """How many pictures `draw_sample` draws."""
    return count + min(count, diversity.GROUPS) * (diversity.GROUP_SIZE - 1)


def verdict_figures(judge: Judge, base: StableDiffusionBase, drawn: Drawn, pictures: Pictures | None) -> list[Figure]:
    """Background, set and name; of real pictures too where the icons are there."""
    columns: dict[str, list[Verdict]] = {"generated": judge.verdicts(drawn.images, drawn.asks)}
    if pictures is not None:
        real = draw_real(pictures, pictures.for_generator, len(drawn.asks), seed=0)
        asks, images = [ask for ask, _ in real], [image for _, image in real]
        columns["real"] = judge.verdicts(images, asks)
        columns["through_vae"] = judge.verdicts(round_trip(base, images), asks)
    figures = []
    for name, wanted, right in _VERDICTS:
        shares = {column: share([right(verdict) for verdict in found]) for column, found in columns.items()}
        figures.append(Figure(name=name.format(names=len(judge.names.labels)), unit="share", wanted=wanted, **shares))
    return figures


def psnr_figures(base: StableDiffusionBase, pictures: Pictures, count: int) -> list[Figure]:
    """What the VAE loses, of pictures that it was trained on and of others."""
    parts = (
        ("VAE PSNR, pretrained names and sets", pictures.for_pretraining, ""),
        ("VAE PSNR, held-out names in pretrained sets", pictures.of_held_out_names, ""),
        ("VAE PSNR, held-out sets", pictures.of_held_out_sets, ">= 24 dB"),
    )
    figures = []
    for name, rows, wanted in parts:
        images = [image for _, image in draw_real(pictures, rows, count, seed=1)]
        lost = psnr(images, round_trip(base, images))
        figures.append(Figure(name=name, unit="dB", through_vae=lost, wanted=wanted))
    return figures


def diversity_figures(judge: Judge, drawn: Drawn, pictures: Pictures | None) -> list[Figure]:
    """Drawings of one prompt each, beside one real icon at several places, and beside one name in several sets."""
    beside = {"one icon at several places": diversity.placements, "one name in several sets": diversity.across_sets}
    real = {name: None if pictures is None else groups(pictures) for name, groups in beside.items()}
    measures: Mapping[str, Callable[[Sequence[diversity.Group]], Estimate]] = {
        "by `what` (1 - cosine)": partial(diversity.in_embeddings, judge.what),
        "in pixels (root mean square)": diversity.in_pixels,
    }
    return [
        Figure(
            name=f"diversity {how}: drawings of one prompt, beside {name}",
            unit="",
            generated=measure(drawn.groups),
            real=None if groups is None else measure(groups),
        )
        for how, measure in measures.items()
        for name, groups in real.items()
    ]


def token_figures(base: StableDiffusionBase) -> list[Figure]:
    """How nearly the same two of the rare tokens are to the UNet, at worst."""
    parts = base.pipeline.text_encoder, base.pipeline.tokenizer
    return [
        Figure(
            name=f'largest cosine of two rare tokens, "{prompt}"',
            unit="",
            generated=float(rare_token_cosines(*parts, prompt).max()),
            wanted="< 0.9",
        )
        for prompt in _TOKEN_PROMPTS
    ]


def cost_figures(
    base: StableDiffusionBase, manifest: BaseModelManifest, model: Path, load_seconds: float
) -> list[Figure]:
    """Size, and the wall time of loading and of drawing."""
    sampler = Sampler(manifest.default_steps, manifest.default_guidance_scale)
    wanted = [Wanted(prompt, seed) for seed, prompt in enumerate(manifest.neutral_prompts)]
    seconds = []
    for _ in range(_TIMED_ROUNDS):
        began = time.perf_counter()
        draw(base, wanted[:8], sampler)
        seconds.append(time.perf_counter() - began)
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) / 1e6
    drawing = f"8 pictures, {sampler.steps} steps, guidance, {torch.get_num_threads()} threads"
    return [
        Figure(name="size", unit="MB", generated=size, wanted="< 45 MB"),
        Figure(name="loading", unit="s", generated=load_seconds, wanted="< 3 s"),
        Figure(name=drawing, unit="s", generated=median(seconds), wanted="< 10 s"),
    ]
