"""`python -m benchmarks.headroom sweep|confirm`: what adapters learn, alone from the base, and by which options.

Killed or out of minutes, the same command goes on from the runs in the results file.
"""

from pathlib import Path
from typing import Annotated

import typer

from app.domain.evaluations import Encoders as EncoderNames
from benchmarks.experiments.arms import default_training
from benchmarks.experiments.concepts import Concept, Part, draw_objects, draw_styles
from benchmarks.experiments.crew import OutOfBudgetError, open_crew
from benchmarks.experiments.laboratory import EMBEDDED_BASE, Laboratory, Sizes, read_manifest
from benchmarks.headroom import tables
from benchmarks.headroom.runs import Trial, ceilings, gain, perform, runs_in
from benchmarks.headroom.search import Candidate
from benchmarks.headroom.search import sweep as search
from benchmarks.icons import WORK_DIR, IconsMissingError, load_icons
from worker.evaluation.encoders.base import EncoderError
from worker.models.device import fix_threads

_RESULTS = Path(__file__).parent / "results"
_SIZES = Sizes()
app = typer.Typer(add_completion=False)

Model = Annotated[Path, typer.Option(help="The base model's folder.")]
WorkDir = Annotated[Path, typer.Option(help="Where `python -m recipes.icons_64 data` put the icons.")]
Output = Annotated[Path, typer.Option(help="Results and tables go there.")]
Processes = Annotated[int, typer.Option(help="Runs at a time, each in a process of its own.")]
Threads = Annotated[int, typer.Option(help="Threads of each process.")]
Minutes = Annotated[float, typer.Option(help="No run is begun after so many minutes.")]


@app.command()
def sweep(
    model: Model = EMBEDDED_BASE,
    work_dir: WorkDir = WORK_DIR,
    output: Output = _RESULTS,
    processes: Processes = 2,
    threads: Threads = 1,
    budget_minutes: Minutes = 20.0,
    objects: int = 5,
) -> None:
    """Find the default training options, on the tuning split."""
    pictures = load_icons(work_dir)
    drawn = draw_objects(pictures, Part.TUNING, objects, _SIZES.draw_seed)
    styles = draw_styles(pictures, Part.TUNING, 2, _SIZES.draw_seed)
    # The first few judge every variant: a style is to be among them.
    concepts = [drawn[0], styles[0], *drawn[1:], *styles[1:]]
    kept = runs_in(output / "sweep.jsonl")
    crew = open_crew(model, _SIZES, kept, perform, processes=processes, threads=threads, minutes=budget_minutes)
    found: dict[str, list[Candidate]] = {}
    with crew as workers:
        for question, candidates in search(workers, concepts):
            found[question] = candidates
            _write(output / "sweep.md", tables.sweep_tables(found))
    print(tables.sweep_tables(found))


@app.command()
def confirm(
    model: Model = EMBEDDED_BASE,
    work_dir: WorkDir = WORK_DIR,
    output: Output = _RESULTS,
    processes: Processes = 1,
    threads: Threads = 2,
    budget_minutes: Minutes = 20.0,
    objects: int = 12,
) -> None:
    """Measure the default training options, on the confirmation split: once per base, after all tuning."""
    pictures = load_icons(work_dir)
    concepts: list[Concept] = [
        *draw_objects(pictures, Part.CONFIRMATION, objects, _SIZES.draw_seed),
        *draw_styles(pictures, Part.CONFIRMATION, 3, _SIZES.draw_seed),
    ]
    training = default_training(read_manifest(model))
    kept = runs_in(output / "confirm.jsonl")
    crew = open_crew(model, _SIZES, kept, perform, processes=processes, threads=threads, minutes=budget_minutes)
    with crew as workers:
        bases = workers.runs([Trial(concept, None) for concept in concepts], "base")
        runs = workers.runs([Trial(concept, training) for concept in concepts], "adapters")
    gains = [gain(run, base) for run, base in zip(runs, bases, strict=True)]
    fix_threads(threads)
    laboratory = Laboratory.load(model, _SIZES)
    own = [ceilings(laboratory, concept, base) for concept, base in zip(concepts, bases, strict=True)]
    table = tables.confirmation_table(gains, own, EncoderNames())
    _write(output / "confirm.md", table)
    print(table)


def _write(path: Path, table: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        app()
    except (EncoderError, IconsMissingError, OutOfBudgetError) as error:
        raise SystemExit(str(error)) from error
