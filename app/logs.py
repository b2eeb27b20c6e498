"""Logging of every process: one JSON object a line and an event, UTC, on standard error, which `up` keeps in files.

What is logged is ids, routes, statuses and durations; never a key, a prompt or a picture. Libraries that are given
prompts repeat them (what of a prompt was cut off, what could not be read), so of these only where they spoke is logged.
"""

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

_IDS: ContextVar[Mapping[str, str]] = ContextVar("ids", default={})  # noqa: B039 - nobody changes it

# These would print in their own ways.
_OTHERS = ("uvicorn", "uvicorn.error", "uvicorn.access")
# These are given prompts, or repeat what others say of them.
_TALKERS = (
    "transformers",
    "diffusers",
    "tokenizers",
    "peft",
    "accelerate",
    "huggingface_hub",
    "PIL",
    "py.warnings",
    "celery.redirected",
)
_PROMPT_LIBRARIES = ("transformers", "diffusers", "tokenizers", "peft", "accelerate")
_WITHHELD = "(withheld: it may repeat a prompt)"


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
            "message": _said(record),
            **_IDS.get(),
            **getattr(record, "event", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _described(record.exc_info[1])
        return json.dumps(line, default=str)


def _said(record: logging.LogRecord) -> str:
    if record.name.startswith(tuple(f"{name}." for name in _TALKERS)) or record.name in _TALKERS:
        return f"{record.module}:{record.lineno} {_WITHHELD}"
    return record.getMessage()


def _described(error: BaseException) -> list[str]:
    """The error and its causes, each with where it was raised and the first line of what it says.

    Only the first: Postgres tells in further ones the row that it refused, and with it prompts. None of what a library
    says that prompts are given to, nor of a missing key, which may be one.
    """
    stack = traceback.extract_tb(error.__traceback__)
    said = _WITHHELD if _may_repeat_a_prompt(error, stack) else (str(error).splitlines() or [""])[0]
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack]
    cause = error.__cause__ or error.__context__
    return [f"{type(error).__qualname__}: {said}", *frames, *(_described(cause) if cause else [])]


def _may_repeat_a_prompt(error: BaseException, stack: traceback.StackSummary) -> bool:
    raised_in = Path(stack[-1].filename).parts if stack else ()
    return isinstance(error, KeyError) or any(name in raised_in for name in _PROMPT_LIBRARIES)


def configure_logging() -> None:
    """Set up the root logger; called once the libraries are imported, since some set up printing of their own."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in (*_OTHERS, *_TALKERS):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # `app.api.front` logs each request, without its query.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("httpx").setLevel(logging.WARNING)
