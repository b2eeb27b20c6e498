"""The complete resumable state of a training, as safetensors bytes: a resumed job gives the same adapter, bit for bit.

A checkpoint belongs to one task: it carries a digest of everything that decides the training. So a job that was claimed
again on top of another parent cannot go on from it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.adapters.factors import to_bytes
from worker.adapters.strategy_state import state_to_bytes
from worker.adapters.tensor_file import TensorFileError, pack, unpack
from worker.models.base import Base
from worker.training.train_state import TrainState
from worker.training.training_task import TrainingTask

FORMAT = "palimpsest-checkpoint-2"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class CheckpointError(TensorFileError):
    """The checkpoint belongs to another task; the training has to start again."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps, the last of which had this loss."""

    step: int
    loss: float
    task_digest: str
    lr_state: str
    tensors: Mapping[str, Tensor]


def task_digest(base: Base, task: TrainingTask) -> str:
    """The sha256 (hex) of everything that the training is a function of."""
    digest = hashlib.sha256()
    texts = (task.instance_prompt, task.training.model_dump_json(), task.strategy.model_dump_json())
    prompts = (task.neutral_prompts, task.earlier_prompts())
    digest.update(json.dumps([base.fingerprint, *texts, task.adapted_modules, *prompts]).encode())
    for image in task.images:
        digest.update(f"{image.mode} {image.size}".encode() + image.tobytes())
    for link in task.chain:
        digest.update(to_bytes(link.adapter, {"strategy": link.strategy.model_dump_json()}))
        digest.update(state_to_bytes(link.strategy_state))
    return digest.hexdigest()


def capture(state: TrainState, step: int, loss: float, digest: str) -> bytes:
    """The state as it is now, after `step` steps."""
    parameters = state.adapter.parameters()
    tensors: dict[str, Tensor] = {f"parameter.{n}": parameter for n, parameter in enumerate(parameters)}
    for n, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{n}.{name}": moments[name] for name in _MOMENTS}
    tensors["generator"] = state.generator.get_state()
    tensors |= {f"stream.{name}": stream.get_state() for name, stream in state.streams.items()}
    lr_state = json.dumps(state.lr_scheduler.state_dict())
    texts = {"format": FORMAT, "step": str(step), "loss": repr(loss), "task": digest, "lr_scheduler": lr_state}
    return pack(tensors, texts)


def parse(data: bytes, digest: str) -> Checkpoint:
    """The checkpoint in bytes that `capture` made for the task of that digest.

    Raises:
        CheckpointError: they are not that.
    """
    try:
        tensors, texts = unpack(data)
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    if texts.get("format") != FORMAT or texts.get("task") != digest:
        raise CheckpointError("not a checkpoint of this task")
    return Checkpoint(int(texts["step"]), float(texts["loss"]), digest, texts["lr_scheduler"], tensors)


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Bring a state at step 0 to the checkpoint's."""
    tensors = checkpoint.tensors
    parameters = state.adapter.parameters()
    with torch.no_grad():
        for n, parameter in enumerate(parameters):
            parameter.copy_(tensors[f"parameter.{n}"])
    moments = state.optimizer.state_dict()
    trained = range(len(state.adapter.trainable()))
    moments["state"] = {n: {name: tensors[f"optimizer.{n}.{name}"] for name in _MOMENTS} for n in trained}
    state.optimizer.load_state_dict(moments)
    state.lr_scheduler.load_state_dict(json.loads(checkpoint.lr_state))
    # An lr_scheduler writes its rate into the optimizer only when it steps.
    for group, rate in zip(state.optimizer.param_groups, state.lr_scheduler.get_last_lr(), strict=True):
        group["lr"] = rate
    state.generator.set_state(tensors["generator"])
    for name, stream in state.streams.items():
        stream.set_state(tensors[f"stream.{name}"])
