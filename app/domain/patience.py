"""Patience: how long a process lets Postgres keep it waiting, and how long it may keep others waiting."""

from pydantic import Field

from app.domain.base import Value


class Patience(Value):
    """What Postgres ends, and after how long; 0 lets it go on for ever.

    A wait for a lock, a statement as a whole, and a transaction within which nothing is asked.
    """

    lock_seconds: float = Field(20.0, ge=0)
    statement_seconds: float = Field(120.0, ge=0)
    idle_seconds: float = Field(30.0, ge=0)

    def settings(self) -> dict[str, int]:
        """Postgres's own names for them, in milliseconds."""
        return {
            "lock_timeout": round(self.lock_seconds * 1000),
            "statement_timeout": round(self.statement_seconds * 1000),
            "idle_in_transaction_session_timeout": round(self.idle_seconds * 1000),
        }


WITHOUT_END = Patience(lock_seconds=0, statement_seconds=0, idle_seconds=0)
