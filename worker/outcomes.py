"""How a run that did not succeed is written down: apart from running, so that the rules can be read in one place."""

import torch
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.db import leases
from app.db.leases import Claim
from app.db.tables import Job
from app.domain.errors import DeletedError, PalimpsestError, StorageError
from app.domain.jobs import JobFault, JobStatus
from app.settings import Settings
from worker.context import HandBackError
from worker.lease import CanceledError

# Errors that another try may mend. A user's error, or a training that diverged, would only fail again.
_RETRIABLE = (StorageError, DBAPIError, OSError, torch.OutOfMemoryError)


def describe(error: Exception) -> JobFault:
    """The error in the user's words; what is not meant for users is only named."""
    if isinstance(error, PalimpsestError):
        return JobFault(type=error.slug, title=error.title(), detail=error.detail)
    if isinstance(error, torch.OutOfMemoryError):
        detail = "The device ran out of memory: lower batch_size, resolution, rank or num_images."
        return JobFault(type="out-of-memory", title="The device ran out of memory", detail=detail)
    if isinstance(error, (DBAPIError, OSError)):
        detail = f"A service that the worker needs was out of reach ({type(error).__name__})."
        return JobFault(type="not-ready", title="A service was out of reach", detail=detail)
    detail = f"The worker failed unexpectedly ({type(error).__name__}); the operator's log has more."
    return JobFault(type="internal", title="The worker failed", detail=detail)


def record(session: Session, job: Job, claim: Claim, error: Exception, settings: Settings) -> JobStatus:
    """End the run in the row, and say which status the job has now.

    Raises:
        LeaseLostError: this attempt no longer holds the job; nothing was written.
    """
    if isinstance(error, HandBackError):
        return leases.hand_back(session, claim).status
    if isinstance(error, (CanceledError, DeletedError)):
        # What was deleted under a running job cancels it.
        return leases.finish(session, claim, JobStatus.CANCELED, error=None).status
    fault = describe(error)
    if isinstance(error, _RETRIABLE) and job.failures + 1 < settings.max_failures:
        delay_seconds = settings.retry_backoff_seconds * 2**job.failures
        return leases.put_off(session, claim, fault, delay_seconds).status
    return leases.finish(session, claim, JobStatus.FAILED, error=fault, failures=Job.failures + 1).status
