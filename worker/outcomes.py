"""How a run that did not succeed is written down: apart from running, so that the rules can be read in one place."""

import torch
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from app.db import leases
from app.db.leases import Claim, LeaseLostError
from app.domain.errors import DeletedError, ObjectLostError, ObjectRefusedError, PalimpsestError, StorageError
from app.domain.jobs import JobFault, JobStatus
from app.settings import Settings
from worker.attempt.job_context import HandBackError, ParentGoneError
from worker.attempt.lease import CanceledError
from worker.evaluation.encoders.base import EncoderError
from worker.models.base_model_errors import BaseModelError


class UnreadableJobError(PalimpsestError):
    """This worker cannot read the job."""

    slug = "unreadable-job"


# A service is away. That says nothing about the job, so it is tried until the service is back.
_OUTAGES = (StorageError, OperationalError, InterfaceError)
# What storage says of one object says something about the job.
_OF_THE_JOB = (ObjectLostError, ObjectRefusedError)

# Errors that another try may mend. A user's error, or a training that diverged, would only fail again.
_OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)
_RETRIABLE = (ObjectLostError, ObjectRefusedError, UnreadableJobError, OSError, *_OUT_OF_MEMORY)

# What the operator's log says of these names keys, addresses and folders, which are not the user's business.
_PRIVATE: dict[type[PalimpsestError], str] = {
    ObjectLostError: "Something that this job needs is missing from object storage; the operator's log says what.",
    ObjectRefusedError: "Object storage does not take what this job has made; the operator's log says why.",
    StorageError: "Object storage was out of reach; the operator's log has more.",
    BaseModelError: "The base model could not be loaded; the operator's log has more.",
    EncoderError: "An encoder could not be loaded; the operator's log has more.",
}

_LONGEST_DELAY_SECONDS = 120.0


def describe(error: Exception) -> JobFault:
    """The error in the user's words; what is not meant for users is only named."""
    if isinstance(error, PalimpsestError):
        detail = _PRIVATE.get(type(error), error.detail)
        return JobFault(type=error.slug, title=error.title(), detail=detail, errors=error.faults)
    if isinstance(error, _OUT_OF_MEMORY):
        detail = "The worker ran out of memory, although it takes images one at a time where the batch does not fit: "
        detail += "lower the training's resolution or rank, or its strategy's replay_batch_size."
        return JobFault(type="out-of-memory", title="The worker ran out of memory", detail=detail)
    if isinstance(error, (*_OUTAGES, OSError)):
        detail = f"A service that the worker needs was out of reach ({type(error).__name__})."
        return JobFault(type="not-ready", title="A service was out of reach", detail=detail)
    detail = f"The worker failed unexpectedly ({type(error).__name__}); the operator's log has more."
    return JobFault(type="internal", title="The worker failed", detail=detail)


def record(session: Session, claim: Claim, error: Exception, settings: Settings) -> JobStatus:
    """End the run in the row, and say which status the job has now.

    Raises:
        LeaseLostError: this attempt no longer holds the job, or has given it up; nothing was written.
    """
    if isinstance(error, LeaseLostError):
        raise error
    if isinstance(error, (HandBackError, ParentGoneError)):
        return leases.hand_back(session, claim)
    if isinstance(error, (CanceledError, DeletedError)):
        # What was deleted under a running job cancels it.
        return leases.finish(session, claim, JobStatus.CANCELED, error=None)
    fault = describe(error)
    if isinstance(error, _OUTAGES) and not isinstance(error, _OF_THE_JOB):
        return leases.put_off(session, claim, fault, _delay_seconds(settings, claim.attempt), is_failure=False)
    failures = leases.lock(session, claim).failures + 1
    if isinstance(error, _RETRIABLE) and failures < settings.max_failures:
        return leases.put_off(session, claim, fault, _delay_seconds(settings, failures))
    return leases.finish(session, claim, JobStatus.FAILED, error=fault, failures=failures)


def _delay_seconds(settings: Settings, tries: int) -> float:
    """Twice as long after each try, up to a limit."""
    return min(settings.retry_backoff_seconds * 2.0 ** min(tries - 1, 16), _LONGEST_DELAY_SECONDS)
