"""Logging of every process: one JSON object a line and an event, UTC, on standard error, which `up` keeps in files.

What is logged is ids, routes, statuses and durations; never a key, a prompt or a picture.
"""

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_IDS: ContextVar[Mapping[str, str]] = ContextVar("ids", default={})  # noqa: B039 - nobody changes it

# Uvicorn would print them in its own ways.
_OTHERS = ("uvicorn", "uvicorn.error", "uvicorn.access")


@contextmanager
def log_ids(**ids: str) -> Iterator[None]:
    """Put these ids on every line that is logged within the block."""
    token = _IDS.set({**_IDS.get(), **ids})
    try:
        yield
    finally:
        _IDS.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object for each record: time, level, logger, message, ids; `event` of `extra` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_IDS.get(),
            **getattr(record, "event", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _described(record.exc_info[1])
        return json.dumps(line, default=str)


def _described(error: BaseException) -> list[str]:
    """The error and its causes, each with where it was raised and the first line of what it says.

    Only the first: Postgres tells in further ones the row that it refused, and with it prompts.
    """
    said = (str(error).splitlines() or [""])[0]
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    cause = error.__cause__ or error.__context__
    return [f"{type(error).__qualname__}: {said}", *frames, *(_described(cause) if cause else [])]


def configure_logging() -> None:
    """Set up the root logger."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _OTHERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # `app.api.front` logs each request, without its query.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("httpx").setLevel(logging.WARNING)
