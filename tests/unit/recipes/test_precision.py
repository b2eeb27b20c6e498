"""bf16 where the processor has instructions for it, and nowhere else."""

import pytest
import torch

from recipes.icons_64.optimizers import orthogonalise
from recipes.icons_64.precision import computes_in_bf16, mixed_precision

_CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, **capabilities})


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]
)
def test_a_cpu_computes_in_what_it_has_instructions_for(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    pretend(monkeypatch, **capabilities)
    dtype = torch.bfloat16 if expected else torch.float32
    assert computes_in_bf16(_CPU) == expected
    with mixed_precision(_CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert orthogonalise(torch.eye(4)[None]).dtype == dtype


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_does_so_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert computes_in_bf16(torch.device("cuda")) == expected
