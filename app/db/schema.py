"""Whether the database has the schema that this release needs: asked at each start, answered in one line."""

import logging

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.db.migrate import alembic_config, known_revisions
from app.domain.errors import NotReadyError

log = logging.getLogger(__name__)


def check_schema(engine: Engine) -> None:
    """Let pass the schema of this release, and a later one, which this release may run beside (docs/operations.md).

    Raises:
        NotReadyError: the schema is older.
    """
    needed = ScriptDirectory.from_config(alembic_config()).get_current_head()
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        # A process may start before its database, and waits for it.
        log.warning("the schema is not checked: Postgres is out of reach: %s", str(error).splitlines()[0])
        return
    if found == needed:
        log.info("the schema is at revision %s, as this release needs it", found)
    elif found is not None and found not in known_revisions():
        log.warning("the schema is at revision %s of a later release; this one needs %s", found, needed)
    else:
        detail = f"The schema is at revision {found}, and this release needs {needed}: run `palimpsest migrate`."
        raise NotReadyError(detail)
