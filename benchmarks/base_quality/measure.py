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
from benchmarks.base_quality import diversity, set_given_name
from benchmarks.base_quality.asks import Ask, draw_asks, draw_real
from benchmarks.base_quality.figures import Figure
from benchmarks.base_quality.judge import Judges, NameJudge, Verdict, backgrounds_right
from benchmarks.base_quality.vae import psnr, round_trip
from benchmarks.drawing import Sampler, Wanted, draw
from benchmarks.statistics import Estimate, share
from recipes.icons_64.captions import SET_NOUNS
from recipes.icons_64.data import Pictures
from recipes.icons_64.rare_tokens import PROMPTS, rare_token_cosines
from worker.evaluation.encoders import lite0
from worker.evaluation.encoders.base import Encoder
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


Sample = tuple[Sequence[Ask], Sequence[Image.Image]]


def verdict_figures(judges: Judges, base: StableDiffusionBase, drawn: Drawn, pictures: Pictures | None) -> list[Figure]:
    """Background, set and name; of real pictures too where the icons are there."""
    samples: dict[str, Sample] = {"generated": (drawn.asks, drawn.images)}
    if pictures is not None:
        samples |= _real_samples(base, draw_real(pictures, pictures.for_generator, len(drawn.asks), seed=0))
    figures = [
        _share_figure("background right, by the pixels", ">= 97%", samples, backgrounds_right),
        *([] if pictures is None else [_set_given_name(base, drawn, pictures)]),
    ]
    for judge in judges.names:
        figures += _name_figures(judge, samples)
    if judges.sets.knows(drawn.asks):
        name = f"set right (`{judges.sets.encoder.name}`, nearest of {len(judges.sets.sets.labels)})"
        figures.append(_share_figure(name, "", samples, judges.sets.right))
    return figures


def _real_samples(base: StableDiffusionBase, real: Sequence[tuple[Ask, Image.Image]]) -> dict[str, Sample]:
    asks, images = [ask for ask, _ in real], [image for _, image in real]
    return {"real": (asks, images), "through_vae": (asks, round_trip(base, images))}


def _share_figure(
    name: str,
    wanted: str,
    samples: Mapping[str, Sample],
    right: Callable[[Sequence[Image.Image], Sequence[Ask]], list[bool]],
) -> Figure:
    shares = {column: share(right(images, asks)) for column, (asks, images) in samples.items()}
    return Figure(name=name, unit="share", wanted=wanted, **shares)


def _set_given_name(base: StableDiffusionBase, drawn: Drawn, pictures: Pictures) -> Figure:
    """The references stand in the middle, as the base draws: so do the real pictures beside it."""
    real = set_given_name.draw_real(pictures, len(drawn.asks), seed=0)
    samples = {"generated": (drawn.asks, drawn.images), **_real_samples(base, real)}
    name = f"set given the name, by the pixels (chance {1 / len(SET_NOUNS):.0%})"
    return _share_figure(name, ">= 90%", samples, partial(set_given_name.right, pictures))


def _name_figures(judge: NameJudge, samples: Mapping[str, Sample]) -> list[Figure]:
    found = {column: judge.verdicts(images, asks) for column, (asks, images) in samples.items()}
    name, outside = judge.encoder.name, judge.encoder.name == lite0.NAME
    parts: Sequence[tuple[str, str, Callable[[Verdict], bool]]] = (
        (f"name right (`{name}`, nearest of {len(judge.names.labels)})", ">= 55%" if outside else ">= 75%", _is_first),
        (f"name among the 5 nearest (`{name}`)", ">= 80%" if outside else ">= 92%", _is_near),
    )
    return [
        Figure(
            name=title,
            unit="share",
            wanted=wanted,
            **{column: share([right(one) for one in verdicts]) for column, verdicts in found.items()},
        )
        for title, wanted, right in parts
    ]


def _is_first(verdict: Verdict) -> bool:
    return verdict.top_1


def _is_near(verdict: Verdict) -> bool:
    return verdict.top_5


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


def diversity_figures(encoders: Sequence[Encoder], drawn: Drawn, pictures: Pictures | None) -> list[Figure]:
    """Drawings of one prompt each, beside one real icon at several places, and beside one name in several sets."""
    beside = {"one icon at several places": diversity.placements, "one name in several sets": diversity.across_sets}
    real = {name: None if pictures is None else groups(pictures) for name, groups in beside.items()}
    measures: Mapping[str, Callable[[Sequence[diversity.Group]], Estimate]] = {
        **{f"by `{one.name}` (1 - cosine)": partial(diversity.in_embeddings, one) for one in encoders},
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
