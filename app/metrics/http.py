"""What the front end counts."""

from prometheus_client import Counter, Histogram

from app.domain.errors import (
    InvalidAdapterError,
    InvalidImageError,
    PalimpsestError,
    QuotaReachedError,
    RateLimitedError,
    TooLargeError,
)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_UPLOAD_REFUSALS = (InvalidImageError, InvalidAdapterError, TooLargeError)

REQUEST_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "From the first byte of a request to the end of its answer.",
    ["method", "route", "status"],
    # 0.25 s is what the service level objective of polls asks about.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
UPLOAD_REJECTIONS = Counter("palimpsest_upload_rejections", "Uploads that were refused.", ["reason"])
REFUSALS = Counter("palimpsest_refusals", "Requests over a rate or a quota.", ["limit"])


def note_request(method: str, route: str | None, status: int, seconds: float) -> None:
    """`route`: its template, or None where no route matched. What a client makes up becomes no label."""
    known = method if method in _METHODS else "other"
    REQUEST_SECONDS.labels(known, route or "unmatched", str(status)).observe(seconds)


def note_error(error: PalimpsestError) -> None:
    """Count an error that refuses an upload, or says that a limit is reached."""
    if isinstance(error, _UPLOAD_REFUSALS):
        UPLOAD_REJECTIONS.labels(error.slug).inc()
    elif isinstance(error, RateLimitedError):
        REFUSALS.labels("rate").inc()
    elif isinstance(error, QuotaReachedError):
        REFUSALS.labels(error.faults[0].field if error.faults else "quota").inc()
