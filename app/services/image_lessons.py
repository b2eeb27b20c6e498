"""What a concept's pictures teach, seen together: what teaches little is accepted with a warning.

Training crops a square from the middle and scales it to the base's side. A strip leaves nothing, and is refused. One
colour is not: a user may want just that, and is told.
"""

from collections.abc import Iterator, Mapping, Sequence

from app.domain.errors import Fault, InvalidImageError
from app.services.images import Picture

_PLAIN_DEVIATION = 2.0
_SAME_DIFFERENCE = 2.0
_LONG, _HOPELESS = 2.5, 20.0
_BLOWN_UP = 2.0


def insist_on_lessons(pictures: Sequence[Picture]) -> None:
    """Refuse pictures that teach nothing.

    Raises:
        InvalidImageError: one is a strip of which training would see next to nothing.
    """
    faults = tuple(
        Fault(field=_label(n), message=f"{_ratio(picture):.0f} times as long as wide: its middle square is no picture")
        for n, picture in enumerate(pictures)
        if _ratio(picture) >= _HOPELESS
    )
    if faults:
        raise InvalidImageError(f"{faults[0].field}: {faults[0].message}.", faults)


def warnings_of(pictures: Sequence[Picture], sides: Mapping[str, int]) -> tuple[Fault, ...]:
    """What of the pictures teaches little; `sides` are the pixels that base models are taught at, by name."""
    return tuple(
        Fault(field=_label(n), message=message)
        for n, picture in enumerate(pictures)
        for message in _doubts(picture, pictures[:n], sides)
    )


def _doubts(picture: Picture, earlier: Sequence[Picture], sides: Mapping[str, int]) -> Iterator[str]:
    if _is_plain(picture):
        yield "of one colour: it teaches nothing but that"
    else:
        twin = next((m for m, other in enumerate(earlier) if _are_same(picture, other)), None)
        if twin is not None:
            yield f"the same picture as {_label(twin)}, or nearly: it teaches nothing more, but weighs twice"
    if (ratio := _ratio(picture)) >= _LONG:
        yield f"{ratio:.1f} times as long as wide: only the square in its middle is learned"
    side = min(picture.width, picture.height)
    if large := [f"{name} ({own})" for name, own in sides.items() if own > _BLOWN_UP * side]:
        yield f"its shorter side has {side} pixels, less than half of what is taught to {', '.join(large)}"


def _label(n: int) -> str:
    return f"images[{n}]"


def _ratio(picture: Picture) -> float:
    return max(picture.width, picture.height) / min(picture.width, picture.height)


def _is_plain(picture: Picture) -> bool:
    return picture.deviation < _PLAIN_DEVIATION


def _are_same(one: Picture, other: Picture) -> bool:
    pairs = zip(one.thumbnail, other.thumbnail, strict=True)
    return sum(abs(a - b) for a, b in pairs) / len(one.thumbnail) < _SAME_DIFFERENCE
