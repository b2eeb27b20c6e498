"""The committed split: which names and which sets pretraining never sees, decided before any training.

120 names are held out in every set: 40 to tune training options on, 40 to search strategies on, 40 to confirm on, once.
The held-out sets are the styles to learn. Of each procedural redrawing 40 names stay unseen, which tells whether its
word is understood apart from the things. The file was drawn once and is not drawn again.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
SPLIT_FILE = _FOLDER / "split.json"
_PER_PART = 40

# Kinds of thing where each name is a small change of the next one: holding one out would hold nothing out.
_CLASSES_OF_TWINS = {"face", "heart", "hand", "person", "planet", "medal", "key", "household item", "weather", "box"}
# Names with a twin that pretraining sees, and names that are themselves a word for a class.
_WITH_A_TWIN = (
    "bird|fish|robot|drum|bell|pen|dog|cat|horse|cow|mouse|pig|rabbit|tiger|monkey|dragon|train|house|clock|tram|bus"
    "|taxi|automobile|police car|mushroom|oncoming bus|oncoming taxi|oncoming automobile|oncoming police car|tram car"
    "|green apple|red apple|black cat|service dog|guide dog|brown mushroom|chicken|baby chick|hatching chick|tulip"
    "|front facing baby chick|whale|spouting whale|camel|two hump camel|closed book|green book|blue book|orange book"
    "|beer mug|clinking beer mugs|high speed train|bullet train|camera|camera with flash|houses|house with garden"
    "|post office|japanese post office|airplane|small airplane|airplane departure|airplane arrival|optical disk|dvd"
    "|computer disk|telephone receiver|telephone|hourglass done|hourglass not done|hotel|love hotel|hammer and pick"
    "|hammer and wrench|hammer|wrench|pick|bouquet|wine glass|clinking glasses|notebook|spiral notepad|microphone"
    "|studio microphone|speedboat|motor boat|bear|polar bear|boar|cow face|alien|alien monster|plant|flower|black bird"
    "|dove|mosque|railway car|light rail|metro|running shirt|video camera|movie camera|postbox|envelope"
)
_NOT_HELD_OUT = frozenset(_WITH_A_TWIN.split("|"))


@dataclass(frozen=True)
class Split:
    """Each part maps a held-out name to its class noun; `unseen_combinations` maps a redrawing to names."""

    tuning: dict[str, str]
    search: dict[str, str]
    confirmation: dict[str, str]
    held_out_sets: list[str]
    unseen_combinations: dict[str, list[str]]

    @property
    def held_out_names(self) -> frozenset[str]:
        return frozenset({**self.tuning, **self.search, **self.confirmation})

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


@cache
def load_split() -> Split:
    return Split(**json.loads(SPLIT_FILE.read_text()))


@cache
def class_nouns() -> Mapping[str, str]:
    """Name -> class noun ("pineapple" -> "fruit"), for the names that have a plain one."""
    classes: dict[str, str] = json.loads((_FOLDER / "classes.json").read_text())
    return {name: noun for noun, names in classes.items() for name in names.split(", ")}


def draw_split(
    counts: Mapping[str, int],
    held_out_sets: list[str],
    known_names: Sequence[str],
    redrawings: Sequence[str],
    seed: int = 0,
) -> Split:
    """Draw the parts evenly over the classes. `counts`: name -> in how many of the pretraining sets it is."""
    by_class: dict[str, list[str]] = {}
    for name, noun in sorted(class_nouns().items()):
        if counts.get(name, 0) >= 4 and noun not in _CLASSES_OF_TWINS and name not in _NOT_HELD_OUT:
            by_class.setdefault(noun, []).append(name)
    generator = random.Random(seed)
    for names in by_class.values():
        generator.shuffle(names)
    drawn: list[tuple[str, str]] = []
    while len(drawn) < 3 * _PER_PART:
        # One of each class in turn, but never more than half of a class: the noun has to stay known.
        for noun, names in by_class.items():
            if names and sum(noun == other for _, other in drawn) < len(names):
                drawn.append((names.pop(), noun))
    drawn = drawn[: 3 * _PER_PART]
    generator.shuffle(drawn)
    tuning, search, confirmation = (dict(sorted(drawn[part::3])) for part in range(3))
    return Split(tuning, search, confirmation, held_out_sets, draw_combinations(known_names, redrawings, seed))


def draw_combinations(known_names: Sequence[str], redrawings: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """Of each redrawing, the names that the generator never sees under it: disjoint where there are enough."""
    names = sorted(known_names)
    random.Random(seed).shuffle(names)
    return {style: sorted(names[i * _PER_PART : (i + 1) * _PER_PART]) for i, style in enumerate(redrawings)}
