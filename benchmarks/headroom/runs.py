"""One run of the headroom experiment: a concept learned alone from the base, or the base itself, drawn and scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from app.domain.base import Value
from app.domain.concepts import ConceptKind
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Arm, learn
from benchmarks.experiments.concepts import Concept
from benchmarks.experiments.laboratory import Laboratory, Setting
from benchmarks.experiments.results import Results
from benchmarks.experiments.scoring import Encoders, Scores, score
from benchmarks.statistics import standardised_gain
from worker.strategies.replay import replay


@dataclass(frozen=True)
class Trial:
    """A run to do. `training` None: draw by the base itself, which the others are compared with."""

    concept: Concept
    training: TrainingOptions | None

    def key(self, setting: Setting) -> str:
        return _key(setting, self.concept.name, self.training)


class Run(Value):
    """A trial that was done; `seconds` are those of its training, by the wall, on so many threads."""

    setting: Setting
    concept: str
    kind: ConceptKind
    training: TrainingOptions | None
    scores: Scores
    final_loss: float | None
    seconds: float
    threads: int

    @property
    def key(self) -> str:
        return _key(self.setting, self.concept, self.training)


def _key(setting: Setting, concept: str, training: TrainingOptions | None) -> str:
    return setting.key(concept, "base" if training is None else training.model_dump_json())


def runs_in(path: Path) -> Results[Run]:
    """The runs that a file keeps."""
    return Results(path, Run, lambda run: run.key)


def perform(laboratory: Laboratory, trial: Trial) -> Run:
    """Learn, draw and score; the laboratory's base is the same afterwards."""
    concept, token = trial.concept, laboratory.manifest.rare_tokens[0]
    learned = None
    if trial.training is not None:
        arm = Arm(strategy=MergeOptions(), training=trial.training)
        learned = learn(laboratory.base, laboratory.manifest, concept, token, arm)
    asked = concept.asked(token, laboratory.sizes.pictures)
    images = laboratory.draw(replay(() if learned is None else (learned.link,)).update, asked)
    return Run(
        setting=laboratory.setting,
        concept=concept.name,
        kind=concept.kind,
        training=trial.training,
        scores=score(laboratory.encoders, concept, asked, images),
        final_loss=None if learned is None else learned.final_loss,
        seconds=0.0 if learned is None else round(learned.seconds, 2),
        threads=torch.get_num_threads(),
    )


class Gain(Value):
    """What an adapter changed over the base on one concept, over the same noises and prompts."""

    concept: str
    kind: ConceptKind
    base_identity: float
    identity: float
    standardised: float
    base_background: float
    background: float
    seconds: float


def gain(run: Run, base: Run) -> Gain:
    """The run beside that of the base on the same concept."""
    treated, control = run.scores, base.scores
    return Gain(
        concept=run.concept,
        kind=run.kind,
        base_identity=_mean(control.identity),
        identity=_mean(treated.identity),
        standardised=standardised_gain(treated.identity, control.identity),
        base_background=_mean(control.background_right),
        background=_mean(treated.background_right),
        seconds=run.seconds,
    )


def ceiling(encoders: Encoders, concept: Concept, base: Run) -> float:
    """The standardised gain of the concept's own icons, anywhere on their backgrounds, over the base's pictures.

    Where it is low the encoder hardly tells the two apart, and no adapter is to be blamed for that.
    """
    asked = concept.asked("itself", len(base.scores.identity))
    scores = score(encoders, concept, asked, concept.itself(asked))
    return standardised_gain(scores.identity, base.scores.identity)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
