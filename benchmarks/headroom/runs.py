"""One run of the headroom experiment: a concept learned alone from the base, or the base itself, drawn and scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from app.domain.base import Value
from app.domain.concepts import ConceptKind
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions
from benchmarks.base_quality.vae import round_trip
from benchmarks.experiments.arms import Arm, learn
from benchmarks.experiments.concepts import Concept
from benchmarks.experiments.laboratory import Laboratory, Setting
from benchmarks.experiments.results import Results
from benchmarks.experiments.scoring import Scores, score
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


class Judged(Value):
    """Mean identities under the base and under the adapter, and the standardised gain, by one judge."""

    base_identity: float
    identity: float
    standardised: float

    @classmethod
    def of(cls, treated: Sequence[float], control: Sequence[float]) -> "Judged":
        """From the scores picture by picture, paired."""
        return cls(
            base_identity=_mean(control), identity=_mean(treated), standardised=standardised_gain(treated, control)
        )


class Gain(Value):
    """What an adapter changed over the base on one concept, over the same noises and prompts.

    `first` is by the judge that decides; `second` is None where the kind has one judge.
    """

    concept: str
    kind: ConceptKind
    first: Judged
    second: Judged | None
    base_background: float
    background: float
    seconds: float


def gain(run: Run, base: Run) -> Gain:
    """The run beside that of the base on the same concept."""
    treated, control = run.scores, base.scores
    return Gain(
        concept=run.concept,
        kind=run.kind,
        first=Judged.of(treated.identity, control.identity),
        second=Judged.of(treated.second, control.second) if treated.second else None,
        base_background=_mean(control.background_right),
        background=_mean(treated.background_right),
        seconds=run.seconds,
    )


class Ceiling(Value):
    """The standardised gain of the concept's own icons, anywhere on their backgrounds, over the base's pictures.

    `through_vae`: the same icons once through the base's autoencoder. Where it is low the judge hardly tells the two
    apart, and no adapter is to be blamed for that.
    """

    real: float
    through_vae: float


def ceilings(laboratory: Laboratory, concept: Concept, base: Run) -> tuple[Ceiling, Ceiling | None]:
    """By the first judge, and by the second where there is one."""
    asked = concept.asked("itself", len(base.scores.identity))
    icons = concept.itself(asked)
    real, softened = (
        score(laboratory.encoders, concept, asked, images) for images in (icons, round_trip(laboratory.base, icons))
    )
    first = _ceiling(real.identity, softened.identity, base.scores.identity)
    return first, _ceiling(real.second, softened.second, base.scores.second) if real.second else None


def _ceiling(real: Sequence[float], through_vae: Sequence[float], control: Sequence[float]) -> Ceiling:
    return Ceiling(real=standardised_gain(real, control), through_vae=standardised_gain(through_vae, control))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
