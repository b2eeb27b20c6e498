"""Stage `samples`: the image sets that the demo and the tests upload. None of them was seen in pretraining.

Objects: an icon of the tuning split, at several places and sizes and on several backgrounds. Styles: pictures of
pretrained names drawn by a held-out set, or redrawn by a filter that the generator never saw. Only sets whose licence
allows their pictures in this repository.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from recipes.icons_64.encoder_augmentation import Filter
from recipes.icons_64.encoder_training import redraw
from recipes.icons_64.icon_sets import HELD_OUT_SETS, NAMING_SETS, read_sets
from recipes.icons_64.names import shared_names
from recipes.icons_64.pictures import Placement, compose, rasterise
from recipes.icons_64.split import load_split

RESOLUTION = 256
_LICENSES = {icon_set.name: icon_set.license for icon_set in NAMING_SETS + HELD_OUT_SETS}


@dataclass(frozen=True)
class SampleSet:
    """`names`: the icons shown, one for an object; `backgrounds`: one picture each; `filter`: how it is redrawn."""

    name: str
    kind: str
    source_set: str
    names: tuple[str, ...]
    backgrounds: tuple[str, ...]
    filter: Filter = Filter.NONE

    @property
    def class_noun(self) -> str | None:
        return load_split().tuning[self.names[0]] if self.kind == "object" else None


_MIXED = ("blue", "yellow", "grey", "white", "green", "purple")
SAMPLE_SETS = (
    SampleSet("my-butterfly", "object", "noto", ("butterfly",), ("white", "yellow", "green", "grey", "pink")),
    SampleSet("my-cactus", "object", "twemoji", ("cactus",), ("white", "orange", "blue", "pink", "grey")),
    SampleSet("my-duck", "object", "noto", ("duck",), ("white", "blue", "yellow", "red", "grey")),
    SampleSet("my-guitar", "object", "noto", ("guitar",), ("white", "blue", "green", "yellow", "grey")),
    SampleSet("my-lion", "object", "twemoji", ("lion",), ("white", "blue", "green", "purple", "grey")),
    SampleSet("my-peach", "object", "fluent-emoji-flat", ("peach",), ("white", "blue", "green", "purple", "grey")),
    SampleSet("my-rocket", "object", "fluent-emoji-flat", ("rocket",), ("yellow", "blue", "green", "orange", "black")),
    SampleSet("my-shoe", "object", "twemoji", ("mans shoe",), ("white", "yellow", "green", "pink", "grey")),
    SampleSet("fx-drawing", "style", "fxemoji", ("pineapple", "penguin", "camera", "ambulance", "panda"), _MIXED[:5]),
    SampleSet(
        "ink-drawing",
        "style",
        "fluent-emoji-flat",
        ("pineapple", "penguin", "bus", "castle", "rabbit face"),
        ("white", "yellow", "orange", "pink", "green"),
        Filter.INK,
    ),
)


def draw(work_dir: Path, folder: Path, seed: int = 0) -> None:
    """Write the pictures, `samples.json` and `LICENSES.md` into `folder`."""
    sets = read_sets(work_dir / "packs")
    names = shared_names([sets[icon_set.name] for icon_set in NAMING_SETS])
    for sample_set in SAMPLE_SETS:
        svgs = {names[icon.code_points]: icon.svg for icon in sets[sample_set.source_set] if icon.code_points in names}
        _draw_set(sample_set, svgs, folder / sample_set.name, random.Random(f"{seed} {sample_set.name}"))
    rows = [
        {
            "name": sample_set.name,
            "kind": sample_set.kind,
            "class_noun": sample_set.class_noun,
            "folder": sample_set.name,
            "source_set": sample_set.source_set,
            "license": _LICENSES[sample_set.source_set],
        }
        for sample_set in SAMPLE_SETS
    ]
    (folder / "samples.json").write_text(json.dumps(rows, indent=2) + "\n")
    (folder / "LICENSES.md").write_text(_licenses())


def _draw_set(sample_set: SampleSet, svgs: Mapping[str, str], folder: Path, generator: random.Random) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, background in enumerate(sample_set.backgrounds):
        name = sample_set.names[index % len(sample_set.names)]
        raster = rasterise(svgs[name], 2 * RESOLUTION)
        if sample_set.filter is not Filter.NONE:
            raster = redraw(raster, sample_set.filter)
        pixels = compose(raster, Placement.draw(generator, background), RESOLUTION)
        Image.fromarray(pixels).save(folder / f"{index}-{name.replace(' ', '-')}-on-{background}.png", optimize=True)


def _licenses() -> str:
    lines = [
        "# Licences of the sample pictures",
        "",
        "Each picture is an icon of the set named here, rasterised and placed on a coloured background by",
        "`python -m recipes.icons_64 samples`. Those of `ink-drawing` are also redrawn in black. Authors: `NOTICE`.",
        "",
        "| folder | icon set | licence | icons |",
        "| --- | --- | --- | --- |",
    ]
    rows = (f"| `{s.name}` | {s.source_set} | {_LICENSES[s.source_set]} | {', '.join(s.names)} |" for s in SAMPLE_SETS)
    return "\n".join([*lines, *rows]) + "\n"
