"""Muon: that it is PyTorch's, and that it takes convolution kernels."""

import torch
from torch import nn

from recipes.icons_64.optimizers import Muon, orthogonalise, split_optimizers


def test_matrices_step_as_under_pytorchs_own_muon() -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(8, 16)), nn.Parameter(torch.randn(8, 16)), nn.Parameter(torch.randn(16, 8))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = [Muon(ours, lr=0.1, weight_decay=0.3), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3)]
    for _ in range(3):
        gradients = [torch.randn_like(p) for p in ours]
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-2, rtol=0)


def test_singular_values_come_near_one() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 8, 32)).float())
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_a_kernel_is_the_matrix_of_its_outputs() -> None:
    torch.manual_seed(0)
    kernel, matrix = nn.Parameter(torch.zeros(4, 4, 3, 3)), nn.Parameter(torch.zeros(4, 36))
    kernel.grad = torch.randn(4, 4, 3, 3)
    matrix.grad = kernel.grad.view(4, 36).clone()
    Muon([kernel, matrix], lr=0.1).step()
    torch.testing.assert_close(kernel.view(4, 36), matrix)


def test_each_parameter_has_one_optimizer() -> None:
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.LayerNorm(8))
    muon, adam = split_optimizers(model, 0.02, 1e-3, adam_only=model[0].parameters())
    assert sum(p.numel() for p in muon.param_groups[0]["params"]) == 64
    assert sum(p.numel() for p in adam.param_groups[0]["params"]) == 80 + 8 + 16
