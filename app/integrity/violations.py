"""What can be found wrong."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """The promises, one each."""

    OBJECT_NAMED_IS_LIVE = "object-named-is-live"
    OBJECT_LIVE_IS_NAMED = "object-live-is-named"
    OBJECT_AS_STORED = "object-as-stored"
    NO_ORPHAN = "no-orphan"
    NUMBERS_UNIQUE = "numbers-unique"
    PARENTS_FORM_DAG = "parents-form-dag"
    HEAD_REACHABLE = "head-reachable"
    JOB_COMPLETE = "job-complete"
    RESULT_EXISTS = "result-exists"
    PUBLISHED_ONCE = "published-once"


@dataclass(frozen=True, order=True)
class Violation:
    """One promise that one row or key breaks; `subject` says which, by kind and id."""

    rule: Rule
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.subject}: {self.detail}"
