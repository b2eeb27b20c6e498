"""`python -m benchmarks.strategy_options`: which options of each strategy keep most, with equally many trials for each.

Killed or out of minutes, the same command goes on from the runs in the results file.
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.experiments.arms import default_training
from benchmarks.experiments.concepts import Part
from benchmarks.experiments.crew import OutOfBudgetError, open_crew
from benchmarks.experiments.laboratory import EMBEDDED_BASE, Sizes, read_manifest
from benchmarks.experiments.streams import Kind, perform_stream, stream_of, stream_runs_in
from benchmarks.icons import WORK_DIR, IconsMissingError, load_icons
from benchmarks.strategy_options.candidates import CANDIDATES
from benchmarks.strategy_options.plan import search
from benchmarks.strategy_options.tables import table
from worker.evaluation.encoders.base import EncoderError

_RESULTS = Path(__file__).parent / "results"


def main(
    model: Annotated[Path, typer.Option(help="The base model's folder.")] = EMBEDDED_BASE,
    work_dir: Annotated[Path, typer.Option(help="Where `recipes.icons_64 data` put the icons.")] = WORK_DIR,
    output: Annotated[Path, typer.Option(help="Results and tables go there.")] = _RESULTS,
    processes: Annotated[int, typer.Option(help="Runs at a time, each in a process of its own.")] = 2,
    threads: Annotated[int, typer.Option(help="Threads of each process.")] = 1,
    budget_minutes: Annotated[float, typer.Option(help="No run is begun after so many minutes.")] = 20.0,
    orders: Annotated[int, typer.Option(help="Streams, each of its own concepts.")] = 1,
    concepts: Annotated[int, typer.Option(help="Concepts of each stream.")] = 3,
    steps: Annotated[int, typer.Option(help="Training steps of each concept.")] = 120,
    pictures: Annotated[int, typer.Option(help="Pictures of each version and concept.")] = 12,
    sampling_steps: Annotated[int, typer.Option(help="Denoising steps of each picture.")] = 10,
) -> None:
    """Try every candidate on the same streams of the tuning split, and print which to take."""
    icons = load_icons(work_dir)
    sizes = Sizes(pictures=pictures, sampling_steps=sampling_steps)
    streams = [
        stream_of(Kind.OBJECT, icons, Part.TUNING, concepts, seed)
        for seed in range(sizes.draw_seed, sizes.draw_seed + orders)
    ]
    training = default_training(read_manifest(model)).model_copy(update={"steps": steps})
    runs = stream_runs_in(output / "trials.jsonl")
    crew = open_crew(model, sizes, runs, perform_stream, processes=processes, threads=threads, minutes=budget_minutes)
    with crew as workers:
        for findings in search(workers, streams, CANDIDATES, training):
            found = table(findings)
            output.mkdir(parents=True, exist_ok=True)
            (output / "trials.md").write_text(found + "\n", encoding="utf-8")
            workers.progress.console.print(found, markup=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except (EncoderError, IconsMissingError, OutOfBudgetError) as error:
        raise SystemExit(str(error)) from error
