"""From the runs that were kept to tables and figures: one set for each file, and within it for each size."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain.base import Value
from app.domain.strategies import IsolatedOptions
from app.domain.training import TrainingOptions
from benchmarks.continual_study.contestants import (
    BASE,
    BOUNDS,
    CANDIDATES,
    ISOLATED,
    PAPERS_FOUR,
    REFERENCE_STARTS,
    STYLE_CANDIDATES,
    SWEEP,
    Contestant,
    at_equal_compute,
)
from benchmarks.continual_study.figures import heatmap, trade_off
from benchmarks.continual_study.outcomes import Outcome, outcome
from benchmarks.continual_study.tables import Standings, told
from benchmarks.experiments.arms import Arm, Taught
from benchmarks.experiments.laboratory import Setting
from benchmarks.experiments.scoring import Judged
from benchmarks.experiments.streams import Cells, StreamRun, stream_runs_in


class Size(Value):
    """What runs have to share to stand in one table. `training` is that of a lesson, without its seed."""

    setting: Setting
    length: int
    cells: Cells
    training: TrainingOptions


@dataclass(frozen=True)
class Heat:
    """The runs on one stream, whose lessons were trained by `training` unless a contestant changed it."""

    runs: Sequence[StreamRun]
    training: TrainingOptions

    def run_of(self, arm: Taught) -> StreamRun | None:
        return next((run for run in self.runs if run.arm == arm), None)

    @property
    def has_two_judges(self) -> bool:
        return all(run.has_two_judges for run in self.runs)

    def outcome_of(self, contestant: Contestant, judge: Judged) -> Outcome | None:
        """None where the contestant, or a bound that it is measured by, was not run."""
        count = len(self.runs[0].concepts)
        one, base, isolated = (self.run_of(each.make(self.training, count)) for each in (contestant, BASE, ISOLATED))
        return None if one is None or base is None or isolated is None else outcome(one, base, isolated, judge)


def write_report(folder: Path) -> None:
    """Beside each file of runs its tables, `.md`, and its figures."""
    for path in sorted(folder.glob("*.jsonl")):
        sections = []
        for number, (size, heats) in enumerate(heats_of(stream_runs_in(path).all()).items(), 1):
            own = standings(heats, Judged.FIRST)
            stem = f"{path.stem}-{size.length}" + ("" if number == 1 else f"-{number}")
            (folder / f"{stem}-heatmap.png").write_bytes(heatmap(own))
            (folder / f"{stem}-trade-off.png").write_bytes(trade_off(own))
            sections.append(f"{_heading(size)}\n\n{_first(size, told(own))}")
            if all(heat.has_two_judges for heat in heats):
                sections.append(f"{_SECOND}\n\n{told(standings(heats, Judged.SECOND))}")
        (path.with_suffix(".md")).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def heats_of(runs: Iterable[StreamRun]) -> dict[Size, list[Heat]]:
    """By size; streams without the isolated bound, by which retention is measured, are left out."""
    of_stream: dict[tuple[Setting, Cells, int, tuple[str, ...]], list[StreamRun]] = defaultdict(list)
    for run in runs:
        of_stream[run.setting, run.cells, run.seed, run.concepts].append(run)
    heats: dict[Size, list[Heat]] = defaultdict(list)
    for (setting, cells, _, concepts), own in of_stream.items():
        for isolated in filter(_is_isolated, own):
            assert isinstance(isolated.arm, Arm)
            training = isolated.arm.training
            unseeded = training.model_copy(update={"seed": 0})
            heats[Size(setting=setting, length=len(concepts), cells=cells, training=unseeded)].append(
                Heat(own, training)
            )
    return dict(heats)


def standings(heats: Sequence[Heat], judge: Judged) -> Standings:
    """Every contestant's outcomes by that judge, of those that were run, in the order of the tables."""
    everyone = contestants_of(heats[0].training)
    found = {one.name: [o for heat in heats if (o := heat.outcome_of(one, judge)) is not None] for one in everyone}
    return {name: outcomes for name, outcomes in found.items() if outcomes}


def contestants_of(training: TrainingOptions) -> tuple[Contestant, ...]:
    """All that ever took part, each once, in the order of the tables."""
    equal = at_equal_compute(training)
    everyone = (*PAPERS_FOUR, *REFERENCE_STARTS, *CANDIDATES, equal, *SWEEP, *STYLE_CANDIDATES, *BOUNDS)
    return tuple({one.name: one for one in everyone}.values())


_SECOND = "### By the encoder that was trained here, `icons-64-what`"


def _first(size: Size, text: str) -> str:
    """Old runs have one judge, and no heading to tell it from another."""
    return f"### By the encoder that nobody here trained\n\n{text}" if size.setting.second_object_encoder else text


def _is_isolated(run: StreamRun) -> bool:
    return isinstance(run.arm, Arm) and isinstance(run.arm.strategy, IsolatedOptions)


def _heading(size: Size) -> str:
    training, sizes = size.training, size.setting.sizes
    return (
        f"## {size.length} concepts, {training.steps} steps each\n\n"
        f"Rank {training.rank}, learning rate {training.learning_rate:g}, batches of {training.batch_size}; "
        f"{sizes.pictures} pictures a cell, {sizes.sampling_steps} denoising steps each; "
        f"base {size.setting.base[:12]}, judges {size.setting.object_encoder[:12]}, {size.setting.style_encoder[:12]}."
    )
