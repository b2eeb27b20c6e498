"""Bodies of users, keys and usage."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import Label, PageBody, example, example_of, page_example
from app.api.schemas.examples import EARLIER, KEY, KEY_ID, THEN, USER_ID
from app.db.tables import ApiKey, User
from app.domain.base import Value
from app.services.users import Usage


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
    def of(cls, user: User) -> "UserBody":
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

    model_config = example({"name": "laptop"})

    name: Label


class KeyBody(Value):
    """An API key, without its secret."""

    model_config = example({"id": KEY_ID, "name": "laptop", "created_at": EARLIER, "last_used_at": THEN})

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")

    @classmethod
    def of(cls, key: ApiKey) -> "KeyBody":
        """The body of a row."""
        return cls(id=key.id, name=key.name, created_at=key.created_at, last_used_at=key.last_used_at)


class CreatedKeyBody(Value):
    """A key just created, with its secret."""

    model_config = example({**example_of(KeyBody), "last_used_at": None, "key": KEY})

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None
    key: str = Field(description="The secret. It is never shown again.")


class KeyPage(PageBody[KeyBody]):
    """A page of keys."""

    model_config = page_example(KeyBody)


class UsageBody(Value):
    """How much a user has."""

    model_config = example({"concepts": 3, "lineages": 2, "versions": 6, "generations": 12, "unfinished_jobs": 1})

    concepts: int
    lineages: int
    versions: int = Field(description="Versions 0 are not counted.")
    generations: int
    unfinished_jobs: int

    @classmethod
    def of(cls, usage: Usage) -> "UsageBody":
        """The body of what was counted."""
        return cls(
            concepts=usage.concepts,
            lineages=usage.lineages,
            versions=usage.versions,
            generations=usage.generations,
            unfinished_jobs=usage.unfinished_jobs,
        )


class MeBody(Value):
    """Who you are and how much you have."""

    model_config = example({"user": example_of(UserBody), "usage": example_of(UsageBody)})

    user: UserBody
    usage: UsageBody
