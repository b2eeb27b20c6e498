"""The history as the database itself writes it down: triggers note each change of a job's row and each new version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

_TRIGGERS = """
CREATE TABLE chaos_jobs (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL, who text NOT NULL, job_id uuid NOT NULL,
    old_status text NOT NULL, new_status text NOT NULL, old_attempt int NOT NULL, new_attempt int NOT NULL,
    old_worker text, new_worker text, lease_expires_at timestamptz
);
CREATE TABLE chaos_versions (id bigserial PRIMARY KEY, lineage_id uuid NOT NULL, number int NOT NULL);
CREATE FUNCTION chaos_note_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_jobs
        (at, who, job_id, old_status, new_status, old_attempt, new_attempt, old_worker, new_worker, lease_expires_at)
    VALUES (clock_timestamp(), current_setting('application_name'), NEW.id, OLD.status, NEW.status, OLD.attempt,
        NEW.attempt, OLD.worker, NEW.worker, OLD.lease_expires_at);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos_note_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_versions (lineage_id, number) VALUES (NEW.lineage_id, NEW.number);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_job AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION chaos_note_job();
CREATE TRIGGER chaos_version AFTER INSERT ON versions FOR EACH ROW EXECUTE FUNCTION chaos_note_version();
"""
_TERMINAL = ("succeeded", "failed", "canceled")
# The fence is looked at just before the trigger notes the time.
_TOLERANCE = timedelta(seconds=1)


@dataclass(frozen=True)
class Change:
    """One update of a job's row, by the process that calls itself `who`."""

    at: datetime
    who: str
    job_id: str
    old_status: str
    new_status: str
    old_attempt: int
    new_attempt: int
    old_worker: str | None
    new_worker: str | None
    lease_expires_at: datetime | None

    def ends(self) -> bool:
        """Whether the job is over by it."""
        return self.old_status not in _TERMINAL and self.new_status in _TERMINAL


def install(engine: Engine) -> None:
    """Begin to take notes; before the first job."""
    with engine.begin() as connection:
        connection.execute(text(_TRIGGERS))


def read_changes(engine: Engine) -> list[Change]:
    """All changes of jobs, in order."""
    columns = ", ".join(Change.__dataclass_fields__).replace("job_id", "job_id::text")
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT {columns} FROM chaos_jobs ORDER BY id"))  # noqa: S608
        return [Change(*row) for row in rows]


def published_twice(engine: Engine) -> list[str]:
    """The versions whose number was given out more than once, ever."""
    query = "SELECT lineage_id, number, count(*) FROM chaos_versions GROUP BY 1, 2 HAVING count(*) > 1"
    with engine.connect() as connection:
        return [
            f"lineage {row[0]} published version {row[1]} {row[2]} times" for row in connection.execute(text(query))
        ]


def changed_after_the_end(changes: Sequence[Change]) -> Iterator[str]:
    """A terminal status that was changed, and a job that ended more than once."""
    for change in changes:
        if change.old_status in _TERMINAL and change.new_status != change.old_status:
            yield f"job {change.job_id} went from {change.old_status} to {change.new_status}"


def stale_writes(changes: Sequence[Change], names: Mapping[str, str]) -> Iterator[str]:
    """Writes of workers to jobs that they did not hold; `names`: each worker's name in `jobs.worker` by its `who`."""
    for change in changes:
        if (name := names.get(change.who)) is None:
            continue
        claims = change.old_status == "queued" and change.new_status == "running" and change.new_worker == name
        if not claims and not _holds(change, name):
            detail = f"{change.who} ({name}) changed job {change.job_id} of {change.old_worker}"
            yield f"{detail}, attempt {change.old_attempt} to {change.new_attempt}, at {change.at}"


def _holds(change: Change, name: str) -> bool:
    is_alive = change.lease_expires_at is not None and change.at <= change.lease_expires_at + _TOLERANCE
    return change.old_status == "running" and change.old_worker == name and is_alive
