"""Encoders by name; a new embedded one or a new family is one line here."""

from collections.abc import Mapping

import torch

from worker.evaluation.encoders.base import Encoder, EncoderError
from worker.evaluation.encoders.icons import Head, load_icons

_EMBEDDED: Mapping[str, Head] = {f"icons-64-{head}": head for head in Head}


def load_encoder(name: str, device: torch.device | None = None) -> Encoder:
    """The encoder of that name, on `device` (default: CPU): `icons-64-what` or `icons-64-how`.

    Raises:
        EncoderError: there is none of that name, or it cannot be loaded.
    """
    device = device or torch.device("cpu")
    if name in _EMBEDDED:
        return load_icons(_EMBEDDED[name], device)
    raise EncoderError(f"The encoder {name!r} is none of: {', '.join(_EMBEDDED)}.")
