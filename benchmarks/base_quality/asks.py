"""What the base is asked to draw: pretrained names, in pretrained sets, on the twelve backgrounds."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from recipes.icons_64.captions import SET_NOUNS, article
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.pictures import Placement, compose
from worker.evaluation.colours import BACKGROUNDS

NAMES_FILE = Path(__file__).parent / "names.json"


@dataclass(frozen=True)
class Ask:
    """A thing, the set that is to draw it, and the background's colour."""

    set_name: str
    name: str
    background: str

    @property
    def prompt(self) -> str:
        where = f"on {article(self.background)} background"
        return f"{article(SET_NOUNS[self.set_name])} icon of {article(self.name)} {where}"


def known_names(icons: Pictures | None, file: Path = NAMES_FILE) -> list[str]:
    """The names that the base was trained to draw, sorted: from the icons, which write the file, or from that file."""
    if icons is None:
        names: list[str] = json.loads(file.read_text(encoding="utf-8"))
        return names
    found = sorted({picture.name for picture in icons.for_generator})
    file.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    return found


def draw_asks(names: Sequence[str], count: int, seed: int) -> list[Ask]:
    """Names, sets and colours, each drawn by itself; every set draws every name that the base knows."""
    generator = random.Random(f"asks {seed}")
    sets, colours = list(SET_NOUNS), list(BACKGROUNDS)
    return [Ask(generator.choice(sets), generator.choice(names), generator.choice(colours)) for _ in range(count)]


def draw_real(pictures: Pictures, rows: Sequence[Picture], count: int, seed: int) -> list[tuple[Ask, Image.Image]]:
    """Real pictures, of `rows` at random, at places and sizes that pretraining did not draw, and what they show."""
    generator = random.Random(f"real {seed}")
    drawn = []
    for _ in range(count):
        picture = generator.choice(rows)
        ask = Ask(picture.set_name, picture.name, generator.choice(list(BACKGROUNDS)))
        drawn.append((ask, place(pictures, picture, ask.background, generator)))
    return drawn


def place(pictures: Pictures, picture: Picture, background: str, generator: random.Random) -> Image.Image:
    """The picture at a random place and size on that background."""
    return Image.fromarray(compose(pictures.rasters[picture.row], Placement.draw(generator, background)))
