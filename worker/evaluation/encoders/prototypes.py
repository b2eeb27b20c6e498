"""What each pretrained name and each set looks like to the embedded encoder: real pictures, as points."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F

from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.icons import FOLDER, Head

FILE = "prototypes.safetensors"


@dataclass(frozen=True)
class Prototypes:
    """`points`: (n, d) fp32 of unit norm, the mean embedding of each label's pictures; `labels`: n names."""

    labels: tuple[str, ...]
    points: Tensor

    def nearest(self, embeddings: Tensor, count: int = 1) -> list[tuple[str, ...]]:
        """For each row of (m, d), the `count` labels with the largest cosine, the nearest first."""
        ranked = (embeddings @ self.points.T).topk(count, dim=1).indices
        return [tuple(self.labels[index] for index in row) for row in ranked.tolist()]


def load_prototypes(head: Head, folder: Path = FOLDER) -> Prototypes:
    """The pretrained names (`what`) or the pretrained sets (`how`), as the shipped encoder sees their real pictures.

    Raises:
        EncoderError: they are not there, or unreadable.
    """
    try:
        with safe_open(folder / FILE, "pt") as stored:
            points: Tensor = stored.get_tensor(head)
            labels = json.loads(stored.metadata()[head])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"The prototypes in {folder.name!r} cannot be loaded.") from error
    return Prototypes(tuple(labels), F.normalize(points.to(torch.float32), dim=1))
