"""What is said of a prompt that does not mean what its writer may think."""

import re

from app.domain.errors import Fault

_WEIGHTS = re.compile(r"\([^()]*:\s*[+-]?\d*\.?\d+\s*\)|\(\([^()]*\)\)|\[[^\[\]]*:[^\[\]]*\]")


def notes_on(field: str, prompt: str | None) -> tuple[Fault, ...]:
    """Attention weights, as interfaces have them, are plain text here: brackets, colon and number are read as such."""
    if not prompt or _WEIGHTS.search(prompt) is None:
        return ()
    message = "attention weights such as (x:1.4) are read as plain text, brackets and numbers included"
    return (Fault(field=field, message=message),)
