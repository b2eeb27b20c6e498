"""What an encoder is to those who score pictures with it."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from PIL import Image
from torch import Tensor

from app.domain.errors import PalimpsestError


class EncoderError(PalimpsestError):
    """The encoder cannot be loaded."""

    slug: ClassVar[str] = "encoder"


class Encoder(Protocol):
    """Pictures to points on a sphere: the cosine of two embeddings is their dot product."""

    @property
    def name(self) -> str:
        """What `load_encoder` was given."""
        ...

    @property
    def fingerprint(self) -> str:
        """The sha256 (hex) over the files of weights and configuration: scores of two encoders never mix."""
        ...

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        """(n, d) fp32 on the CPU, each row of unit norm. At least one image, of any size and mode.

        A row depends on its own image alone, not on the others nor on their number.
        """
        ...
