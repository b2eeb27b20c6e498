"""How long drawing takes beside plain diffusers, on icons-64: `python -m benchmarks.against_diffusers`.

Both draw the same prompt at the manifest's steps and guidance, in one process, in pairs whose order alternates. The
service's side puts a version's update onto the base, draws, and writes PNG files with their provenance in memory. It
leaves out Postgres and S3. The plain side calls the pipeline of the bare base, which gives pictures and no files.
The last line is 8 pictures of 8 versions (row adapters, no files) beside 8 of one.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import DiffusionPipeline

from app.domain.base_models import BaseModelManifest
from app.domain.strategies import MergeOptions
from worker.adapters.accumulated import ChainLink, LineageState, applied
from worker.adapters.factors import Adapter, Factors
from worker.adapters.rows import rows, state_of
from worker.attempt.machine import describe_machine
from worker.generation.png import to_png
from worker.generation.sampling import GenerationRequest, generate
from worker.models.base import Base
from worker.models.device import fix_threads
from worker.models.loading import load_base
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.replay import replay

_FOLDER = Path(__file__).parents[1] / "base_models" / "icons-64"
_VERSIONS = 8
_RANK = 8
_SIZE = 0.02


class Listener:
    """Hooks that hear nothing."""

    def step(self, step: int, total_steps: int) -> None:
        """A denoising step is done."""


@dataclass(frozen=True)
class Contest:
    """The base of the service, and the same weights as a plain pipeline."""

    base: Base
    plain: DiffusionPipeline
    request: GenerationRequest
    versions: Sequence[LineageState]

    def service(self, pictures: int) -> None:
        """A request of the first version, to PNG files."""
        request = replace(self.request, num_images=pictures)
        for drawn in generate(self.base, self.versions[0].update, request, Listener()):
            to_png(drawn.image, {"prompt": request.prompt})

    def diffusers(self, pictures: int) -> None:
        """The same pictures by the plain pipeline."""
        request = self.request
        self.plain(
            request.prompt,
            num_images_per_prompt=pictures,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=_generators(request.seed, pictures),
        )

    def of_one_version(self) -> None:
        """As many pictures as there are versions, all of the first."""
        with applied(self.base.denoiser, self.versions[0].update):
            self._sample()

    def of_each_version(self) -> None:
        """One picture of each version."""
        states = [state_of(version) for version in self.versions]
        with rows(self.base.denoiser, states, range(len(states))):
            self._sample()

    def _sample(self) -> None:
        self.base.sample(self.request, _generators(self.request.seed, len(self.versions)), lambda *_: None)


def _generators(seed: int, count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + n) for n in range(count)]


def _contest() -> Contest:
    manifest = BaseModelManifest.model_validate_json((_FOLDER / "palimpsest.json").read_text(encoding="utf-8"))
    base = load_base(manifest.family, str(_FOLDER), torch.device("cpu"), torch.float32)
    plain = DiffusionPipeline.from_pretrained(_FOLDER, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    request = GenerationRequest(
        prompt=f"a photo of {manifest.rare_tokens[0]} dog",
        negative_prompt=None,
        num_images=1,
        seed=0,
        steps=manifest.default_steps,
        guidance_scale=manifest.default_guidance_scale,
        width=manifest.resolution,
        height=manifest.resolution,
    )
    shapes = {
        name: projection_shape(projection)
        for name, projection in adapted_projections(base.denoiser, manifest.adapted_modules).items()
    }
    versions = [replay([ChainLink(MergeOptions(), _adapter(shapes, seed))]) for seed in range(_VERSIONS)]
    return Contest(base, plain, request, versions)


def _adapter(shapes: dict[str, tuple[int, int]], seed: int) -> Adapter:
    draw = torch.Generator().manual_seed(seed)
    return Adapter(
        _SIZE,
        {
            name: Factors(torch.randn(_RANK, inputs, generator=draw), torch.randn(outputs, _RANK, generator=draw))
            for name, (outputs, inputs) in shapes.items()
        },
    )


def _seconds(work: Callable[[], None]) -> float:
    began_at = time.perf_counter()
    work()
    return time.perf_counter() - began_at


def _compare(what: str, ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> str:
    """One line: the median times, and the median, least and greatest ratio within a pair. The first pair is warm-up."""
    times = []
    for n in range(pairs + 1):
        if n % 2:
            own, other = _seconds(ours), _seconds(theirs)
        else:
            other, own = _seconds(theirs), _seconds(ours)
        times.append((own, other))
    ratios = [own / other for own, other in times[1:]]
    own, other = (statistics.median(side) for side in zip(*times[1:], strict=True))
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{what:<44}{own:>8.2f} s{other:>8.2f} s{statistics.median(ratios):>7.2f}   ({spread})"


def _about() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=_FOLDER, check=False
    )
    machine = describe_machine(torch.device("cpu"))
    return f"{machine.processor}, torch threads: {machine.torch_threads}, commit {commit.stdout.strip() or 'unknown'}"


def main(
    pairs: Annotated[int, typer.Option(min=1, help="Measured pairs of each line.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Torch's threads for both sides.")] = 2,
) -> None:
    """Measure, and print a line for each comparison."""
    fix_threads(threads)
    contest = _contest()
    print(_about())
    print(f"{'':<44}{'ours':>10}{'theirs':>10}{'ratio':>7}")
    for count in (1, 8, 16):
        what = f"{count} pictures beside plain diffusers"
        print(_compare(what, partial(contest.service, count), partial(contest.diffusers, count), pairs), flush=True)
    what = f"{_VERSIONS} pictures of {_VERSIONS} versions beside {_VERSIONS} of one"
    print(_compare(what, contest.of_each_version, contest.of_one_version, pairs), flush=True)


if __name__ == "__main__":
    typer.run(main)
