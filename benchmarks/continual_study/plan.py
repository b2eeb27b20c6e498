"""What is run, in which order, and how long it should take."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.strategies import SelfReplayOptions
from app.domain.training import TrainingOptions
from benchmarks.continual_study.contestants import REPLAY_TIMES, Contestant
from benchmarks.experiments.arms import Itself, Together
from benchmarks.experiments.first_lessons import starts_as_merge
from benchmarks.experiments.streams import Cells, Stream, StreamTrial

# Measured on one core of an AMD EPYC without other work, batches of 6: they only serve to say how long it will take.
_SECONDS_PER_STEP = 0.113
_SECONDS_PER_PICTURE = 0.145


@dataclass(frozen=True)
class Plan:
    """The contestants on the streams; `cells` of each."""

    contestants: Sequence[Contestant]
    streams: Sequence[Stream]
    training: TrainingOptions
    cells: Cells

    def trial(self, contestant: Contestant, stream: Stream) -> StreamTrial:
        """All of a stream's trials start from the stream's seed."""
        seeded = self.training.model_copy(update={"seed": stream.seed})
        return StreamTrial(stream, contestant.make(seeded, len(stream.concepts)), self.cells)

    def of_stream(self, stream: Stream) -> list[StreamTrial]:
        """Every contestant's trial."""
        return [self.trial(contestant, stream) for contestant in self.contestants]

    def sizes_told(self, pictures: int, processes: int) -> str:
        """The sizes, and the estimate of the time for all of it on quiet cores."""
        seconds = sum(estimated_seconds(trial, pictures) for stream in self.streams for trial in self.of_stream(stream))
        names = "; ".join(contestant.name for contestant in self.contestants)
        return (
            f"{len(self.streams)} runs of {len(self.streams[0].concepts)} concepts, "
            f"{self.training.steps} steps a lesson, "
            f"{pictures} pictures a cell ({self.cells.value}): {names}. About {seconds / 60 / processes:.0f} minutes "
            f"of {processes} quiet cores."
        )


def estimated_seconds(trial: StreamTrial, pictures: int) -> float:
    """By the clock, on one quiet core."""
    count = len(trial.stream.concepts)
    if trial.arm is None:
        return count * pictures * _SECONDS_PER_PICTURE
    if isinstance(trial.arm, Itself):
        return 0.0
    if isinstance(trial.arm, Together):
        return trial.arm.together.steps * _SECONDS_PER_STEP + count * pictures * _SECONDS_PER_PICTURE
    times = REPLAY_TIMES if isinstance(trial.arm.strategy, SelfReplayOptions) else 1.0
    cells = 2 * count - 1 if trial.cells is Cells.ENDS else count * (count + 1) // 2
    # The first lesson of most is the same, and is trained once.
    lessons = count - 1 if starts_as_merge(trial.arm.strategy) else count
    steps = trial.arm.training.steps * lessons * times
    return steps * _SECONDS_PER_STEP + (cells - 1) * pictures * _SECONDS_PER_PICTURE
