"""The versions of the base models that ship with Palimpsest, by their weights: which is which, and which are retired.

Other weights get another name, `icons-64.4` after `icons-64.3`; the name without a number is an alias of the newest.
A line is added here when weights are shipped, and nothing is taken out: an adapter may have been taught on any of them.
"""

from collections.abc import Iterable, Sequence
from datetime import date

from app.domain.base import Value
from app.domain.errors import BaseChangedError


class ShippedBase(Value):
    """Weights that were shipped. `fingerprint`: as `app.domain.base_weights` has it; `retired_on`: null if current."""

    alias: str
    number: int
    fingerprint: str
    retired_on: date | None = None

    @property
    def name(self) -> str:
        """What lineages stand on."""
        return f"{self.alias}.{self.number}"


SHIPPED: Sequence[ShippedBase] = (
    ShippedBase(
        alias="icons-64",
        number=1,
        fingerprint="798fc23f959864a182bfb3ba7377c0aa5266b2ef080218f668a20c9154afd047",
        retired_on=date(2026, 11, 23),
    ),
    ShippedBase(
        alias="icons-64",
        number=2,
        fingerprint="cf9b8a6247088213b01883f67c6687a2f15b923e003cf915115003c5db7bf92a",
        retired_on=date(2026, 11, 27),
    ),
    ShippedBase(
        alias="icons-64",
        number=3,
        fingerprint="ffbfecf7a5e23f5c1d8307292492277239e2bd5c7fadf492704a6ba3beae939c",
    ),
)
_BY_FINGERPRINT = {base.fingerprint: base for base in SHIPPED}
_ALIASES = frozenset(base.alias for base in SHIPPED)


def name_of(manifest_name: str, fingerprint: str) -> tuple[str, str | None]:
    """The name that a base model is registered under, and its alias: its own and none, if it never shipped with us.

    Weights that carry a shipped base's name and are unknown, because somebody has trained them on, are named by their
    fingerprint.
    """
    if manifest_name not in _ALIASES:
        return manifest_name, None
    known = _BY_FINGERPRINT.get(fingerprint)
    if known is not None and known.alias == manifest_name:
        return known.name, manifest_name
    return f"{manifest_name}.{fingerprint[:8]}", manifest_name


def described(fingerprint: str) -> str:
    """Weights in a user's words: "icons-64.2 (cf9b8a624708, retired on 2026-11-27)"."""
    short, known = fingerprint[:12], _BY_FINGERPRINT.get(fingerprint)
    if known is None:
        return short
    retired = "" if known.retired_on is None else f", retired on {known.retired_on.isoformat()}"
    return f"{known.name} ({short}{retired})"


def insist_unchanged(base_model: str, taught_on: Iterable[str], found: str) -> None:
    """What was taught on other weights means little to these: refuse, and say which they were.

    `taught_on`: the fingerprints of a version's ancestry, and of what the base's name stands for; `found`: what lies at
    the base's source today.

    Raises:
        BaseChangedError: some of the former are another than the latter.
    """
    others = sorted({fingerprint for fingerprint in taught_on if fingerprint != found})
    if others:
        raise BaseChangedError(
            f"The base model {base_model} has other weights now: this was taught on "
            f"{' and '.join(map(described, others))}, and found is {described(found)}. "
            "Teach the concepts to a new lineage, or set allow_changed_base on this one to use it all the same."
        )
