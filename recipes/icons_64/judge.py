"""Stage `judge`: the encoder `lite0-what`, which no picture of ours has trained, fitted to icons in closed form."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from recipes.icons_64.data import Pictures
from recipes.icons_64.encoder_export import centroids, draw
from recipes.icons_64.judge_network import converted, published_weights
from worker.evaluation.encoders.icons import Head
from worker.evaluation.encoders.lite0 import BLOCKS, NETWORK, WHITENING, Whitening, block_means, columns, prepared
from worker.evaluation.encoders.prototypes import FILE as PROTOTYPES

# What `judge-search` found on the tuning names; docs/encoders.md has its figures. Of the shrinkages that are within one
# picture in 400 of the best, the strongest: drawings are softer than the pictures that the covariance has seen.
CHOSEN_BLOCKS = (7, 10, 14)
SHRINKAGE = 0.1
_PLACEMENTS = 2
_LICENSE = "Apache-2.0; NOTICE says whose the weights are"


def make(work_dir: Path, folder: Path) -> None:
    """Write the network in fp16, the whitening by pretraining pictures alone, and the prototypes of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    net = converted(published_weights(), max(CHOSEN_BLOCKS) + 1)
    halves = {name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}
    save_file(halves, folder / NETWORK, metadata={"license": _LICENSE})
    # What is shipped is what looks: the weights as they are after rounding.
    net.load_state_dict(halves)
    pictures = Pictures.load(work_dir)
    chosen = pictures.for_pretraining * _PLACEMENTS
    names = [picture.name for picture in chosen]
    means = block_means(prepared(net), draw(pictures, chosen, random.Random(0)))
    whitening = WithinNames.of(means, names).whitening(CHOSEN_BLOCKS, SHRINKAGE)
    told = {BLOCKS: json.dumps(whitening.blocks), "shrinkage": str(SHRINKAGE)}
    save_file({"mean": whitening.mean, "matrix": whitening.matrix}, folder / WHITENING, metadata=told)
    labels, points = centroids(whitening(means), names)
    save_file({Head.WHAT.value: points.half()}, folder / PROTOTYPES, metadata={Head.WHAT.value: json.dumps(labels)})
    for name in (NETWORK, WHITENING, PROTOTYPES):
        # Safetensors makes its files the owner's alone; a container reads them as another user.
        (folder / name).chmod(0o644)


@dataclass(frozen=True)
class WithinNames:
    """How pictures of one name differ. `mean`: (channels,), over names; `covariance`: about each name's own mean."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, means: Tensor, names: Sequence[str]) -> "WithinNames":
        """`means`: (n, all channels), as `block_means` gives them; `names`: what each picture shows."""
        features = means.double()
        labels = {name: place for place, name in enumerate(sorted(set(names)))}
        index = torch.tensor([labels[name] for name in names])
        counts = index.bincount().unsqueeze(1)
        centres = (
            torch.zeros(len(labels), features.shape[1], dtype=torch.double).index_add_(0, index, features) / counts
        )
        away = features - centres[index]
        return cls(centres.mean(0), away.T @ away / (len(features) - len(labels)))

    def whitening(self, blocks: Sequence[int], shrinkage: float) -> Whitening:
        """What makes those differences alike in every direction.

        The correlations are shrunk by `shrinkage` (Schaefer and Strimmer 2005, target D); the inverse of the Cholesky
        factor maps what is left to the identity.
        """
        chosen = columns(blocks)
        covariance = self.covariance[chosen][:, chosen]
        # A channel that is the same in all pictures of a name says nothing.
        spread = covariance.diagonal().sqrt().clamp(min=1e-6)
        correlation = covariance / spread.outer(spread)
        shrunk = (1 - shrinkage) * correlation + shrinkage * torch.eye(len(spread), dtype=torch.double)
        matrix = (torch.linalg.inv(torch.linalg.cholesky(shrunk)) / spread).contiguous()
        return Whitening(tuple(blocks), self.mean[chosen].float(), matrix.float())
