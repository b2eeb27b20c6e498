"""All checks together: the rows as of one moment, then the bucket."""

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.integrity.jobs import job_violations
from app.integrity.lineages import Histories, history_violations
from app.integrity.objects import ObjectRows, content_violations, row_violations, stray_violations
from app.integrity.violations import Violation
from app.storage import ObjectStore


def check(engine: Engine, store: ObjectStore, stray_age_seconds: float) -> list[Violation]:
    """Everything that is wrong, in order; empty if nothing is. Reads every row and every live object; writes nothing.

    May run beside a working service. What is dead or pending, or a key without a row, counts from that age on. A
    running sweeper then removes it within its interval, so such a finding may be gone at a second look.

    Raises:
        StorageError: S3 failed.
    """
    # One snapshot for all rows: in two, a publication between them would look like a violation.
    with Session(engine.execution_options(isolation_level="REPEATABLE READ")) as session, session.begin():
        histories = Histories.read(session)
        objects = ObjectRows.read(session, stray_age_seconds)
        found = [*history_violations(histories), *job_violations(session, histories), *row_violations(objects)]
        session.expunge_all()
    found += content_violations(engine, store, objects)
    found += stray_violations(engine, store, stray_age_seconds)
    return sorted(found)
