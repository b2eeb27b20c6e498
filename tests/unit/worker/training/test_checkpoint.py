"""A training that was interrupted gives the adapter that it would have given, bit for bit."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image

from app.domain.strategies import (
    CLoraOptions,
    MergeOptions,
    NaiveOptions,
    OrthogonalMergeOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.training import LrScheduler, TrainingOptions
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.adapters.oracle import random_adapter
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, file_of
from worker.adapters.accumulated import ChainLink
from worker.adapters.tensor_file import pack, unpack
from worker.models.projections import adapted_projections, projection_shape
from worker.training.checkpoint import CheckpointError
from worker.training.loop import train
from worker.training.training_task import TrainingTask

pytestmark = pytest.mark.slow

STEPS = 4
SHORT = OPTIONS.model_copy(update={"steps": STEPS})
SELF_REPLAY = SelfReplayOptions(latents_per_concept=2, neutral_latents=3, sampling_steps=2)


def options(lr_scheduler: LrScheduler) -> TrainingOptions:
    rules = "1:1,0.1:3,0.5" if lr_scheduler is LrScheduler.PIECEWISE_CONSTANT else None
    return SHORT.model_copy(
        update={"lr_scheduler": lr_scheduler, "lr_step_rules": rules, "lr_warmup_steps": 1, "weight_decay": 0.1}
    )


def a_link(strategy: StrategyOptions, adapted_modules: tuple[str, ...]) -> ChainLink:
    projections = adapted_projections(tiny_base().denoiser, adapted_modules)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return ChainLink(strategy, random_adapter(shapes, 2, 1.0, seed=1), ("a zqb dog",))


def check_every_interruption(task: TrainingTask) -> None:
    base, undisturbed = tiny_base(), Listener(checkpoint_at=frozenset(range(STEPS + 1)))
    expected = train(base, task, undisturbed, None)
    assert sorted(undisturbed.checkpoints) == list(range(1, STEPS + 1))
    for step, checkpoint in undisturbed.checkpoints.items():
        resumed = Listener(checkpoint_at=frozenset(range(STEPS + 1)))
        again = train(base, task, resumed, checkpoint)
        assert file_of(again) == file_of(expected)
        assert again.final_loss == expected.final_loss
        assert resumed.losses == undisturbed.losses[step:]
        assert resumed.checkpoints == {s: data for s, data in undisturbed.checkpoints.items() if s > step}


@pytest.mark.parametrize("lr_scheduler", list(LrScheduler))
def test_at_any_step_with_any_lr_scheduler(lr_scheduler: LrScheduler) -> None:
    check_every_interruption(a_task(options(lr_scheduler)))


@pytest.mark.parametrize(
    "strategy",
    [NaiveOptions(), MergeOptions(), OrthogonalMergeOptions(freeze_a=True), CLoraOptions(lam=0.1), SELF_REPLAY],
    ids=lambda strategy: strategy.name,
)
@pytest.mark.parametrize("parent", [NaiveOptions(), MergeOptions()])
@pytest.mark.parametrize("adapted_modules", [("to_q", "to_out.0"), ("conv1", "to_v")])
def test_at_any_step_with_any_strategy(
    strategy: StrategyOptions, parent: StrategyOptions, adapted_modules: tuple[str, ...]
) -> None:
    chain = (a_link(parent, adapted_modules),)
    check_every_interruption(a_task(SHORT, strategy, chain, adapted_modules))


def test_interrupted_twice() -> None:
    base, task = tiny_base(), a_task()
    expected = file_of(train(base, task, Listener(), None))
    checkpoint = None
    for stop_after in (2, 4):
        hooks = Listener(checkpoint_at=frozenset({stop_after - 1}), stop_after=stop_after)
        with pytest.raises(Listener.Stopped):
            train(base, task, hooks, checkpoint)
        checkpoint = hooks.checkpoints[stop_after - 1]
    assert file_of(train(base, task, Listener(), checkpoint)) == expected


SCRIPT = """
import hashlib, sys
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.training.helpers import Listener, a_task, file_of
from worker.models.device import fix_threads
from worker.training.loop import train
fix_threads(1)
checkpoint = sys.stdin.buffer.read() or None
print(hashlib.sha256(file_of(train(tiny_base(), a_task(), Listener(), checkpoint))).hexdigest())
"""


def test_in_another_process() -> None:
    hooks = Listener(checkpoint_at=frozenset({2}))
    expected = hashlib.sha256(file_of(train(tiny_base(), a_task(), hooks, None))).hexdigest()
    command = [sys.executable, "-c", SCRIPT]
    resumed = subprocess.run(command, input=hooks.checkpoints[2], capture_output=True, check=True)
    assert resumed.stdout.decode().strip() == expected


def a_checkpoint(task: TrainingTask) -> bytes:
    hooks = Listener(checkpoint_at=frozenset({1}), stop_after=2)
    with pytest.raises(Listener.Stopped):
        train(tiny_base(), task, hooks, None)
    return hooks.checkpoints[1]


@pytest.mark.parametrize(
    "other",
    [
        replace(a_task(), instance_prompt="a zqb cat"),
        replace(a_task(), training=OPTIONS.model_copy(update={"seed": 1})),
        replace(a_task(), strategy=NaiveOptions()),
        replace(a_task(), images=(Image.new("RGB", (64, 64)),)),
        replace(a_task(), adapted_modules=("to_q",)),
        replace(a_task(), chain=(a_link(MergeOptions(), ("to_q",)),)),
        replace(a_task(), neutral_prompts=("a photo",)),
    ],
    ids=["prompt", "training", "strategy", "images", "modules", "chain", "neutral prompts"],
)
def test_a_checkpoint_of_another_task_is_refused(other: TrainingTask) -> None:
    checkpoint = a_checkpoint(a_task())
    with pytest.raises(CheckpointError, match="not a checkpoint of this task"):
        train(tiny_base(), other, Listener(), checkpoint)


def test_a_checkpoint_of_another_base_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint of this task"):
        train(tiny_base("epsilon"), a_task(), Listener(), a_checkpoint(a_task()))


def test_other_bytes_are_refused() -> None:
    for data in (b"", b"\x80\x04pickle", pack({"x": torch.zeros(1)}, {"format": "other"})):
        with pytest.raises(CheckpointError):
            train(tiny_base(), a_task(), Listener(), data)


def test_a_checkpoint_is_safetensors_and_knows_its_step() -> None:
    _, texts = unpack(a_checkpoint(a_task()))
    assert texts["step"] == "1"
