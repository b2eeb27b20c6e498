"""Bodies of users, keys and usage."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import Label, PageBody, example, example_of, page_example
from app.api.schemas.examples import EARLIER, KEY, KEY_ID, THEN, USER_ID
from app.db.tables import ApiKey, User
from app.domain.base import Value
from app.domain.keys import KeyScope
from app.domain.quotas import QuotaOverrides, Quotas
from app.services.access import CallingUser
from app.services.quotas import Usage


class NewUserBody(Value):
    """A user to create."""

    model_config = example({"name": "ada", "is_admin": False})

    name: Label
    is_admin: bool = False


class UserBody(Value):
    """A user."""

    model_config = example({"id": USER_ID, "name": "ada", "is_admin": False, "created_at": EARLIER})

    id: UUID
    name: str
    is_admin: bool
    created_at: datetime

    @classmethod
    def of(cls, user: User | CallingUser) -> "UserBody":
        """The body of a row."""
        return cls(id=user.id, name=user.name, is_admin=user.is_admin, created_at=user.created_at)


class CreatedUserBody(Value):
    """A user just created, with the first key."""

    model_config = example({**example_of(UserBody), "key": KEY})

    id: UUID
    name: str
    is_admin: bool
    created_at: datetime
    key: str = Field(description="The user's first API key. It is never shown again.")


class UserPage(PageBody[UserBody]):
    """A page of users."""

    model_config = page_example(UserBody)


class NewKeyBody(Value):
    """A key to create."""

    model_config = example({"name": "laptop", "scope": "read"})

    name: Label
    scope: KeyScope | None = Field(None, description="What it may do. Left out: as much as the key in use.")


class KeyBody(Value):
    """An API key, without its secret."""

    model_config = example(
        {"id": KEY_ID, "name": "laptop", "scope": "read", "created_at": EARLIER, "last_used_at": THEN}
    )

    id: UUID
    name: str
    scope: KeyScope
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")

    @classmethod
    def of(cls, key: ApiKey) -> "KeyBody":
        """The body of a row."""
        return cls(id=key.id, name=key.name, scope=key.scope, created_at=key.created_at, last_used_at=key.last_used_at)


class CreatedKeyBody(Value):
    """A key just created, with its secret."""

    model_config = example({**example_of(KeyBody), "last_used_at": None, "key": KEY})

    id: UUID
    name: str
    scope: KeyScope
    created_at: datetime
    last_used_at: datetime | None
    key: str = Field(description="The secret. It is never shown again.")


class KeyPage(PageBody[KeyBody]):
    """A page of keys."""

    model_config = page_example(KeyBody)


class UsageBody(Value):
    """How much a user has."""

    model_config = example(
        {
            "concepts": 3,
            "images": 15,
            "lineages": 2,
            "versions": 6,
            "generations": 12,
            "unfinished_jobs": 1,
            "stored_bytes": 31_457_280,
            "gpu_seconds": 840,
        }
    )

    concepts: int
    images: int = Field(description="Of concepts.")
    lineages: int
    versions: int = Field(description="Versions 0 are not counted.")
    generations: int
    unfinished_jobs: int
    stored_bytes: int = Field(description="What is deleted counts until it is collected.")
    gpu_seconds: int = Field(description="Running time of the jobs of the last 30 days.")

    @classmethod
    def of(cls, usage: Usage) -> "UsageBody":
        """The body of what was counted."""
        return cls(**asdict(usage))


class QuotasBody(Quotas):
    """The most that a user may have."""

    model_config = example(Quotas().model_dump())

    @classmethod
    def of(cls, quotas: Quotas) -> "QuotasBody":
        """The body of quotas."""
        return cls(**quotas.model_dump())


class QuotaOverridesBody(QuotaOverrides):
    """Exceptions for one user."""

    model_config = example({"lineages": 500, "gpu_seconds": None})

    def overrides(self) -> QuotaOverrides:
        """The same for the use case."""
        return QuotaOverrides(**self.model_dump())


class MeBody(Value):
    """Who you are, what your key may do, how much you have, and how much you may have."""

    model_config = example(
        {
            "user": example_of(UserBody),
            "scope": "write",
            "usage": example_of(UsageBody),
            "quotas": example_of(QuotasBody),
        }
    )

    user: UserBody
    scope: KeyScope = Field(description="Of the key in use.")
    usage: UsageBody
    quotas: QuotasBody
