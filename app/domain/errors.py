"""What can go wrong, in the user's words, apart from HTTP: `app.api.problems` maps each class to a status.

A class's docstring is its title; the message given to the constructor is the detail.
"""

from typing import ClassVar

from app.domain.base import Value


class Fault(Value):
    """One offending field or file of a request."""

    field: str
    message: str


class PalimpsestError(Exception):
    """Something went wrong."""

    slug: ClassVar[str] = "error"

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults

    @classmethod
    def title(cls) -> str:
        """The class's docstring without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().rstrip(".")


class NotFoundError(PalimpsestError):
    """There is no such resource."""

    slug = "not-found"


class ErasedError(PalimpsestError):
    """This version was erased with a concept that it held."""

    slug = "erased"


class NotAuthenticatedError(PalimpsestError):
    """A valid API key is needed."""

    slug = "not-authenticated"


class ForbiddenError(PalimpsestError):
    """This API key may not do that."""

    slug = "forbidden"


class DeletedError(PalimpsestError):
    """What the job works on has been deleted."""

    slug = "deleted"


class ConflictError(PalimpsestError):
    """The request conflicts with the present state."""

    slug = "conflict"


class InvalidInputError(PalimpsestError):
    """The request is not valid."""

    slug = "invalid-input"


class InvalidImageError(InvalidInputError):
    """An uploaded file is not an acceptable image."""

    slug = "invalid-image"


class InvalidAdapterError(InvalidInputError):
    """The file is no adapter that this base model takes."""

    slug = "invalid-adapter"


class TooManyError(PalimpsestError):
    """A limit is reached."""

    slug = "too-many"

    def __init__(self, detail: str, faults: tuple[Fault, ...] = (), retry_after_seconds: int | None = None) -> None:
        super().__init__(detail, faults)
        self.retry_after_seconds = retry_after_seconds
        """None where waiting does not help."""


class RateLimitedError(TooManyError):
    """This API key sends requests too fast."""

    slug = "rate-limited"


class QuotaReachedError(TooManyError):
    """A quota is used up."""

    slug = "quota-reached"


class TooManyAtOnceError(TooManyError):
    """Too many requests of one user at once."""

    slug = "too-many-at-once"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after_seconds=1)


class TooLargeError(PalimpsestError):
    """The request is too large."""

    slug = "too-large"


class BaseChangedError(ConflictError):
    """The base model has other weights than this was taught on."""

    slug = "base-changed"


class UnknownConceptError(InvalidInputError):
    """The prompt names a concept that this version has not learned."""

    slug = "unknown-concept"


class NotReadyError(PalimpsestError):
    """A service that this request needs is not available."""

    slug = "not-ready"


class StorageError(PalimpsestError):
    """Object storage failed."""

    slug = "storage"


class ObjectRefusedError(StorageError):
    """Object storage does not take this."""

    slug = "object-refused"


class ObjectLostError(StorageError):
    """A stored object is missing, or is not what was stored."""

    slug = "object-lost"


class NotFiniteError(PalimpsestError):
    """The numbers went out of bounds."""

    slug = "not-finite"
