"""`self_replay` on tiny pipelines: who teaches, what is replayed, the loss, and that it holds the earlier concepts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from app.domain.base_models import BaseModelManifest, Family
from app.domain.jobs import Phase
from app.domain.strategies import MergeOptions, NullSpaceOptions, ReplayStart, SelfReplayOptions, StrategyOptions
from app.domain.training import TrainingOptions
from tests.tiny_pipelines import tiny_base, write_tiny_sd
from tests.tiny_sdxl import tiny_sdxl_base, write_tiny_sdxl
from tests.unit.worker.adapters.oracle import random_adapter
from tests.unit.worker.strategies.contexts import a_context
from tests.unit.worker.training.helpers import ATTENTION, OPTIONS, Listener, a_task, file_of, same_weights, weights_of
from worker.adapters.accumulated import ChainLink, Update, added, applied
from worker.adapters.factors import Adapter
from worker.adapters.injected import injected
from worker.models.base import Base, Sampling
from worker.models.loading import load_base
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.replay import replay
from worker.strategies.self_replay import SelfReplay, Teachers
from worker.strategies.task_context import AdaptedBase
from worker.training.loop import train
from worker.training.training_task import Trained, TrainingTask

pytestmark = pytest.mark.slow

OLD_PROMPTS, NEUTRAL_PROMPTS = ("a photo of a zqb dog", "a photo of a zqc cup"), ("a photo", "a red cup")
FEW = SelfReplayOptions(latents_per_concept=2, neutral_latents=3, sampling_steps=2, replay_batch_size=3)
BASES: dict[str, Base] = {"sd": tiny_base(), "sdxl": tiny_sdxl_base()}


@pytest.fixture(params=list(BASES))
def base(request: pytest.FixtureRequest) -> Base:
    return BASES[str(request.param)]


def an_adapter(base: Base, seed: int) -> Adapter:
    projections = adapted_projections(base.denoiser, ATTENTION)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return random_adapter(shapes, 2, 0.1, seed)


@dataclass(frozen=True)
class Second:
    """A second task whose adapter has learned something: the three models, each as one update on the base."""

    base: Base
    adapted: AdaptedBase
    parent: Update
    student: Update

    def predict(self, update: Update, latents: Tensor, timesteps: Tensor, prompts: list[str]) -> Tensor:
        """What a base with that update and no adapter on it says; only outside of `second_task`."""
        with applied(self.base.denoiser, update), torch.no_grad():
            return self.base.predict(latents, timesteps, self.base.encode_prompts(prompts))


@contextmanager
def second_task(base: Base, trains_a: bool = True) -> Iterator[Second]:
    parent, adapter = added({}, an_adapter(base, 1)), an_adapter(base, 2)
    with (
        applied(base.denoiser, parent) as beneath,
        injected(base.denoiser, adapter.modules, 0.2, frozenset() if trains_a else adapter.modules.keys()) as live,
    ):
        context = replace(
            a_context(base=base), earlier_prompts=OLD_PROMPTS, neutral_prompts=NEUTRAL_PROMPTS, stream=stream
        )
        yield Second(base, AdaptedBase(context, live, beneath), parent, added(parent, adapter))


def stream(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(len(name))


def inputs() -> tuple[Tensor, Tensor, list[str]]:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return latents, torch.tensor([30, 700]), ["a photo of a zqb dog", "a photo"]


def seen(base: Base) -> Tensor:
    latents, timesteps, prompts = inputs()
    with torch.no_grad():
        return base.predict(latents, timesteps, base.encode_prompts(prompts))


def test_teacher_and_base_speak_as_if_no_adapter_were_there(base: Base) -> None:
    with second_task(base) as task:
        student = seen(base)
        with task.adapted.without_adapter():
            teacher = seen(base)
        with task.adapted.as_base():
            original = seen(base)
        assert torch.equal(seen(base), student)
    assert torch.equal(teacher, task.predict(task.parent, *inputs()))
    assert torch.equal(original, task.predict({}, *inputs()))
    torch.testing.assert_close(student, task.predict(task.student, *inputs()), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(student, teacher, atol=1e-2)
    assert not torch.allclose(teacher, original, atol=1e-2)


@pytest.mark.parametrize("trains_a", [True, False])
def test_asking_a_teacher_changes_nothing_of_what_is_trained(trains_a: bool) -> None:
    base = tiny_base()
    with second_task(base, trains_a) as task:
        trained, weights = [id(p) for p in task.adapted.adapter.trainable()], weights_of(base)
        with pytest.raises(KeyboardInterrupt), task.adapted.as_base():
            raise KeyboardInterrupt
        assert [id(p) for p in task.adapted.adapter.trainable()] == trained
        assert same_weights(base, weights)
        assert torch.is_grad_enabled()


def test_each_teacher_draws_its_own_latents(base: Base) -> None:
    with second_task(base) as task:
        teachers = made(task.adapted)
    for name, update, prompts in (
        ("earlier", task.parent, [*OLD_PROMPTS, *OLD_PROMPTS]),
        ("neutral", {}, ["a photo", "a red cup", "a photo"]),
    ):
        generator = stream(f"{name} latents")
        with applied(base.denoiser, update):
            drawn = [base.sample_latents(sampling(prompt), [generator], lambda *_: None) for prompt in prompts]
        assert torch.equal(teachers.terms[name].replay.latents, torch.cat(drawn))


def made(adapted: AdaptedBase, options: SelfReplayOptions = FEW) -> Teachers:
    shapes = dict.fromkeys(adapted.adapter.modules, (1, 1))
    start = SelfReplay(options).start(replay(()), a_context(shapes, OPTIONS))
    teachers = start.extra_loss(adapted)
    assert isinstance(teachers, Teachers)
    return teachers


def sampling(prompt: str) -> Sampling:
    return Sampling(prompt=prompt, negative_prompt=None, steps=2, guidance_scale=1.0, width=64, height=64)


def test_the_loss_is_that_of_the_formula(base: Base) -> None:
    options = FEW.model_copy(update={"lam": 2.0, "mu": 0.5})
    with second_task(base) as task:
        teachers = made(task.adapted, options)
        loss = teachers.of_step()
    assert loss is not None
    expected = torch.zeros(())
    for name, update, weight, prompts in (
        ("earlier", task.parent, 2.0, [*OLD_PROMPTS, *OLD_PROMPTS]),
        ("neutral", {}, 0.5, ["a photo", "a red cup", "a photo"]),
    ):
        generator, latents = stream(name), teachers.terms[name].replay.latents
        rows = torch.randint(len(prompts), (3,), generator=generator)
        noise = torch.randn(3, 4, 8, 8, generator=generator)
        timesteps = base.sample_timesteps(3, generator)
        noisy = base.add_noise(latents[rows], noise, timesteps)
        asked = noisy, timesteps, [prompts[row] for row in rows]
        difference = task.predict(task.student, *asked) - task.predict(update, *asked)
        expected += weight * difference.square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)


def test_a_student_that_has_learned_nothing_is_its_own_teacher() -> None:
    with second_task(tiny_base()) as task:
        with torch.no_grad():
            for factors in task.adapted.adapter.modules.values():
                factors.b.zero_()
        assert made(task.adapted, FEW.model_copy(update={"mu": 0})).of_step() == 0
        loss = made(task.adapted).of_step()
        assert loss is not None
        loss.backward()
        assert any(factors.b.grad.any() for factors in task.adapted.adapter.modules.values())  # type: ignore[union-attr]


CHAIN = (ChainLink(MergeOptions(), an_adapter(tiny_base(), 1), OLD_PROMPTS[:1]),)


def learned(strategy: StrategyOptions, training: TrainingOptions = OPTIONS, hooks: Listener | None = None) -> Trained:
    return train(tiny_base(), a_task(training, strategy, CHAIN), hooks or Listener(), None)


def test_without_weights_it_is_merge_bit_for_bit() -> None:
    merged, without = learned(MergeOptions()), learned(SelfReplayOptions(lam=0, mu=0))
    assert file_of(without) == file_of(merged)
    assert without.notes == merged.notes == {}
    assert without.final_loss == merged.final_loss
    assert file_of(learned(FEW)) != file_of(merged)


def test_from_the_null_space_it_is_null_space_with_its_terms() -> None:
    beside = FEW.model_copy(update={"start": ReplayStart.NULL_SPACE})
    without = learned(beside.model_copy(update={"lam": 0, "mu": 0}))
    blind = learned(NullSpaceOptions())
    assert file_of(without) == file_of(blind)
    assert without.notes == blind.notes
    taught = learned(beside)
    assert file_of(taught) not in (file_of(blind), file_of(learned(FEW)))
    assert taught.notes == {**blind.notes, "earlier_latents": 2, "neutral_latents": 3}


def test_the_first_task_has_nothing_to_replay_but_the_base() -> None:
    assert train(tiny_base(), a_task(strategy=FEW), Listener(), None).notes == {"neutral_latents": 3}
    assert learned(FEW).notes == {"earlier_latents": 2, "neutral_latents": 3}


def test_what_is_new_is_drawn_as_under_merge() -> None:
    """The first loss is that of the same images, noises and timesteps, and the teacher's term is zero still."""
    alone, taught = Listener(), Listener()
    learned(MergeOptions(), hooks=alone)
    learned(FEW.model_copy(update={"mu": 0}), hooks=taught)
    assert taught.losses[0] == alone.losses[0]
    assert taught.losses[1] != alone.losses[1]


def test_drawing_latents_shows_that_the_job_goes_on_and_can_be_stopped() -> None:
    hooks = Listener()
    learned(FEW, hooks=hooks)
    assert hooks.phases == [Phase.ENCODING, Phase.TRAINING]
    assert hooks.encoded == 2 + 2 * (2 + 3)

    base, before, modules = tiny_base(), weights_of(tiny_base()), dict(tiny_base().denoiser.named_modules())
    with pytest.raises(Listener.Stopped):
        train(base, a_task(OPTIONS, FEW, CHAIN), StopsAt(7), None)
    assert same_weights(base, before)
    assert dict(base.denoiser.named_modules()) == modules


class StopsAt(Listener):
    """Stops at that call in the encoding phase."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.call = call

    def step(self, step: int, total_steps: int, loss: float | None) -> None:
        super().step(step, total_steps, loss)
        if self.encoded == self.call:
            raise self.Stopped


def drift(task: TrainingTask, trained: Trained) -> float:
    """How far the new version is from its parent on the earlier prompt: |f_new - f_parent|^2 over fixed noises."""
    base, parent = tiny_base(), replay(task.chain).update
    generator = torch.Generator().manual_seed(99)
    with applied(base.denoiser, parent):
        drawn = [base.sample_latents(sampling(OLD_PROMPTS[0]), [generator], lambda *_: None) for _ in range(8)]
    timesteps = torch.arange(50, 1000, 120)
    latents = torch.cat(drawn)
    noisy = base.add_noise(latents, torch.randn(latents.shape, generator=generator), timesteps)
    outputs = []
    for update in (parent, added(parent, trained.adapter)):
        with applied(base.denoiser, update), torch.no_grad():
            outputs.append(base.predict(noisy, timesteps, base.encode_prompts([OLD_PROMPTS[0]] * 8)))
    return float((outputs[0] - outputs[1]).square().mean())


def test_it_holds_the_teachers_outputs_on_earlier_prompts() -> None:
    training = OPTIONS.model_copy(update={"steps": 25})
    task = a_task(training, MergeOptions(), CHAIN)
    held = FEW.model_copy(update={"mu": 0.0})
    assert drift(task, learned(held, training)) < 0.3 * drift(task, learned(MergeOptions(), training))


@pytest.mark.parametrize(("family", "write"), [(Family.SD, write_tiny_sd), (Family.SDXL, write_tiny_sdxl)])
def test_a_base_in_half_precision_replays_and_is_left_as_it_was(
    family: Family, write: Callable[[Path], BaseModelManifest], tmp_path: Path
) -> None:
    write(tmp_path)
    base = load_base(family, str(tmp_path), torch.device("cpu"), torch.bfloat16)
    before = weights_of(base)
    chain = (ChainLink(MergeOptions(), an_adapter(base, 1), OLD_PROMPTS[:1]),)
    trained = train(base, a_task(OPTIONS, FEW, chain), Listener(), None)
    assert trained.notes == {"earlier_latents": 2, "neutral_latents": 3}
    assert same_weights(base, before)


def test_a_resumed_training_draws_the_same_latents() -> None:
    task, hooks = a_task(OPTIONS, FEW, CHAIN), Listener(checkpoint_at=frozenset({3}))
    expected = train(tiny_base(), task, hooks, None)
    again = Listener()
    assert file_of(train(tiny_base(), task, again, hooks.checkpoints[3])) == file_of(expected)
    assert again.encoded == hooks.encoded
    other = replace(task, training=OPTIONS.model_copy(update={"seed": 4}))
    assert file_of(train(tiny_base(), other, Listener(), None)) != file_of(expected)


@pytest.mark.parametrize(("neutral", "passes"), [(("a photo",), 3), (("a red cup and " * 9,), 4)])
def test_the_student_answers_all_teachers_in_one_pass_unless_a_prompt_is_long(
    neutral: tuple[str, ...], passes: int
) -> None:
    """Two teachers, and the student once; a long prompt has more tokens, so it is no row of the same batch."""
    base = tiny_base()
    with second_task(base) as task:
        context = replace(task.adapted.context, neutral_prompts=neutral)
        teachers = made(replace(task.adapted, context=context))
        seen: list[int] = []
        hook = base.denoiser.register_forward_hook(lambda *_: seen.append(1))
        try:
            loss = teachers.of_step()
        finally:
            hook.remove()
    assert loss is not None
    assert len(seen) == passes
