"""`python -m recipes.icons_64 [STAGE]`: make the embedded base model, whole or by stage; resumes where it was."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from recipes.icons_64 import (
    data,
    diffusion,
    encoder_export,
    encoder_report,
    encoder_training,
    export,
    judge,
    judge_search,
    latents,
    samples,
    sheet,
    tokenizer,
    trials,
    vae,
)
from recipes.icons_64.data import WORK_DIR
from recipes.icons_64.training import DivergedError, Schedule
from worker.evaluation.encoders.icons import FOLDER as ICONS_FOLDER
from worker.evaluation.encoders.lite0 import FOLDER as LITE0_FOLDER
from worker.models.device import flush_denormals

_ROOT = Path(__file__).parents[2]
_ENCODER, _ENCODER_STYLE = Schedule(2_000), Schedule(1_000)
_ONLY_WHEN_NAMED = frozenset({"trials", "keep-vae", "judge-search"})


@dataclass(frozen=True)
class Plan:
    """Where to work, and how long to train: the steps, or the minutes of training where these are fewer."""

    work_dir: Path
    model: Path
    vae_start: Path | None
    vae: Schedule
    unet: Schedule
    trial_steps: int
    device: torch.device

    def sheet(self) -> None:
        sheet.draw(self.model, _ROOT / "docs" / "images" / "base-model-sheet.png")

    def encoder_report(self) -> None:
        typer.echo(encoder_report.report(self.work_dir, self.model))

    def stages(self) -> dict[str, Callable[[], object]]:
        """In the order in which they build on each other."""
        return {
            "data": lambda: data.prepare(self.work_dir),
            "samples": lambda: samples.draw(self.work_dir, _ROOT / "samples"),
            "vae": lambda: vae.train(self.work_dir, self.vae, self.device, self.vae_start),
            "tokenizer": lambda: tokenizer.prepare(self.work_dir),
            "latents": lambda: latents.prepare(self.work_dir, self.device),
            "unet": lambda: diffusion.train(self.work_dir, self.unet, self.device),
            "keep-vae": lambda: latents.keep(self.work_dir),
            "trials": lambda: trials.run(self.work_dir, self.trial_steps, self.device),
            "export": lambda: export.export(self.work_dir, self.model),
            "sheet": self.sheet,
            "encoder": lambda: encoder_training.train_things(self.work_dir, _ENCODER, self.device),
            "encoder-style": lambda: encoder_training.train_styles(self.work_dir, _ENCODER_STYLE, self.device),
            "encoder-export": lambda: encoder_export.export(self.work_dir, ICONS_FOLDER),
            "judge": lambda: judge.make(self.work_dir, LITE0_FOLDER),
            "judge-search": lambda: typer.echo(judge_search.search(self.work_dir)),
            "encoder-report": self.encoder_report,
        }


def main(
    stage: Annotated[str, typer.Argument(help="One stage only.")] = "all",
    work_dir: Annotated[Path, typer.Option(help="Packages, rasters, checkpoints.")] = WORK_DIR,
    model: Annotated[Path, typer.Option(help="Where the pipeline goes.")] = _ROOT / "base_models" / "icons-64",
    vae_steps: int = 3_200,
    vae_start: Annotated[Path | None, typer.Option(help="A finished autoencoder to begin from.")] = None,
    unet_steps: int = 26_000,
    unet_minutes: float | None = None,
    unet_decay_share: Annotated[
        float, typer.Option(help="Over which last part of it the rate falls.", min=0.01, max=1.0)
    ] = 0.25,
    trial_steps: Annotated[int, typer.Option(help="How long each arm of the stage trials is.")] = 100,
) -> None:
    """Run all stages, or one of: data, samples, vae, tokenizer, latents, unet, export, sheet, and of the
    encoders: encoder, encoder-style, encoder-export, judge, encoder-report.

    Four run only when named: `trials` compares variants of the denoiser; `keep-vae` puts the autoencoder into the
    repository; `adopt` takes MODEL as the start of a new run of latents and unet in WORK_DIR; `judge-search` prints
    what the choices in `judge` rest on.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    flush_denormals()
    work_dir.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = Plan(
        work_dir,
        model,
        vae_start=vae_start,
        vae=Schedule(vae_steps),
        unet=Schedule(unet_steps, unet_minutes and 60 * unet_minutes, decay_share=unet_decay_share),
        trial_steps=trial_steps,
        device=device,
    )
    stages = plan.stages()
    if stage == "adopt":
        export.adopt(model, work_dir)
    elif stage not in (*stages, "all"):
        raise typer.BadParameter(f"{stage!r} is not one of: all, adopt, {', '.join(stages)}")
    for name, run in stages.items():
        if stage == name or (stage == "all" and name not in _ONLY_WHEN_NAMED):
            _run(run)


def _run(stage: Callable[[], object]) -> None:
    try:
        stage()
    except DivergedError as error:
        typer.echo(f"{error}. The last checkpoint is kept; lower the learning rate before going on.", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
