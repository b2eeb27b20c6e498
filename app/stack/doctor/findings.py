"""What the doctor says."""

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """`problem`: something does not work, or is open to others. `warning`: it works, and may not for long."""

    PROBLEM = "problem"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what a person can do about it; both without secrets."""

    weight: Weight
    what: str
    advice: str

    def __str__(self) -> str:
        """One line."""
        return " ".join(f"{self.weight.value}: {self.what}. {self.advice}.".split())


def problem(what: str, advice: str) -> Finding:
    """Something that does not work."""
    return Finding(Weight.PROBLEM, what, advice)


def warning(what: str, advice: str) -> Finding:
    """Something that works, and may not for long."""
    return Finding(Weight.WARNING, what, advice)


def first_line(error: Exception) -> str:
    """What an error says first: the lines after it may hold rows, and the first is enough to act on."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
