"""From pydantic's errors to one offending field each, in words for people."""

from collections.abc import Mapping
from typing import Any

from app.domain.errors import Fault
from app.domain.patterns import IN_WORDS


def fault_of(problem: Mapping[str, Any]) -> Fault:
    """The fault in one entry of `ValidationError.errors()`; the rejected value is not repeated."""
    location = [str(part) for part in problem["loc"]]
    if location and location[0] in ("body", "query", "path", "header"):
        location = location[1:]
    return Fault(field=_encodable(".".join(location)) or "body", message=_encodable(_message(problem)))


def _encodable(text: str) -> str:
    """JSON can smuggle half a surrogate pair into a field's name, which no answer could carry back."""
    return text.encode(errors="replace").decode()


def _message(problem: Mapping[str, Any]) -> str:
    context = problem.get("ctx", {})
    if problem["type"] == "union_tag_invalid":
        known = str(context["expected_tags"]).replace("'", "")
        return f"unknown {str(context['discriminator']).strip(chr(39))} {context['tag']!r}; known: {known}"
    if problem["type"] == "string_pattern_mismatch":
        return IN_WORDS.get(context["pattern"], str(problem["msg"]))
    return str(problem["msg"]).removeprefix("Value error, ")
