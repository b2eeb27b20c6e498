"""`python -m benchmarks.base_quality`: draw, judge, and write figures as JSON and as a table, and a contact sheet."""

import datetime
import platform
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from app.domain.base_models import BaseModelManifest, Family
from benchmarks.base_quality import docs, measure, sheet
from benchmarks.base_quality.asks import known_names
from benchmarks.base_quality.figures import Figure, Report, markdown
from benchmarks.base_quality.judge import Judges
from benchmarks.drawing import Sampler
from benchmarks.experiments.laboratory import EMBEDDED_BASE
from benchmarks.icons import WORK_DIR, IconsMissingError, load_icons
from benchmarks.progress import bars
from recipes.icons_64.data import Pictures
from worker.models.device import fix_threads
from worker.models.loading import load_base
from worker.models.sd import StableDiffusionBase

_RESULTS = Path(__file__).parent / "results"


def main(
    pictures: Annotated[int, typer.Option(help="Pictures of the drawn sample, and of each real one.", min=24)] = 400,
    model: Annotated[Path, typer.Option(help="The base model's folder.")] = EMBEDDED_BASE,
    work_dir: Annotated[Path, typer.Option(help="Where `python -m recipes.icons_64 data` put the icons.")] = WORK_DIR,
    threads: int = 2,
    output: Annotated[Path, typer.Option(help="Folder of report.json, report.md and sheet.png.")] = _RESULTS,
    page: Annotated[Path | None, typer.Option(help="A page of docs whose table is to be brought up to date.")] = None,
) -> None:
    """Measure a base model trained by recipes/icons_64; some minutes on two cores."""
    fix_threads(threads)
    began = time.perf_counter()
    base = load_base(Family.SD, str(model), torch.device("cpu"), torch.float32)
    load_seconds = time.perf_counter() - began
    assert isinstance(base, StableDiffusionBase)
    manifest = BaseModelManifest.model_validate_json((model / "palimpsest.json").read_text())
    icons, not_measured = _icons(work_dir)
    judges = Judges.load()
    sampler = Sampler(manifest.default_steps, manifest.default_guidance_scale)
    names = known_names(icons)
    drawn = _draw(base, names, pictures, sampler)
    figures: list[Figure] = [
        *measure.verdict_figures(judges, base, drawn, icons),
        *([] if icons is None else measure.psnr_figures(base, icons, pictures)),
        *measure.diversity_figures([judge.encoder for judge in judges.names], drawn, icons),
        *measure.token_figures(base),
        *measure.cost_figures(base, manifest, model, load_seconds),
    ]
    report = Report(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=f"{platform.machine()}, {threads} threads",
        base=base.fingerprint,
        encoders={encoder.name: encoder.fingerprint for encoder in judges.encoders},
        pictures=pictures,
        names=len(names),
        sampling_steps=sampler.steps,
        guidance_scale=sampler.guidance_scale,
        figures=tuple(figures),
        not_measured=not_measured,
    )
    sheet.write(drawn.images, output / "sheet.png")
    _write(report, output, page)


def _icons(work_dir: Path) -> tuple[Pictures | None, str]:
    """The icons, or why what needs them is not measured."""
    try:
        return load_icons(work_dir), ""
    except IconsMissingError as error:
        return None, f"Real pictures and the VAE were not measured. {error}"


def _draw(base: StableDiffusionBase, names: list[str], count: int, sampler: Sampler) -> measure.Drawn:
    with bars() as progress:
        row = progress.add_task("pictures", total=measure.sample_size(count))
        return measure.draw_sample(base, names, count, sampler, lambda n: progress.advance(row, n))


def _write(report: Report, output: Path, page: Path | None) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    table = markdown(report)
    (output / "report.md").write_text(table + "\n", encoding="utf-8")
    if page is not None:
        docs.update(page, table)
    print(table)


if __name__ == "__main__":
    typer.run(main)
