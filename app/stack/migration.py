"""Migrating the database, with an error that fits on one line."""

from sqlalchemy.exc import SQLAlchemyError

from app.db.migrate import upgrade
from app.settings import Settings
from app.stack.stack_errors import StackError


def migrate(settings: Settings) -> None:
    """Bring the database of these settings to the newest schema.

    Raises:
        StackError: the database is out of reach or cannot be migrated.
    """
    assert settings.database_url is not None
    try:
        upgrade(settings.database_url)
    except SQLAlchemyError as error:
        raise StackError(f"the database cannot be migrated: {str(error).splitlines()[0]}") from error
