"""The checker: what the clients were told, what the triggers noted, what database and bucket hold in the end."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select

from app.db.session import transaction
from app.db.tables import Job
from app.domain.jobs import TERMINAL, JobStatus
from app.integrity.check import check
from app.queue import WakeUps
from sweeper.sweeper import Sweeper
from tests.chaos import audit
from tests.chaos.audit import Change
from tests.chaos.fleet import Fleet
from tests.chaos.users import Accepted, User

# Older than anything: nothing is running any more, so all that is dead, pending or unknown is an orphan.
ANY_AGE_SECONDS = -86_400.0


def violations(fleet: Fleet, users: Sequence[User]) -> dict[str, list[str]]:
    """Every promise by name, and how it was broken. All processes but the services must have been stopped."""
    changes = audit.read_changes(fleet.engine)
    with transaction(fleet.engine) as session:
        rows = {str(row[0]): row[1] for row in session.execute(select(Job.id, Job.status))}
    accepted = {job_id: job for user in users for job_id, job in user.accepted.items()}
    sweep(fleet)
    found = check(fleet.engine, fleet.store, ANY_AGE_SECONDS)
    return {
        "lost or unfinished jobs": [*lost_jobs(accepted, rows), *(line for user in users for line in user.refused)],
        "terminal statuses changed": [*changed_statuses(accepted, rows), *audit.changed_after_the_end(changes)],
        "jobs that did not end once": list(not_ended_once(rows, changes)),
        "versions published twice": audit.published_twice(fleet.engine),
        "stale writes": list(audit.stale_writes(changes, fleet.names)),
        "integrity of rows and objects": [str(violation) for violation in found],
    }


def sweep(fleet: Fleet) -> None:
    """One sweep of everything, however young."""
    aged = fleet.settings.model_copy(update={"stray_object_age_seconds": ANY_AGE_SECONDS})
    assert aged.broker_url is not None
    sweeper = Sweeper(aged, fleet.engine, fleet.store, WakeUps(aged.broker_url))
    sweeper.collect()
    sweeper.remove_strays()


def lost_jobs(accepted: Mapping[str, Accepted], rows: Mapping[str, JobStatus]) -> Iterator[str]:
    """Accepted jobs that are not there, or not over."""
    for job_id, job in accepted.items():
        if job_id not in rows:
            yield f"job {job_id} ({job.kind}) was accepted and is not there"
        elif rows[job_id] not in TERMINAL:
            yield f"job {job_id} ({job.kind}) is {rows[job_id].value}"
    for job_id in rows.keys() - accepted.keys():
        yield f"job {job_id} is there and was not accepted: one POST made two"


def changed_statuses(accepted: Mapping[str, Accepted], rows: Mapping[str, JobStatus]) -> Iterator[str]:
    """Jobs of which a client was told a terminal status, and another one afterwards."""
    for job_id, job in accepted.items():
        is_other = job.is_over() and job_id in rows and rows[job_id].value != job.statuses[-1]
        if job.changed() or is_other:
            yield f"job {job_id} was told to be {', then '.join(job.statuses)}, and is {rows.get(job_id)}"


def not_ended_once(rows: Mapping[str, JobStatus], changes: Sequence[Change]) -> Iterator[str]:
    """Finished jobs with more or fewer than one change to a terminal status."""
    ends = Counter(change.job_id for change in changes if change.ends())
    for job_id, status in rows.items():
        if status in TERMINAL and ends[job_id] != 1:
            yield f"job {job_id} is {status.value}, and ended {ends[job_id]} times"
