"""What can go wrong with a base model."""

from typing import ClassVar

from app.domain.errors import PalimpsestError


class BaseModelError(PalimpsestError):
    """The base model cannot be loaded."""

    slug: ClassVar[str] = "base-model"


class UnfitBaseError(BaseModelError):
    """The base model is not one that this service can use."""

    slug: ClassVar[str] = "unfit-base"
