"""An option that is accepted changes something: held over all of the options' schemas, so a new one cannot slip by.

Every option has a probe. What it changes is looked for where it must show: in the learning rates, or in the bits of
what tiny trainings and drawings make.
"""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.schemas.generations import NewGenerationBody
from app.domain.concepts import ConceptKind
from app.domain.effects import faults_of_drawing, faults_of_line, faults_of_strategy, faults_of_training
from app.domain.errors import InvalidInputError
from app.domain.evaluations import EvaluationOptions
from app.domain.seeds import MAX_SEED
from app.domain.strategies import STRATEGIES, ReplayStart, StrategyOptions
from app.domain.training import LrScheduler, TrainingOptions, TrainingOverrides
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.adapters.oracle import random_adapter
from tests.unit.worker.training.helpers import ATTENTION, Listener, a_task, file_of
from worker.adapters.accumulated import ChainLink
from worker.adapters.strategy_state import state_to_bytes
from worker.generation.batches import Drawn
from worker.generation.sampling import GenerationRequest, generate
from worker.models.projections import adapted_projections, projection_shape
from worker.training.loop import train
from worker.training.optimization import make_lr_scheduler

pytestmark = pytest.mark.slow

FEW = TrainingOptions(rank=2, steps=3, batch_size=2, learning_rate=1e-2, resolution=64, seed=3)


def accepted(training: TrainingOptions) -> bool:
    return not list(faults_of_training(training))


def rates(training: TrainingOptions) -> list[float]:
    """The learning rate of each step."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=training.learning_rate)
    lr_scheduler = make_lr_scheduler(optimizer, training)
    found = []
    for _ in range(training.steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        lr_scheduler.step()
    return found


# Each schedule with what goes with it, and options that do not, in any mixture.
STEPS = st.integers(1, 40)
RULES = st.lists(st.tuples(st.sampled_from(["0", "0.1", "0.5", "1", "2"]), st.integers(0, 50)), min_size=1, max_size=4)
SCHEDULES = st.fixed_dictionaries(
    {"lr_scheduler": st.sampled_from(LrScheduler), "steps": STEPS},
    optional={
        "lr_warmup_steps": st.integers(0, 50),
        "lr_cycles": st.integers(2, 30),
        "lr_power": st.floats(0.01, 100),
        "lr_step_rules": RULES.map(lambda pairs: ",".join(f"{factor}:{end}" for factor, end in pairs) + ",0.3"),
    },
)
UNHEARD: dict[str, object] = {"lr_warmup_steps": 0, "lr_cycles": None, "lr_power": None, "lr_step_rules": "1:1,1"}


@given(SCHEDULES)
@settings(max_examples=800, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
def test_every_accepted_option_of_a_schedule_moves_a_rate(given_options: dict[str, object]) -> None:
    try:
        training = TrainingOptions.model_validate({"learning_rate": 0.01, **given_options})
    except ValidationError:
        return
    if not accepted(training):
        return
    heard = rates(training)
    assert max(heard) > 0, "it would learn nothing"
    for name in UNHEARD.keys() & given_options.keys():
        if getattr(training, name) == UNHEARD[name] or (name == "lr_power" and training.lr_power == 1):
            continue
        assert rates(training.model_copy(update={name: UNHEARD[name]})) != heard, name
    if training.lr_scheduler is not LrScheduler.CONSTANT:
        assert len(set(heard)) > 1, "it is constant"
    if training.lr_step_rules is not None:
        _, factors = training.step_rules()
        applied = [rate / training.learning_rate for rate in heard]
        assert [factor for n, factor in enumerate(applied) if n == 0 or factor != applied[n - 1]] == pytest.approx(
            factors
        )


@pytest.mark.parametrize("name", LrScheduler)
def test_every_schedule_can_be_had(name: LrScheduler) -> None:
    needs: dict[LrScheduler, dict[str, object]] = {
        LrScheduler.CONSTANT_WITH_WARMUP: {"lr_warmup_steps": 2},
        LrScheduler.COSINE_WITH_RESTARTS: {"lr_cycles": 3},
        LrScheduler.POLYNOMIAL: {"lr_power": 2},
        LrScheduler.PIECEWISE_CONSTANT: {"lr_step_rules": "1:10,0.1"},
    }
    training = TrainingOptions.model_validate({"steps": 30, "lr_scheduler": name, **needs.get(name, {})})
    assert accepted(training)
    found = rates(training)
    if name is LrScheduler.COSINE_WITH_RESTARTS:
        rises = [n for n in range(1, 30) if found[n] > found[n - 1]]
        assert rises == [10, 20]
    if name is LrScheduler.POLYNOMIAL:
        assert found[15] == pytest.approx((training.learning_rate - 1e-7) * 0.25 + 1e-7)


@cache
def trained(training: TrainingOptions) -> bytes:
    modules = training.adapted_modules or ATTENTION
    return file_of(train(tiny_base(), a_task(training, adapted_modules=modules), Listener(), None))


# What differs from FEW enough to show in fp32, over the whole of what is allowed and cheap to train.
VALUES: dict[str, st.SearchStrategy[object]] = {
    "rank": st.integers(1, 8),
    "alpha": st.floats(1e-3, 100),
    "steps": st.integers(1, 5),
    "learning_rate": st.floats(1e-9, 0.1),
    "batch_size": st.integers(1, 4),
    "resolution": st.sampled_from([64, 72, 128]),
    "seed": st.integers(0, 2**63 - 1),
    "max_grad_norm": st.floats(1e-6, 1e-3),
    "weight_decay": st.floats(1e-6, 1),
    "adapted_modules": st.sampled_from([("to_q",), ("to_k", "to_v"), ("attn2.to_q", "proj_in")]),
}
_SCHEDULED = {"lr_scheduler", "lr_warmup_steps", "lr_step_rules", "lr_cycles", "lr_power"}


def test_every_training_option_has_a_probe() -> None:
    assert VALUES.keys() | _SCHEDULED == set(TrainingOptions.model_fields) == set(TrainingOverrides.model_fields)


@pytest.mark.parametrize("name", VALUES)
@given(st.data())
@settings(max_examples=4, deadline=None)
def test_every_accepted_training_option_moves_the_adapter(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    training = FEW.model_copy(update={name: value})
    assume(accepted(training))
    plain = FEW.rank if name == "alpha" else getattr(FEW, name)
    assume(value != plain)
    assert trained(training) != trained(FEW)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("lr_warmup_steps", {"lr_warmup_steps": 5}),
        ("lr_warmup_steps", {"lr_scheduler": "cosine", "lr_warmup_steps": 300}),
        ("lr_warmup_steps", {"lr_scheduler": "linear", "lr_warmup_steps": 301}),
        ("lr_warmup_steps", {"lr_scheduler": "constant_with_warmup"}),
        ("lr_warmup_steps", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:9,2", "lr_warmup_steps": 1}),
        ("lr_cycles", {"lr_scheduler": "cosine_with_restarts"}),
        ("lr_cycles", {"lr_scheduler": "cosine_with_restarts", "lr_cycles": 200}),
        ("lr_power", {"lr_scheduler": "polynomial"}),
        ("lr_step_rules", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:20,0.5:10,0.1"}),
        ("lr_step_rules", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:10,0.5:10,0.1"}),
        ("lr_step_rules", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:0,0.5"}),
        ("lr_step_rules", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:300,0.5"}),
        ("lr_step_rules", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:10,1"}),
        ("lr_step_rules", {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:10,9999"}),
        ("lr_scheduler", {"lr_scheduler": "cosine", "steps": 1}),
        ("max_grad_norm", {"max_grad_norm": 1e-200}),
        ("learning_rate", {"learning_rate": 1e-40}),
        ("alpha", {"alpha": 1e-30}),
        ("weight_decay", {"weight_decay": 1e-6}),
        ("adapted_modules", {"adapted_modules": ("to_q", "to_q")}),
    ],
)
def test_what_changes_nothing_is_refused_by_name(field: str, options: dict[str, object]) -> None:
    found = list(faults_of_training(TrainingOptions.model_validate(options)))
    assert [fault.field for fault in found] == [f"training.{field}"]


def choices(options: type[StrategyOptions], name: str) -> st.SearchStrategy[object]:
    """Values of that option, by its JSON schema; small counts, as each is trained with."""
    if name == "start":
        return st.sampled_from(ReplayStart)
    if name == "basis":
        return st.sampled_from(["span", "previous", "reference"])
    schema = options.model_json_schema()["properties"][name]
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], min(schema["maximum"], 6))
    return st.sampled_from([0, 0.01, 0.5]) | st.floats(0.01, min(schema["maximum"], 10.0))


OPTIONS = [(name, option) for name, cls in STRATEGIES.items() for option in cls.model_fields if option != "name"]
# What makes some options matter, and keeps the drawing of latents short.
QUICK: dict[str, dict[str, object]] = {
    "self_replay": {"sampling_steps": 1, "latents_per_concept": 2, "neutral_latents": 2, "lam": 1.0, "mu": 1.0},
    "null_space": {"gradient_batches": 2},
    "ewc": {"fisher_samples": 2},
}
# Beside an adapter of rank 16 none of these 16 inputs is left.
WIDE = FEW.model_copy(update={"rank": 16})


@cache
def next_lesson(options: StrategyOptions, training: TrainingOptions) -> tuple[bytes, bytes] | str:
    """What one more concept's training makes: the adapter and what it tells the next one; or why it is refused."""
    first = a_task(training, options)
    base, learned = tiny_base(), train(tiny_base(), first, Listener(), None)
    link = ChainLink(options, learned.adapter, ("a zqb dog",), learned.strategy_state)
    shapes = {name: projection_shape(module) for name, module in adapted_projections(base.denoiser, ATTENTION).items()}
    oldest = ChainLink(options, random_adapter(shapes, training.rank, 0.1, seed=1))
    try:
        second = train(base, a_task(training, options, (oldest, link)), Listener(), None)
    except InvalidInputError as error:
        return error.detail
    return file_of(second), state_to_bytes(second.strategy_state)


@pytest.mark.parametrize(("strategy", "option"), OPTIONS)
@given(st.data())
@settings(max_examples=2, deadline=None)
def test_every_accepted_option_of_a_strategy_changes_the_next_version(
    strategy: str, option: str, data: st.DataObject
) -> None:
    quick = {**QUICK.get(strategy, {}), **({"basis": "reference"} if option == "match_norm" else {})}
    try:
        plain = STRATEGIES[strategy].model_validate(quick)
        changed = STRATEGIES[strategy].model_validate({**quick, option: data.draw(choices(type(plain), option))})
    except ValidationError:
        return
    assume(changed != plain and not list(faults_of_strategy(changed)))
    training = WIDE if option == "strict" else FEW
    assert next_lesson(changed, training) != next_lesson(plain, training)


def pictures(options: dict[str, object]) -> Iterator[Drawn]:
    """What a drawing with these options gives."""
    # The table of options holds values of every type, each of its field's.
    request = GenerationRequest(**options)  # type: ignore[arg-type]
    return generate(tiny_base(), {}, request, Silent())


def drawn(options: dict[str, object]) -> bytes:
    """The pictures' pixels."""
    return b"".join(picture.image.tobytes() for picture in pictures(options))


class Silent:
    """Hooks that tell nobody."""

    def step(self, step: int, total_steps: int) -> None: ...


PLAIN_DRAWING: dict[str, object] = {
    "prompt": "a photo of a cat",
    "negative_prompt": None,
    "num_images": 1,
    "seed": 5,
    "steps": 2,
    "guidance_scale": 3.0,
    "width": 64,
    "height": 64,
}
DRAWINGS: dict[str, st.SearchStrategy[object]] = {
    "prompt": st.sampled_from(["a red cup", "a blue dog on a red cup"]),
    "negative_prompt": st.sampled_from(["blue", "a dog"]),
    "num_images": st.integers(2, 3),
    "seed": st.integers(0, MAX_SEED),
    "steps": st.integers(1, 6),
    "guidance_scale": st.floats(1, 30),
    "width": st.sampled_from([72, 96, 128]),
    "height": st.sampled_from([72, 96, 128]),
}


# What says where to draw from; and `exact`, which changes how many pictures share a batch, not what they show.
NOT_IN_THE_BITS = {"lineage_id", "version", "exact"}


def test_every_option_of_a_drawing_has_a_probe() -> None:
    assert DRAWINGS.keys() == NewGenerationBody.model_fields.keys() - NOT_IN_THE_BITS


@pytest.mark.parametrize(("exact", "at_once"), [(False, 3), (True, 1)])
def test_exact_draws_each_picture_alone(exact: bool, at_once: int) -> None:
    three = pictures(PLAIN_DRAWING | {"num_images": 3, "exact": exact})
    assert [picture.at_once for picture in three] == [at_once] * 3


@pytest.mark.parametrize("name", DRAWINGS)
@given(st.data())
@settings(max_examples=5, deadline=None)
def test_every_accepted_option_of_a_drawing_changes_the_pictures(name: str, data: st.DataObject) -> None:
    value = data.draw(DRAWINGS[name])
    scale = data.draw(st.sampled_from([1.0, 1.5, 3.0]))
    plain = PLAIN_DRAWING | {"guidance_scale": scale}
    asked = plain | {name: value}
    body = NewGenerationBody.model_validate({"lineage_id": "00000000-0000-0000-0000-000000000001", **asked})
    assert body.guidance_scale is not None
    assume(not list(faults_of_drawing(body.guidance_scale, body.negative_prompt, body.seed, body.num_images)))
    assume(value != plain[name] and not (name == "guidance_scale" and abs(body.guidance_scale - scale) < 0.1))
    assert drawn(asked) != drawn(plain)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("negative_prompt", (1.0, "blurry", None, 1)),
        ("seed", (4.0, None, MAX_SEED, 2)),
        ("seed", (4.0, None, MAX_SEED - 14, 16)),
    ],
)
def test_a_drawing_that_would_not_be_as_asked_is_refused(
    field: str, asked: tuple[float, str | None, int | None, int]
) -> None:
    assert [fault.field for fault in faults_of_drawing(*asked)] == [field]


def test_the_last_seeds_can_be_asked_for_again() -> None:
    assert not list(faults_of_drawing(4.0, "blurry", MAX_SEED - 15, 16))
    with pytest.raises(ValidationError):
        NewGenerationBody.model_validate(
            {"lineage_id": "00000000-0000-0000-0000-000000000001", "prompt": "a", "guidance_scale": 0.5}
        )


@pytest.mark.parametrize(
    ("asked", "kinds", "isolated", "trained", "fields"),
    [
        ({"style_prompts": ["{concept} image"]}, {ConceptKind.OBJECT}, False, True, ["options.style_prompts"]),
        ({"object_prompts": ["a {concept}"]}, {ConceptKind.STYLE}, False, True, ["options.object_prompts"]),
        ({"object_prompts": ["a {concept}"]}, {ConceptKind.OBJECT}, True, True, []),
        ({}, {ConceptKind.OBJECT}, True, False, ["isolated"]),
    ],
)
def test_an_evaluation_asks_for_what_its_versions_have(
    asked: dict[str, object], kinds: set[ConceptKind], isolated: bool, trained: bool, fields: list[str]
) -> None:
    options = EvaluationOptions.model_validate(asked)
    found = faults_of_line(options, frozenset(kinds), isolated=isolated, trained=trained)
    assert [fault.field for fault in found] == fields
