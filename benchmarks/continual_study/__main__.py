"""`python -m benchmarks.continual_study search|confirm|report`: which strategy forgets least, and by how much.

Killed or out of minutes, the same command goes on from the runs in the results file.
"""

from pathlib import Path
from typing import Annotated

import typer

from app.domain.training import TrainingOptions
from benchmarks.continual_study.contestants import (
    BASE,
    CANDIDATES,
    CEILINGS,
    CHALLENGER,
    CHALLENGERS,
    ISOLATED,
    JOINT,
    MERGE,
    PAPERS_FOUR,
    REFERENCE_STARTS,
    STYLE_CANDIDATES,
    SWEEP,
    Contestant,
    at_equal_compute,
)
from benchmarks.continual_study.plan import Plan
from benchmarks.continual_study.report import write_report
from benchmarks.experiments.arms import default_training
from benchmarks.experiments.concepts import Part
from benchmarks.experiments.crew import OutOfBudgetError, open_crew
from benchmarks.experiments.laboratory import EMBEDDED_BASE, Sizes, read_manifest
from benchmarks.experiments.streams import Cells, Kind, Stream, perform_stream, stream_of, stream_runs_in
from benchmarks.icons import WORK_DIR, IconsMissingError, load_icons
from worker.evaluation.encoders.base import EncoderError

RESULTS = Path(__file__).parent / "results"
app = typer.Typer(add_completion=False)

OfKind = Annotated[Kind, typer.Option(help="Of objects, held-out sets, or sets redrawn by a filter.")]
Model = Annotated[Path, typer.Option(help="The base model's folder.")]
WorkDir = Annotated[Path, typer.Option(help="Where `python -m recipes.icons_64 data` put the icons.")]
Output = Annotated[Path, typer.Option(help="Results, tables and figures go there.")]
Processes = Annotated[int, typer.Option(help="Runs at a time, each in a process of one thread.")]
Minutes = Annotated[float, typer.Option(help="No run is begun after so many minutes.")]
Runs = Annotated[int, typer.Option(help="Streams, each of its own concepts and order.")]
Length = Annotated[
    int, typer.Option(help="Concepts of each stream: 10 is the stress; there are 3 styles, 5 redrawn ones.")
]
Steps = Annotated[int, typer.Option(help="Training steps of each lesson.")]
BatchSize = Annotated[int, typer.Option(help="Images of each training step.")]
Pictures = Annotated[int, typer.Option(help="Pictures of each cell, 10 denoising steps each.")]
Drawn = Annotated[Cells, typer.Option(help="Cells of R that are drawn.")]


@app.command()
def search(
    kind: OfKind = Kind.OBJECT,
    model: Model = EMBEDDED_BASE,
    work_dir: WorkDir = WORK_DIR,
    output: Output = RESULTS,
    processes: Processes = 2,
    budget_minutes: Minutes = 60.0,
    runs: Runs = 4,
    length: Length = 4,
    steps: Steps = 120,
    batch_size: BatchSize = 6,
    pictures: Pictures = 16,
    cells: Drawn = Cells.ENDS,
    sweep: Annotated[bool, typer.Option(help="The sweep of learning rates instead of the candidates.")] = False,
) -> None:
    """Look for what beats the paper's four, on the search split; with --sweep, at which learning rates."""
    study = _Study(model, work_dir, output, Part.SEARCH, kind, pictures)
    training = study.training(steps, batch_size)
    candidates = CANDIDATES if kind is Kind.OBJECT else STYLE_CANDIDATES
    contestants = (MERGE, CHALLENGER, *SWEEP) if sweep else (*PAPERS_FOUR, *candidates)
    study.run(
        study.plan((BASE, ISOLATED, *CEILINGS, *contestants), runs, length, training, cells), processes, budget_minutes
    )


@app.command()
def confirm(
    kind: OfKind = Kind.OBJECT,
    model: Model = EMBEDDED_BASE,
    work_dir: WorkDir = WORK_DIR,
    output: Output = RESULTS,
    processes: Processes = 2,
    budget_minutes: Minutes = 90.0,
    runs: Runs = 8,
    length: Length = 6,
    steps: Steps = 120,
    batch_size: BatchSize = 6,
    pictures: Pictures = 16,
    cells: Drawn = Cells.ENDS,
    core: Annotated[bool, typer.Option(help="Only what the main question needs.")] = False,
) -> None:
    """Run the challengers against the paper's four, on the confirmation split, after all search."""
    study = _Study(model, work_dir, output, Part.CONFIRMATION, kind, pictures)
    training = study.training(steps, batch_size)
    beside = () if core else (*REFERENCE_STARTS, at_equal_compute(training), JOINT)
    challengers = (CHALLENGER,) if kind is Kind.OBJECT else CHALLENGERS
    contestants = (BASE, ISOLATED, *CEILINGS, *challengers, *PAPERS_FOUR, *beside)
    study.run(study.plan(contestants, runs, length, training, cells), processes, budget_minutes)


@app.command()
def report(output: Output = RESULTS) -> None:
    """Write tables and figures of all runs that the results files hold."""
    write_report(output)


class _Study:
    """One part of the split, one kind of concept: its streams, and the file of its runs."""

    def __init__(self, model: Path, work_dir: Path, output: Path, part: Part, kind: Kind, pictures: int) -> None:
        self._model, self._part, self._kind = model, part, kind
        self._icons = load_icons(work_dir)
        self._sizes = Sizes(pictures=pictures, sampling_steps=10)
        self._results = output / f"{part.value}-{kind.value}s.jsonl"

    def training(self, steps: int, batch_size: int) -> TrainingOptions:
        """The base's own defaults but for these."""
        own = default_training(read_manifest(self._model))
        return own.model_copy(update={"steps": steps, "batch_size": batch_size})

    def plan(
        self, contestants: tuple[Contestant, ...], runs: int, length: int, training: TrainingOptions, cells: Cells
    ) -> Plan:
        streams = [self._stream(length, seed) for seed in range(runs)]
        return Plan(contestants, streams, training, cells)

    def _stream(self, length: int, seed: int) -> Stream:
        try:
            return stream_of(self._kind, self._icons, self._part, length, seed)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    def run(self, plan: Plan, processes: int, minutes: float) -> None:
        """All trials, stream by stream, so that whatever is done when the minutes are used up is paired."""
        print(plan.sizes_told(self._sizes.pictures, processes))
        crew = open_crew(
            self._model,
            self._sizes,
            stream_runs_in(self._results),
            perform_stream,
            processes=processes,
            threads=1,
            minutes=minutes,
        )
        with crew as workers:
            for number, stream in enumerate(plan.streams, 1):
                workers.runs(plan.of_stream(stream), f"run {number} of {len(plan.streams)}")


if __name__ == "__main__":
    try:
        app()
    except (EncoderError, IconsMissingError, OutOfBudgetError) as error:
        raise SystemExit(str(error)) from error
