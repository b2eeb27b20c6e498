"""Muon for matrices and convolution kernels, AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) steps along the orthogonalised momentum. On the
trial of this VAE it was 6 dB ahead of AdamW after a minute. PyTorch's own takes 2-D parameters only, so kernels are
shown to it as flattened views of the same storage.
"""

from collections.abc import Iterable

import torch
from torch import nn


class FlattenedMuon(torch.optim.Muon):
    """`torch.optim.Muon` over parameters of two or more dimensions, each seen as (outputs, everything else)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self._parameters = list(parameters)
        self._views = [nn.Parameter(p.data.view(p.shape[0], -1)) for p in self._parameters]
        super().__init__(self._views, lr=lr, momentum=0.95, weight_decay=0.0)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for parameter, view in zip(self._parameters, self._views, strict=True):
            view.grad = None if parameter.grad is None else parameter.grad.view_as(view)
        super().step(closure)


def split_optimizers(
    model: nn.Module, muon_lr: float, adam_lr: float, adam_only: Iterable[nn.Parameter] = ()
) -> list[torch.optim.Optimizer]:
    """Embeddings (`adam_only`), biases, norms and thin kernels (the picture's three channels) go to AdamW."""
    excluded = {id(parameter) for parameter in adam_only}
    matrices = [p for p in model.parameters() if p.ndim >= 2 and min(p.shape[:2]) > 3 and id(p) not in excluded]
    chosen = {id(parameter) for parameter in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    return [FlattenedMuon(matrices, muon_lr), adam]
