"""Stage `encoder-export`: the trained encoder's weights and prototypes, as Palimpsest ships them."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.encoder_training import load
from recipes.icons_64.pictures import Placement, compose
from worker.evaluation.colours import BACKGROUNDS
from worker.evaluation.encoders.icons import WEIGHTS, Head, load_icons
from worker.evaluation.encoders.prototypes import FILE

_PLACEMENTS = 2
_LICENSE = "Apache-2.0; trained on the icon sets that NOTICE lists under 1"


def export(work_dir: Path, folder: Path) -> None:
    """Write fp16 weights, then the prototypes that they give."""
    net = load(work_dir).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in net.items()}
    save_file(halves, folder / WEIGHTS, metadata={"license": _LICENSE})
    save_prototypes(Pictures.load(work_dir), folder)
    for name in (WEIGHTS, FILE):
        # Safetensors makes its files the owner's alone; a container reads them as another user.
        (folder / name).chmod(0o644)


def save_prototypes(pictures: Pictures, folder: Path) -> None:
    """Of every pretraining name under `what` and every pretraining set under `how`, from two pictures of each icon."""
    chosen = pictures.for_encoder * _PLACEMENTS
    images = draw(pictures, chosen, random.Random(0))
    points, labels = {}, {}
    label_of: dict[Head, Callable[[Picture], str]] = {Head.WHAT: lambda p: p.name, Head.HOW: lambda p: p.set_name}
    for head, read in label_of.items():
        embeddings = load_icons(head, torch.device("cpu"), folder).embed(images)
        names, means = centroids(embeddings, [read(picture) for picture in chosen])
        points[head.value], labels[head.value] = means.half(), json.dumps(names)
    save_file(points, folder / FILE, metadata=labels)


def draw(pictures: Pictures, chosen: Sequence[Picture], generator: random.Random) -> list[Image.Image]:
    """Each of the chosen at a random place on one of the named backgrounds, as the generator's training shows it."""
    colours = list(BACKGROUNDS)
    return [
        Image.fromarray(compose(pictures.rasters[p.row], Placement.draw(generator, generator.choice(colours))))
        for p in chosen
    ]


def centroids(embeddings: Tensor, labels: Sequence[str]) -> tuple[list[str], Tensor]:
    """(n, d) and n labels -> the distinct labels in order, and (labels, d) of unit norm."""
    names = sorted(set(labels))
    index = torch.tensor([names.index(label) for label in labels])
    sums = torch.zeros(len(names), embeddings.shape[1]).index_add_(0, index, embeddings)
    return names, F.normalize(sums, dim=1)
