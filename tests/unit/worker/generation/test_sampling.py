"""Pictures by seed, from the version that was asked for."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.domain.base_models import Family
from app.domain.errors import NotFiniteError
from tests.tiny_pipelines import tiny_base, tiny_sd, write_tiny_sd
from tests.unit.worker.adapters.oracle import random_adapter
from worker.adapters.accumulated import Update, added
from worker.generation.sampling import GenerationRequest, generate
from worker.models.base import Sampling, StepCallback
from worker.models.loading import load_base
from worker.models.projections import adapted_projections, projection_shape
from worker.models.sd import StableDiffusionBase

REQUEST = GenerationRequest(
    prompt="a zqa cat", negative_prompt=None, steps=2, guidance_scale=2.0, width=64, height=64, num_images=3, seed=11
)


@dataclass
class Listener:
    """Hooks that remember, and raise once `stop_after` steps are done."""

    stop_after: int | None = None
    steps: list[tuple[int, int]] = field(default_factory=list)

    def step(self, step: int, total_steps: int) -> None:
        self.steps.append((step, total_steps))
        if step == self.stop_after:
            raise InterruptedError


def draw(request: GenerationRequest = REQUEST, update: Update | None = None) -> list[bytes]:
    images = [drawn.image for drawn in generate(tiny_base(), update or {}, request, Listener())]
    assert all(image.size == (request.width, request.height) for image in images)
    return [image.tobytes() for image in images]


def an_update() -> Update:
    projections = adapted_projections(tiny_base().denoiser, ("to_q", "to_v"))
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return added({}, random_adapter(shapes, 2, 0.5, seed=0))


def test_an_exact_seed_is_a_picture_to_the_bit_whatever_the_number_of_pictures() -> None:
    exact = replace(REQUEST, exact=True)
    three = draw(exact)
    assert len(set(three)) == 3
    assert draw(replace(exact, num_images=1)) == three[:1]
    assert draw(replace(exact, num_images=2, seed=12)) == three[1:]


def test_in_a_batch_a_seed_is_the_same_picture_but_for_its_last_bits() -> None:
    alone = [np.frombuffer(image, np.uint8).astype(int) for image in draw(replace(REQUEST, exact=True))]
    together = [np.frombuffer(image, np.uint8).astype(int) for image in draw()]
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1
    assert all(np.abs(alone[0] - other).max() > 1 for other in together[1:])


@dataclass
class SmallMemory:
    """The tiny base on a device that holds `room` pictures at once."""

    room: int
    sizes: list[int] = field(default_factory=list)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        sample = tiny_base().sample

        def limited(sampling: Sampling, generators: list[torch.Generator], on_step: StepCallback) -> list[Image.Image]:
            self.sizes.append(len(generators))
            if len(generators) > self.room:
                raise torch.OutOfMemoryError
            return sample(sampling, generators, on_step)

        patch.setattr(tiny_base(), "sample", limited)
        patch.setattr(tiny_base(), "pictures_at_once", {})


def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SmallMemory(room=2)
    memory.install(monkeypatch)
    five = replace(REQUEST, num_images=5)
    drawn = list(generate(tiny_base(), {}, five, Listener()))
    assert [one.at_once for one in drawn] == [2, 2, 2, 2, 1]
    tried = len(memory.sizes)
    again = list(generate(tiny_base(), {}, five, Listener()))
    assert memory.sizes[tried:] == [2, 2, 1]
    assert [one.image.tobytes() for one in again] == [one.image.tobytes() for one in drawn]


def test_where_not_one_picture_fits_the_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    SmallMemory(room=0).install(monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        list(generate(tiny_base(), {}, REQUEST, Listener()))


def test_the_largest_seed_has_successors() -> None:
    assert len(set(draw(replace(REQUEST, num_images=2, seed=2**63 - 1)))) == 2


def test_the_global_random_state_does_not_matter() -> None:
    torch.manual_seed(1)
    first = draw(replace(REQUEST, num_images=1))
    torch.manual_seed(2)
    assert draw(replace(REQUEST, num_images=1)) == first


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a zqb dog"},
        {"negative_prompt": "a red cup"},
        {"guidance_scale": 5.0},
        {"steps": 3},
        {"width": 72},
        {"height": 72},
    ],
)
def test_every_field_matters(change: dict[str, str | float]) -> None:
    one = replace(REQUEST, num_images=1)
    assert draw(replace(one, **change)) != draw(one)  # type: ignore[arg-type]


def test_a_version_draws_otherwise_than_the_base_and_leaves_it_as_it_was() -> None:
    base, update = tiny_base(), an_update()
    before = {name: tensor.clone() for name, tensor in base.denoiser.state_dict().items()}
    plain = draw()
    assert draw(update=update) != plain
    assert draw() == plain
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.denoiser.state_dict().items())


def test_progress_counts_the_steps_of_all_pictures() -> None:
    hooks = Listener()
    list(generate(tiny_base(), {}, replace(REQUEST, exact=True), hooks))
    assert hooks.steps == [(step, 6) for step in range(1, 7)]
    together = Listener()
    list(generate(tiny_base(), {}, REQUEST, together))
    assert together.steps == [(3, 6), (6, 6)]


def test_a_hook_may_stop_it_and_the_base_is_as_it_was() -> None:
    base, hooks = tiny_base(), Listener(stop_after=3)
    first = draw()
    before = {name: id(parameter) for name, parameter in base.denoiser.named_parameters()}
    with pytest.raises(InterruptedError):
        list(generate(base, an_update(), REQUEST, hooks))
    assert hooks.steps[-1] == (3, 6)
    assert {name: id(parameter) for name, parameter in base.denoiser.named_parameters()} == before
    assert draw() == first


@pytest.mark.parametrize("scale", [1e12, 1e30])
def test_a_picture_that_is_not_finite_is_none(scale: float) -> None:
    projections = adapted_projections(tiny_base().denoiser, ("to_q", "to_k", "to_v", "to_out.0"))
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    with pytest.raises(NotFiniteError, match="latents are not finite"):
        draw(update=added({}, random_adapter(shapes, 2, scale, seed=0)))
    assert draw()


def test_pixels_that_are_not_finite_are_no_picture() -> None:
    """As where a VAE overflows in half precision: its latents are as they should be."""
    base = StableDiffusionBase(tiny_sd(), "broken")
    with torch.no_grad():
        base.pipeline.vae.decoder.conv_out.bias.fill_(torch.inf)
    with pytest.raises(NotFiniteError, match="pixels are not finite"):
        list(generate(base, {}, REQUEST, Listener()))


def test_drawing_goes_on_from_any_picture_and_each_is_there_before_the_next() -> None:
    base, hooks = tiny_base(), Listener(stop_after=6)
    before = {name: id(parameter) for name, parameter in base.denoiser.named_parameters()}
    exact = replace(REQUEST, exact=True)
    drawing = generate(base, an_update(), exact, hooks)
    first, second = (next(drawing).image.tobytes() for _ in range(2))
    with pytest.raises(InterruptedError):
        next(drawing)
    assert {name: id(parameter) for name, parameter in base.denoiser.named_parameters()} == before
    hooks = Listener()
    (third,) = generate(base, an_update(), exact, hooks, first=2)
    assert [first, second, third.image.tobytes()] == draw(exact, update=an_update())
    assert hooks.steps == [(5, 6), (6, 6)]


def test_pictures_are_rgb() -> None:
    image = next(generate(tiny_base(), {}, replace(REQUEST, num_images=1), Listener())).image
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    assert np.asarray(image).std() > 1


def test_a_base_in_half_precision_draws_the_same_noise(tmp_path: Path) -> None:
    write_tiny_sd(tmp_path)
    base = load_base(Family.SD, str(tmp_path), torch.device("cpu"), torch.bfloat16)
    half = [drawn.image for drawn in generate(base, an_update(), REQUEST, Listener())]
    full = [drawn.image for drawn in generate(tiny_base(), an_update(), REQUEST, Listener())]
    for one, other in zip(half, full, strict=True):
        difference = np.asarray(one).astype(float) - np.asarray(other)
        assert abs(difference).mean() < 0.1 * np.asarray(other).std()


def test_a_wide_picture_is_the_pipelines_own() -> None:
    """As plain diffusers draws it from the same noise."""
    wide = replace(REQUEST, width=128, num_images=1)
    pipeline = tiny_base().pipeline
    noise = torch.randn((1, 4, 8, 16), generator=torch.Generator().manual_seed(REQUEST.seed))
    plain = pipeline(
        REQUEST.prompt, width=128, height=64, num_inference_steps=2, guidance_scale=2.0, latents=noise
    ).images[0]
    (drawn,) = generate(tiny_base(), {}, wide, Listener())
    assert drawn.image.size == (128, 64)
    assert np.abs(np.asarray(drawn.image, int) - np.asarray(plain, int)).max() <= 1
