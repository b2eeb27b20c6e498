"""Stage `data`: every picture of every set as an RGBA raster, and an index that says what each one is."""

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.progress import track

from recipes.icons_64.icon_sets import HELD_OUT_SETS, NAMING_SETS, PRETRAINING_SETS, read_sets
from recipes.icons_64.names import shared_names
from recipes.icons_64.pictures import RASTER, Pixels, rasterise
from recipes.icons_64.split import Split, class_nouns, load_split

# Outside of any checkout, so that a run outlives it; XDG_CACHE_HOME moves it.
WORK_DIR = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "palimpsest" / "icons-64"
_RASTERS = "rasters.npy"
_INDEX = "index.json"


@dataclass(frozen=True)
class Picture:
    """One icon: the name of its set, its own plain name, and its row in the array of rasters."""

    set_name: str
    name: str
    row: int


@dataclass(frozen=True)
class Pictures:
    """All rasters, (n, 128, 128, 4) uint8, mapped from the disk, and what they show."""

    rasters: Pixels
    index: list[Picture]

    @classmethod
    def load(cls, folder: Path) -> "Pictures":
        index = [Picture(**row) for row in json.loads((folder / _INDEX).read_text())]
        return cls(np.load(folder / _RASTERS, mmap_mode="r"), index)

    @cached_property
    def for_pretraining(self) -> list[Picture]:
        """The only pictures that the autoencoder and the generator may train on."""
        return pretraining_pictures(self.index, load_split())

    @cached_property
    def for_encoder(self) -> list[Picture]:
        """What the embedded encoders were trained on: the known names in the sets that gave the names."""
        names, sets = load_split().held_out_names, {icon_set.name for icon_set in NAMING_SETS}
        return [picture for picture in self.index if picture.name not in names and picture.set_name in sets]

    @cached_property
    def for_generator(self) -> list[Picture]:
        """What the text encoder and the UNet learn: the 454 things that all seven sets draw, with a class.

        So each pair of a name and a set has its picture. 193 more names have one in the five pretraining sets; with
        them each picture would be seen a third less often in the same time, which is too seldom for shapes.
        """
        sets = {icon_set.name for icon_set in (*PRETRAINING_SETS, *NAMING_SETS)}
        sets_of = Counter(picture.name for picture in self.index if picture.set_name in sets)
        known = {name for name, count in sets_of.items() if count == len(sets)} & class_nouns().keys()
        return [picture for picture in self.for_pretraining if picture.name in known]

    @cached_property
    def of_held_out_sets(self) -> list[Picture]:
        held_out = {icon_set.name for icon_set in HELD_OUT_SETS}
        return [picture for picture in self.index if picture.set_name in held_out]

    @cached_property
    def of_held_out_names(self) -> list[Picture]:
        """In the sets that pretraining saw, the names that it did not see."""
        names, sets = load_split().held_out_names, {icon_set.name for icon_set in PRETRAINING_SETS}
        return [picture for picture in self.index if picture.name in names and picture.set_name in sets]


def pretraining_pictures(index: list[Picture], split: Split) -> list[Picture]:
    """Without the held-out names, in every set, and without the held-out sets."""
    return [p for p in index if p.name not in split.held_out_names and p.set_name not in split.held_out_sets]


def prepare(folder: Path) -> None:
    """Fetch, rasterise and index; does nothing when that was done before."""
    if (folder / _INDEX).exists():
        return
    sets = read_sets(folder / "packs")
    names = shared_names([sets[icon_set.name] for icon_set in NAMING_SETS])
    chosen = [
        (icon_set.name, icon)
        for icon_set in PRETRAINING_SETS + HELD_OUT_SETS
        for icon in sets[icon_set.name]
        if icon.code_points in names
    ]
    rasters = np.lib.format.open_memmap(folder / _RASTERS, "w+", np.uint8, (len(chosen), RASTER, RASTER, 4))
    for row, (_, icon) in enumerate(track(chosen, description="rasterise")):
        rasters[row] = rasterise(icon.svg)
    rasters.flush()
    index = [asdict(Picture(name, names[icon.code_points], row)) for row, (name, icon) in enumerate(chosen)]
    # The index comes last: where it is, the rasters are whole.
    (folder / _INDEX).write_text(json.dumps(index))
