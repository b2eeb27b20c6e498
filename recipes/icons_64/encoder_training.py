"""Stages `encoder` and `encoder-style`: train the yardstick on real icons of the pretraining names and sets alone.

First the trunk and its *what* head: pictures of one name belong together whatever the set, the background, the place.
Then, on the trunk as it is, the *how* head: pictures of one set belong together whatever they show.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.encoder_augmentation import Filter, draw_backgrounds, place, restyle, spoil
from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.pictures import Pixels
from recipes.icons_64.precision import mixed_precision
from recipes.icons_64.training import Run, Schedule
from worker.evaluation.encoders.icons import DIMENSIONS, IconNet, Trunk

THINGS = "encoder"
STYLES = "encoder-style"
_NAMES_PER_BATCH = 64
_PICTURES_PER_NAME = 4
_BATCH = _NAMES_PER_BATCH * _PICTURES_PER_NAME
_NAME_TEMPERATURE = 0.1
_STYLE_TEMPERATURE = 0.07
_MUON_LEARNING_RATE = 0.02
_ADAM_LEARNING_RATE = 2e-3
_STYLE_WEIGHT_DECAY = 0.05
_EMA_DECAY = 0.995
# Most of a batch looks as its sets draw it; the rest is redrawn, each half by one random filter.
_REDRAWN = 1 / 4
_REDRAWINGS = 2
# Between the size at which the icons are placed and the rasters' own; two, so that edges come softer and sharper.
_SIDES = (64, 96)


class ThingLearner(nn.Module):
    """The trunk and the *what* head, and one learnable proxy on the sphere per name."""

    def __init__(self, names: int) -> None:
        super().__init__()
        net = IconNet()
        self.trunk, self.what = net.trunk, net.what
        self.proxies = nn.Parameter(torch.randn(names, DIMENSIONS))


class StyleLearner(nn.Module):
    """The *how* head, and one learnable proxy per style."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.how = IconNet().how
        # Of norm 1: Adam's steps are of one size, and would take thousands of them to turn a longer one.
        self.proxies = nn.Parameter(F.normalize(torch.randn(styles, DIMENSIONS), dim=1))


def contrastive_loss(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
    """Supervised contrast (Khosla et al. 2020, arXiv 2004.11362) with one learnable proxy per class in the comparison.

    The proxies (as in PaCo, Cui et al. 2021, arXiv 2107.12028) bring every class into each step, however small the
    batch. `embeddings`: (n, d) of unit norm; `labels`: (n,) classes; `proxies`: (classes, d), of any norm.
    """
    others = torch.cat([embeddings, F.normalize(proxies, dim=1)])
    other_labels = torch.cat([labels, torch.arange(len(proxies), device=labels.device)])
    itself = torch.eye(len(labels), len(others), dtype=torch.bool, device=labels.device)
    scores = (embeddings @ others.T / _NAME_TEMPERATURE).masked_fill(itself, -torch.inf)
    alike = (labels.unsqueeze(1) == other_labels) & ~itself
    chances = scores.log_softmax(dim=1).masked_fill(~alike, 0.0)
    return -(chances.sum(1) / alike.sum(1)).mean()


def proxy_loss(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
    """Contrast with the proxies alone (Zhai and Wu 2019, arXiv 1811.12649): with few classes they say it all.

    `embeddings`: (n, d) of unit norm; `labels`: (n,) classes; `proxies`: (classes, d), of any norm.
    """
    return F.cross_entropy(embeddings @ F.normalize(proxies, dim=1).T / _STYLE_TEMPERATURE, labels)


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


def redraw(raster: Pixels, style: Filter) -> Pixels:
    """(h, w, 4) uint8 RGBA -> (96, 96, 4): the icon as training redraws it, not premultiplied."""
    premultiplied = restyle(shrink(torch.tensor(raster[None]))[_SIDES[-1]].float().div(255), style)
    colour, alpha = premultiplied[:, :3], premultiplied[:, 3:]
    straight = torch.cat([colour / alpha.clamp(min=1 / 255), alpha], dim=1).clamp(0, 1)
    return straight[0].permute(1, 2, 0).mul(255).round().byte().numpy()


@dataclass(frozen=True)
class ThingObjective:
    """The loss of one step of the trunk and the *what* head, with all that it draws from."""

    learner: ThingLearner
    bank: IconBank
    device: torch.device
    seed: int

    def __call__(self, step: int) -> Tensor:
        batch = Batch.draw(self.bank, hash((self.seed, step)), self.device)
        with mixed_precision(self.device):
            shape, _ = self.learner.trunk(batch.pixels)
            embeddings = self.learner.what(shape)
        return contrastive_loss(F.normalize(embeddings.float(), dim=1), batch.names, self.learner.proxies)


@dataclass(frozen=True)
class StyleObjective:
    """The loss of one step of the *how* head alone, over a trunk that stays as it is."""

    learner: StyleLearner
    trunk: Trunk
    bank: IconBank
    device: torch.device
    seed: int

    def __call__(self, step: int) -> Tensor:
        batch = Batch.draw(self.bank, hash((self.seed, step)), self.device)
        with torch.no_grad(), mixed_precision(self.device):
            _, texture = self.trunk(batch.pixels)
        embeddings = F.normalize(self.learner.how(texture.float(), batch.pixels), dim=1)
        return proxy_loss(embeddings, batch.styles, self.learner.proxies)


@dataclass(frozen=True)
class Batch:
    """`pixels`: (n, 3, 64, 64) in -1 to 1; `names`, `styles`: the classes, (n,)."""

    pixels: Tensor
    names: Tensor
    styles: Tensor

    @classmethod
    def draw(cls, bank: IconBank, seed: int, device: torch.device) -> "Batch":
        generator = torch.Generator().manual_seed(seed)
        rows = bank.draw_rows(generator)
        pixels, styles = draw_pictures(bank, rows, generator)
        return cls(pixels.mul(2).sub(1).to(device), bank.names[rows].to(device), styles.to(device))


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


def train_things(work_dir: Path, schedule: Schedule, device: torch.device, seed: int = 0) -> None:
    """Stage `encoder`: train, or go on training, to the schedule's end."""
    run, objective = prepare_things(_bank(work_dir), work_dir, schedule, device, seed)
    run.train(objective)


def train_styles(work_dir: Path, schedule: Schedule, device: torch.device, seed: int = 0) -> None:
    """Stage `encoder-style`: the same for the *how* head, on the trunk of the other's last checkpoint."""
    run, objective = prepare_styles(_bank(work_dir), work_dir, schedule, device, seed)
    run.train(objective)


def _bank(work_dir: Path) -> IconBank:
    pictures = Pictures.load(work_dir)
    return IconBank.build(pictures, pictures.for_encoder)


def prepare_things(
    bank: IconBank, folder: Path, schedule: Schedule, device: torch.device, seed: int = 0
) -> tuple[Run, ThingObjective]:
    """A run, new or from its checkpoint in `folder`, and the loss of its steps."""
    torch.manual_seed(seed)
    learner = ThingLearner(len(bank.rows_of_name)).to(device)
    adam_only = [*learner.what.parameters(), learner.proxies]
    optimizers = split_optimizers(learner, _MUON_LEARNING_RATE, _ADAM_LEARNING_RATE, adam_only)
    run = Run(learner, optimizers, schedule, folder, THINGS, _BATCH, ema_decays=(_EMA_DECAY,))
    return run, ThingObjective(learner, bank, device, seed)


def prepare_styles(
    bank: IconBank, folder: Path, schedule: Schedule, device: torch.device, seed: int = 0
) -> tuple[Run, StyleObjective]:
    """The same for the *how* head."""
    torch.manual_seed(seed)
    trunk = Trunk()
    trunk.load_state_dict(_averaged(folder, THINGS, "trunk."))
    learner = StyleLearner(bank.styles).to(device)
    optimizer = torch.optim.AdamW(learner.parameters(), _ADAM_LEARNING_RATE, weight_decay=_STYLE_WEIGHT_DECAY)
    run = Run(learner, [optimizer], schedule, folder, STYLES, _BATCH, ema_decays=(_EMA_DECAY,))
    return run, StyleObjective(learner, trunk.to(device).eval().requires_grad_(False), bank, device, seed)


def load(work_dir: Path) -> IconNet:
    """The averaged weights of both last checkpoints."""
    net = IconNet()
    net.trunk.load_state_dict(_averaged(work_dir, THINGS, "trunk."))
    net.what.load_state_dict(_averaged(work_dir, THINGS, "what."))
    net.how.load_state_dict(_averaged(work_dir, STYLES, "how."))
    return net.eval()


def _averaged(folder: Path, name: str, prefix: str) -> dict[str, Tensor]:
    average: dict[str, Tensor] = torch.load(folder / f"{name}.pt", weights_only=True)["averages"][0]
    return {key.removeprefix(prefix): tensor for key, tensor in average.items() if key.startswith(prefix)}
