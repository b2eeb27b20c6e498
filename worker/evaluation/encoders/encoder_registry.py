"""Encoders by name; a new embedded one or a new family is one line here."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from worker.evaluation.encoders import lite0
from worker.evaluation.encoders.base import Encoder, EncoderError
from worker.evaluation.encoders.icons import Head, load_icons
from worker.evaluation.encoders.towers import Tower, load_clip, load_csd, load_dino, load_tower

_EMBEDDED: Mapping[str, Callable[[torch.device], Encoder]] = {
    lite0.NAME: lite0.load_lite0,
    **{f"icons-64-{head}": partial(load_icons, head) for head in Head},
}
_FAMILIES: Mapping[str, Callable[[Path], Tower]] = {"dino": load_dino, "clip": load_clip, "csd": load_csd}


def load_encoder(name: str, device: torch.device | None = None) -> Encoder:
    """The encoder of that name, on `device` (default: CPU).

    `lite0-what`, `icons-64-what` and `icons-64-how` are embedded; `dino:SOURCE`, `clip:SOURCE` and `csd:SOURCE` are
    loaded from a folder or a hub id.

    Raises:
        EncoderError: no encoder has that name, or it cannot be loaded.
    """
    device = device or torch.device("cpu")
    if name in _EMBEDDED:
        return _EMBEDDED[name](device)
    family, _, source = name.partition(":")
    if family in _FAMILIES and source:
        return load_tower(name, _FAMILIES[family], source, device)
    known = [*_EMBEDDED, *(f"{family}:SOURCE" for family in _FAMILIES)]
    raise EncoderError(f"The encoder {name!r} is unknown; known are: {', '.join(known)}.")
