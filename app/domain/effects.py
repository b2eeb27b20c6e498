"""What of a request would be accepted and change nothing: each such option is a fault, with what to do instead.

These are rules for what is newly asked for. What is stored was asked for under earlier rules, and stays readable.
"""

from collections.abc import Iterator
from itertools import pairwise

from app.domain.base_models import BaseModelManifest
from app.domain.concepts import ConceptKind
from app.domain.errors import Fault, InvalidInputError
from app.domain.evaluations import EvaluationOptions, EvaluationPolicy, GateMetric
from app.domain.seeds import MAX_SEED
from app.domain.strategies import (
    CLoraOptions,
    EwcOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.strategies_by_kind import ByKindOptions, FollowedOptions, strategy_for
from app.domain.training import LrScheduler, TrainingOptions

_CONSTANT = (LrScheduler.CONSTANT, LrScheduler.PIECEWISE_CONSTANT)
_FALLING = (LrScheduler.LINEAR, LrScheduler.COSINE, LrScheduler.POLYNOMIAL)
# Half of fp32's precision at one: a decay by less than this leaves every number as it is.
_LEAST_DECAY = 2.0**-25
# Below these, products in fp32 underflow, or vanish beside what they are added to.
_LEAST_ALPHA = 1e-3
_LEAST_RATE = 1e-9
_LEAST_NORM = 1e-6
_LEAST_WEIGHT = 1e-6
_GREATEST_RATE = 1.0
NO_GUIDANCE = 1.0
"""The guidance scale that is none: the prompt alone is predicted, and the negative prompt never heard."""

Faults = Iterator[Fault]


def insist_on_effect(faults: Faults) -> None:
    """Refuse what would have no effect.

    Raises:
        InvalidInputError: there is a fault; all are listed.
    """
    if found := tuple(faults):
        named = "; ".join(f"{fault.field}: {fault.message}" for fault in found)
        raise InvalidInputError(f"Some options would change nothing. {named}.", found)


def faults_of_training(training: TrainingOptions) -> Faults:
    """Of training options that are complete: defaults and overrides taken together."""
    for name, message in (*_of_numbers(training), *_of_warmup(training), *_of_schedule(training)):
        yield Fault(field=f"training.{name}", message=message)


Found = Iterator[tuple[str, str]]


def _of_numbers(training: TrainingOptions) -> Found:
    if training.alpha is not None and training.alpha < _LEAST_ALPHA:
        yield "alpha", f"so small a scale learns nothing; give at least {_LEAST_ALPHA}"
    if training.learning_rate < _LEAST_RATE:
        yield "learning_rate", f"so small a rate learns nothing; give at least {_LEAST_RATE}"
    if training.max_grad_norm < _LEAST_NORM:
        yield "max_grad_norm", f"gradients so short vanish; give at least {_LEAST_NORM}"
    decay = training.learning_rate * training.weight_decay
    if training.weight_decay > 0 and decay < _LEAST_DECAY:
        least = _LEAST_DECAY / training.learning_rate
        yield "weight_decay", f"too small to change a number at this learning_rate; give 0 or at least {least:.2g}"
    names = training.adapted_modules or ()
    if len(set(names)) < len(names):
        yield "adapted_modules", "a name is given twice"


def _of_warmup(training: TrainingOptions) -> Found:
    warmup = training.lr_warmup_steps
    if warmup > 0 and training.lr_scheduler in _CONSTANT:
        instead = "give 0, or lr_scheduler 'constant_with_warmup'"
        yield "lr_warmup_steps", f"lr_scheduler '{training.lr_scheduler.value}' has no warmup; {instead}"
    elif warmup >= training.steps:
        yield "lr_warmup_steps", f"the training ends before its warmup does; give less than its {training.steps} steps"
    elif warmup == 0 and training.lr_scheduler is LrScheduler.CONSTANT_WITH_WARMUP:
        yield "lr_warmup_steps", "lr_scheduler 'constant_with_warmup' without warmup is 'constant'; give at least 1"


def _of_schedule(training: TrainingOptions) -> Found:
    if training.lr_scheduler in _FALLING and training.steps - training.lr_warmup_steps == 1:
        yield "lr_scheduler", "one step after the warmup leaves the rate no time to fall; give more steps"
    match training.lr_scheduler:
        case LrScheduler.COSINE_WITH_RESTARTS:
            yield from _of_cycles(training)
        case LrScheduler.POLYNOMIAL if training.lr_power is None:
            yield "lr_power", "lr_scheduler 'polynomial' needs its power, such as 2; 1 is 'linear'"
        case LrScheduler.PIECEWISE_CONSTANT:
            yield from _of_rules(training)
        case _:
            pass


def _of_cycles(training: TrainingOptions) -> Found:
    room = training.steps - training.lr_warmup_steps
    if training.lr_cycles is None:
        yield "lr_cycles", "lr_scheduler 'cosine_with_restarts' needs the number of its cycles, 2 or more"
    elif 2 * training.lr_cycles > room:
        yield "lr_cycles", f"a cycle takes two steps or more, and after the warmup there are {room}"


def _of_rules(training: TrainingOptions) -> Found:
    ends, factors = training.step_rules()
    name = "lr_step_rules"
    if any(later <= earlier for earlier, later in pairwise((0, *ends))):
        yield name, "the steps must be in rising order, from 1 on"
    elif ends and ends[-1] >= training.steps:
        yield name, f"the last factor is never reached: the training has {training.steps} steps"
    if any(earlier == later for earlier, later in pairwise(factors)):
        yield name, "two factors after another are equal"
    if max(factors) * training.learning_rate > _GREATEST_RATE:
        yield name, f"learning_rate times a factor is more than {_GREATEST_RATE}"


def faults_of_strategy(followed: FollowedOptions) -> Faults:
    """Of what a lineage is to follow."""
    if not isinstance(followed, ByKindOptions):
        yield from _of_strategy(followed, "strategy")
        return
    for kind, field in ((ConceptKind.OBJECT, "objects"), (ConceptKind.STYLE, "styles")):
        yield from _of_strategy(strategy_for(kind, followed), f"strategy.{field}")


def _of_strategy(options: StrategyOptions, field: str) -> Faults:
    for name, message in _of_weights(options):
        yield Fault(field=f"{field}.{name}", message=message)


def _of_weights(options: StrategyOptions) -> Found:
    match options:
        case CLoraOptions() | EwcOptions():
            if options.lam < _LEAST_WEIGHT:
                yield "lam", f"without weight, {options.name} is merge; give at least {_LEAST_WEIGHT}, or name merge"
        case SelfReplayOptions():
            yield from _of_replay(options)
        case _:
            pass


def _of_replay(options: SelfReplayOptions) -> Found:
    for name in ("lam", "mu"):
        if 0 < getattr(options, name) < _LEAST_WEIGHT:
            yield name, f"so small a weight changes nothing; give 0 or at least {_LEAST_WEIGHT}"
    if options.lam == 0 and options.mu == 0:
        yield "lam", "without lam and mu, self_replay is merge; weigh one of them, or name merge"
    defaults = SelfReplayOptions.model_fields
    for weight, drawn in (("lam", "latents_per_concept"), ("mu", "neutral_latents")):
        if getattr(options, weight) == 0 and getattr(options, drawn) != defaults[drawn].default:
            yield drawn, f"nothing of it is drawn while {weight} is 0; leave it out"


def faults_of_evaluation(options: EvaluationOptions, field: str = "options") -> Faults:
    """Of what an evaluation is to do otherwise than the base model's protocol."""
    if options.guidance_scale is not None and options.guidance_scale < NO_GUIDANCE:
        yield Fault(field=f"{field}.guidance_scale", message=_LESS_THAN_NONE)
    for name in ("object_prompts", "style_prompts"):
        templates = getattr(options, name) or ()
        if len(set(templates)) < len(templates):
            yield Fault(field=f"{field}.{name}", message="a prompt is given twice, and would draw the same pictures")


def faults_of_line(
    options: EvaluationOptions, kinds: frozenset[ConceptKind], *, isolated: bool, trained: bool
) -> Faults:
    """Of an evaluation of versions that learned concepts of these kinds; `trained`: one of them not by an import."""
    for kind, name in ((ConceptKind.OBJECT, "object_prompts"), (ConceptKind.STYLE, "style_prompts")):
        if getattr(options, name) is not None and kind not in kinds:
            yield Fault(field=f"options.{name}", message=f"these versions have learned no {kind.value}")
    if isolated and not trained:
        yield Fault(field="isolated", message="these versions are imports, whose concepts cannot be trained alone")


def faults_of_policy(policy: EvaluationPolicy) -> Faults:
    """Of how a lineage is to be evaluated."""
    yield from faults_of_evaluation(policy.options, "evaluation.options")
    is_asked_for = policy.after_training or policy.gate is not None
    if not is_asked_for and any(value is not None for _, value in policy.options):
        yield Fault(field="evaluation.options", message="nothing is evaluated; give after_training or a gate")
    gate = policy.gate
    if gate is not None and gate.metric is GateMetric.SCORE and gate.max_loss >= 2:
        yield Fault(field="evaluation.gate.max_loss", message="a cosine loses 2 at most, so this refuses nothing")


_LESS_THAN_NONE = f"{NO_GUIDANCE:g} is no guidance, and there is no less; give that, or more for guidance"


def faults_of_drawing(guidance_scale: float, negative_prompt: str | None, seed: int | None, num_images: int) -> Faults:
    """Of pictures to draw, with the defaults filled in."""
    if negative_prompt and guidance_scale <= NO_GUIDANCE:
        message = f"it is heard only where there is guidance; give a guidance_scale above {NO_GUIDANCE:g}"
        yield Fault(field="negative_prompt", message=message)
    if seed is not None and seed + num_images - 1 > MAX_SEED:
        message = f"picture n is drawn with seed + n, at most {MAX_SEED}: give at most {MAX_SEED + 1 - num_images}"
        yield Fault(field="seed", message=message)


def faults_of_manifest(manifest: BaseModelManifest) -> Faults:
    """Of a base model to register; its training defaults are checked as a lineage's options are."""
    for field, scale in (
        ("default_guidance_scale", manifest.default_guidance_scale),
        ("evaluation.guidance_scale", manifest.evaluation.guidance_scale),
    ):
        if scale < NO_GUIDANCE:
            yield Fault(field=f"manifest.{field}", message=_LESS_THAN_NONE)
    if len(set(manifest.rare_tokens)) < len(manifest.rare_tokens):
        yield Fault(field="manifest.rare_tokens", message="a token is given twice, and can stand for one concept only")
