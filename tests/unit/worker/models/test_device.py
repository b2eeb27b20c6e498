"""Where a worker computes."""

import pytest
import torch

from app.domain.errors import NotReadyError
from worker.models.device import fix_threads, pick_device, pick_dtype


def without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] = (8, 0)) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)


@pytest.mark.parametrize("setting", ["auto", "cpu"])
def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    without_gpus(monkeypatch)
    assert pick_device(setting) == torch.device("cpu")
    assert pick_dtype(pick_device(setting)) == torch.float32


@pytest.mark.parametrize(
    ("setting", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_with_gpus_the_setting_chooses(monkeypatch: pytest.MonkeyPatch, setting: str, device: str) -> None:
    with_gpus(monkeypatch)
    assert pick_device(setting) == torch.device(device)


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), torch.bfloat16), ((7, 5), torch.float32)])
def test_bf16_only_where_the_gpu_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    with_gpus(monkeypatch, capability)
    assert pick_dtype(pick_device("cuda")) == dtype


@pytest.mark.parametrize("setting", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "mps"])
def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    with_gpus(monkeypatch)
    with pytest.raises(NotReadyError, match="known are auto, cpu, cuda"):
        pick_device(setting)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    with pytest.raises(NotReadyError, match="has 2 CUDA devices"):
        pick_device("cuda:2")
    without_gpus(monkeypatch)
    with pytest.raises(NotReadyError, match="has 0 CUDA devices"):
        pick_device("cuda")


def test_the_thread_count_is_fixed() -> None:
    before = torch.get_num_threads()
    fix_threads(3)
    assert torch.get_num_threads() == 3
    fix_threads(before)


def test_numbers_too_small_for_full_precision_count_as_zero() -> None:
    torch.set_flush_denormal(False)
    smallest = torch.full((4,), torch.finfo(torch.float32).tiny)
    assert (smallest / 2 > 0).all()
    fix_threads(torch.get_num_threads())
    assert (smallest / 2 == 0).all()
