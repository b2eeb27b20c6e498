"""The step loop: schedules, and that an interrupted run ends where an undisturbed one does."""

import contextlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.training import DivergedError, Run, Schedule


def toy_run(folder: Path, schedule: Schedule) -> tuple[Run, nn.Module]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(32, 4))
    return Run(model, split_optimizers(model, 0.02, 1e-3), schedule, folder, "toy", batch_size=2), model


def train(folder: Path, steps: int) -> Run:
    # The schedule is always that of the whole run; `steps` is where this process dies.
    run, model = toy_run(folder, Schedule(total_steps=12, warmup_steps=3))

    def loss_of_step(step: int) -> Tensor:
        if step == steps:
            run.save()
            raise KeyboardInterrupt
        batch = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(step))
        loss: Tensor = model(batch).square().mean()
        return loss

    with contextlib.suppress(KeyboardInterrupt):
        run.train(loss_of_step)
    return run


def test_a_resumed_run_ends_bit_for_bit_where_an_undisturbed_one_does(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train(tmp_path / "a", steps=99)
    train(tmp_path / "b", steps=5)
    resumed = train(tmp_path / "b", steps=99)
    assert whole.step == resumed.step == 12
    assert whole.losses == resumed.losses
    assert all(torch.equal(whole.averaged[name], resumed.averaged[name]) for name in whole.averaged)
    assert (tmp_path / "b" / "toy-loss.png").exists()


def test_a_paused_run_takes_no_step_until_the_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pause, steps_while_paused = tmp_path / "PAUSE", []
    run, model = toy_run(tmp_path, Schedule(total_steps=2))

    def resume(seconds: float) -> None:
        steps_while_paused.append(run.step)
        pause.unlink()

    monkeypatch.setattr("recipes.icons_64.training.time.sleep", resume)
    pause.touch()
    run.train(lambda _: model(torch.ones(2, 4, 4, 4)).square().mean())
    assert (steps_while_paused, run.step) == ([0], 2)


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    train(tmp_path, steps=99)
    run, _ = toy_run(tmp_path, Schedule(total_steps=12))
    run.train(lambda step: pytest.fail(f"step {step} was run"))


def test_the_learning_rate_warms_up_stays_and_decays_to_nothing() -> None:
    schedule = Schedule(total_steps=1000, warmup_steps=100, decay_share=0.4)
    factors = [schedule.factor(step, 0.0) for step in (0, 99, 500, 599, 800, 999)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[1:4] == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)
    assert factors[4] == pytest.approx(0.5)
    assert factors[5] < 1e-4


def test_a_schedule_ends_by_steps_or_by_the_clock() -> None:
    schedule = Schedule(total_steps=100, total_seconds=60.0)
    assert schedule.progress(step=50, seconds=15.0) == 0.5
    assert schedule.progress(step=10, seconds=60.0) == 1.0


def losing(folder: Path, losses: list[float]) -> Run:
    """A run whose losses are these, whatever it learns."""
    run, model = toy_run(folder, Schedule(total_steps=len(losses)))

    def loss_of_step(step: int) -> Tensor:
        if step == 150:
            run.save()
        weight = next(model.parameters())
        return losses[step] + 0.0 * weight.sum()

    run.train(loss_of_step)
    return run


def test_a_run_that_diverges_stops_and_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"toy: at step 1[56]"):
        losing(tmp_path, [0.33] * 150 + [0.6] * 100)
    run, _ = toy_run(tmp_path, Schedule(total_steps=250))
    assert run.step == 150


def test_a_loss_that_is_no_number_is_divergence(tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        losing(tmp_path, [0.33] * 150 + [float("nan")] * 100)


def test_a_noisy_loss_or_a_bad_step_is_none(tmp_path: Path) -> None:
    noisy = [0.3 + 0.1 * (step % 3) for step in range(200)]
    noisy[160] = 1.5
    assert losing(tmp_path, noisy).step == 200
