"""The image sets in `samples/`, and how a prompt speaks of what they show."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from demo.errors import DemoError

FOLDER = Path(__file__).parent.parent / "samples"


class Sample(BaseModel):
    """One image set, as `samples.json` describes it."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    class_noun: str | None
    folder: str

    @property
    def images(self) -> list[Path]:
        """Its pictures, in order."""
        return sorted((FOLDER / self.folder).glob("*.png"))

    def prompt(self, *, is_taught: bool) -> str:
        """The one prompt of this concept; a version that has not learned it gets what it can know, the class alone."""
        if self.kind == "style":
            return f"<{self.name}> image of a cat" if is_taught else "image of a cat"
        return f"a photo of <{self.name}>" if is_taught else f"a photo of {self.class_noun}"


def first_two_objects(samples: Sequence[Sample]) -> tuple[Sample, Sample] | None:
    """What is asked for in one picture, if there are two."""
    objects = [sample for sample in samples if sample.kind == "object"]
    return (objects[0], objects[1]) if len(objects) > 1 else None


def load_samples(names: Sequence[str]) -> tuple[Sample, ...]:
    """The samples of these names, in this order.

    Raises:
        DemoError: no set has that name.
    """
    known = {s.name: s for s in TypeAdapter(list[Sample]).validate_json((FOLDER / "samples.json").read_bytes())}
    if unknown := [name for name in names if name not in known]:
        raise DemoError(f"no sample is named {', '.join(unknown)}; there are {', '.join(known)}")
    if len(set(names)) != len(names):
        raise DemoError("a lineage learns each concept once: name each sample once")
    return tuple(known[name] for name in names)
