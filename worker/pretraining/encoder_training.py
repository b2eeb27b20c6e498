"""Stage `encoder`: train the yardstick, contrastively, on real icons of the pretraining names and sets alone.

Two losses share one trunk: pictures of one name belong together whatever the set, the background, the place (*what*),
and pictures of one set belong together whatever they show (*how*).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.evaluation.encoders.icons import DIMENSIONS, Head, IconNet
from worker.pretraining.data import Picture, Pictures
from worker.pretraining.encoder_augmentation import Filter, draw_backgrounds, place, restyle, spoil
from worker.pretraining.optimizers import split_optimizers
from worker.pretraining.training import Run, Schedule

NAME = "encoder"
_NAMES_PER_BATCH = 64
_PICTURES_PER_NAME = 4
_BATCH = _NAMES_PER_BATCH * _PICTURES_PER_NAME
_TEMPERATURE = 0.07
_MUON_LEARNING_RATE = 0.02
_ADAM_LEARNING_RATE = 2e-3
_EMA_DECAY = 0.995
# Most of a batch looks as its sets draw it; the rest is redrawn, each third by one random filter.
_REDRAWN = 3 / 8
_REDRAWINGS = 3
# Between the size at which the icons are placed and the rasters' own; two, so that edges come softer and sharper.
_SIDES = (64, 96)


class Learner(nn.Module):
    """The net, and one learnable proxy on the sphere per name and per style."""

    def __init__(self, names: int, styles: int) -> None:
        super().__init__()
        self.net = IconNet()
        # Of norm 1: Adam's steps are of one size, and would take thousands of them to turn a longer one.
        self.proxies = nn.ParameterDict(
            {
                Head.WHAT: F.normalize(torch.randn(names, DIMENSIONS), dim=1),
                Head.HOW: F.normalize(torch.randn(styles, DIMENSIONS), dim=1),
            }
        )


def contrastive_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Supervised contrast within the batch (Khosla et al. 2020, arXiv 2004.11362).

    `embeddings`: (n, d) of unit norm; `labels`: (n,). A picture alone of its label has nothing to be pulled to.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    alike = (labels.unsqueeze(1) == labels) & ~itself
    chances = (embeddings @ embeddings.T / _TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(dim=1)
    per_picture = -chances.masked_fill(~alike, 0.0).sum(1) / alike.sum(1).clamp(min=1)
    return per_picture.mean()


def proxy_loss(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
    """Contrast with one learnable point per class (Zhai and Wu 2019, arXiv 1811.12649).

    It brings every class into each step, however small the batch. `embeddings`: (n, d) of unit norm; `labels`: (n,)
    classes; `proxies`: (classes, d), of any norm.
    """
    return F.cross_entropy(embeddings @ F.normalize(proxies, dim=1).T / _TEMPERATURE, labels)


@dataclass(frozen=True)
class IconBank:
    """Every picture to train on in memory: (n, 4, side, side) uint8 premultiplied RGBA per side; labels (n,)."""

    icons: dict[int, Tensor]
    names: Tensor
    sets: Tensor
    rows_of_name: list[Tensor]

    @classmethod
    def build(cls, pictures: Pictures, chosen: list[Picture]) -> "IconBank":
        all_names = sorted({picture.name for picture in chosen})
        all_sets = sorted({picture.set_name for picture in chosen})
        names = torch.tensor([all_names.index(picture.name) for picture in chosen])
        sets = torch.tensor([all_sets.index(picture.set_name) for picture in chosen])
        rows = torch.tensor([picture.row for picture in chosen])
        parts = [shrink(torch.from_numpy(pictures.rasters[part.numpy()])) for part in rows.split(256)]
        icons = {side: torch.cat([part[side] for part in parts]) for side in _SIDES}
        return cls(icons, names, sets, [(names == index).nonzero().squeeze(1) for index in range(len(all_names))])

    @property
    def styles(self) -> int:
        """Every set in every redrawing is a style of its own."""
        return (int(self.sets.max()) + 1) * len(Filter)

    def draw_rows(self, generator: torch.Generator) -> Tensor:
        """(256,) rows in random order: 64 names, 4 pictures of each, of any of the sets that have it."""
        chosen = torch.randperm(len(self.rows_of_name), generator=generator)[:_NAMES_PER_BATCH]
        rows = []
        for name in chosen.tolist():
            own = self.rows_of_name[name]
            rows.append(own[torch.randint(len(own), (_PICTURES_PER_NAME,), generator=generator)])
        drawn = torch.cat(rows)
        return drawn[torch.randperm(len(drawn), generator=generator)]


def shrink(rasters: Tensor) -> dict[int, Tensor]:
    """(n, h, w, 4) uint8 RGBA -> premultiplied, (n, 4, side, side) uint8 for each side."""
    straight = rasters.permute(0, 3, 1, 2).float().div(255)
    premultiplied = torch.cat([straight[:, :3] * straight[:, 3:], straight[:, 3:]], dim=1)
    return {
        side: F.interpolate(premultiplied, size=(side, side), mode="bilinear", antialias=True).mul(255).round().byte()
        for side in _SIDES
    }


@dataclass(frozen=True)
class Objective:
    """The loss of one step, with all that it draws from."""

    learner: Learner
    bank: IconBank
    device: torch.device
    seed: int

    def __call__(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, step)))
        rows = self.bank.draw_rows(generator)
        pixels, styles = draw_pictures(self.bank, rows, generator)
        with torch.autocast(self.device.type, torch.bfloat16):
            embeddings = self.learner.net(pixels.to(self.device).mul(2).sub(1))
        labels = {Head.WHAT: self.bank.names[rows].to(self.device), Head.HOW: styles.to(self.device)}
        loss = torch.zeros((), device=self.device)
        for head in Head:
            loss = loss + contrastive_loss(embeddings[head], labels[head])
            loss = loss + proxy_loss(embeddings[head], labels[head], self.learner.proxies[head])
        return loss


def draw_pictures(bank: IconBank, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The pictures of these rows, (n, 3, 64, 64) in 0 to 1, and the style of each, (n,)."""
    side = _SIDES[int(torch.randint(len(_SIDES), (1,), generator=generator))]
    icons = bank.icons[side][rows].float().div(255)
    filters = list(Filter)
    redrawn = torch.zeros(len(rows), dtype=torch.long)
    for part in torch.arange(int(len(rows) * _REDRAWN)).chunk(_REDRAWINGS):
        choice = int(torch.randint(1, len(filters), (1,), generator=generator))
        redrawn[part] = choice
        icons[part] = restyle(icons[part], filters[choice])
    pixels = place(icons, draw_backgrounds(len(rows), generator), generator)
    # The redrawn come first, so that spoiling wants another order.
    order = torch.randperm(len(rows), generator=generator)
    spoiled = torch.empty_like(pixels)
    spoiled[order] = spoil(pixels[order], generator)
    return spoiled, bank.sets[rows] * len(filters) + redrawn


def train(work_dir: Path, schedule: Schedule, device: torch.device, seed: int = 0) -> None:
    """Train, or go on training, to the schedule's end."""
    pictures = Pictures.load(work_dir)
    bank = IconBank.build(pictures, pictures.for_pretraining)
    train_on(bank, work_dir, schedule, device, seed)


def train_on(bank: IconBank, folder: Path, schedule: Schedule, device: torch.device, seed: int = 0) -> Run:
    torch.manual_seed(seed)
    learner = Learner(len(bank.rows_of_name), bank.styles).to(device)
    last = (learner.net.what, learner.net.how, learner.proxies)
    adam_only = [parameter for module in last for parameter in module.parameters()]
    optimizers = split_optimizers(learner, _MUON_LEARNING_RATE, _ADAM_LEARNING_RATE, adam_only)
    run = Run(learner, optimizers, schedule, folder, NAME, _BATCH, ema_decay=_EMA_DECAY)
    run.train(Objective(learner, bank, device, seed))
    return run
