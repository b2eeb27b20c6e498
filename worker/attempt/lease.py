"""Holding a job: a heartbeat thread renews the lease for as long as the working thread shows that it works.

A job that hangs stops ticking, so its lease expires although this thread lives. The worker gives up on a monotonic
deadline, counted from before the last renewal was sent. So it never works longer than Postgres granted.
"""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db.leases import Claim, LeaseLostError, Progress, lock, renew
from app.db.session import transaction
from app.domain.errors import PalimpsestError
from app.domain.jobs import Phase
from app.settings import Settings
from worker.worker_metrics import HANGS, LEASE_MARGIN, LEASES_LOST

log = logging.getLogger(__name__)

# The longest that each phase may go without a tick, in seconds. Loading may read gigabytes from a cold disk.
SILENCE_SECONDS = {
    Phase.LOADING: 600.0,
    Phase.ENCODING: 300.0,
    Phase.TRAINING: 120.0,
    Phase.GENERATING: 120.0,
    Phase.EVALUATING: 120.0,
    Phase.PUBLISHING: 300.0,
}


def leave_process() -> None:
    """End this process at once, its stacks in the log: a supervisor starts another."""
    faulthandler.dump_traceback()
    os._exit(os.EX_TEMPFAIL)


class CanceledError(PalimpsestError):
    """The job was canceled."""

    slug = "canceled"


def lock_uncanceled(session: Session, claim: Claim) -> None:
    """Lock the job's row before something is published, so that a canceled job never ends as a success.

    Raises:
        CanceledError: the user canceled the job, whether or not a heartbeat has told so.
        LeaseLostError: this attempt no longer holds the job.
    """
    if lock(session, claim).cancel_requested:
        raise _canceled()


def _canceled() -> CanceledError:
    return CanceledError("The job was canceled at the user's request.")


class Lease:
    """One claim, renewed while the `with` block runs. `tick` and `check` belong to the working thread."""

    def __init__(
        self,
        engine: Engine,
        claim: Claim,
        settings: Settings,
        claimed_at: float,
        on_hang: Callable[[], None] = leave_process,
    ) -> None:
        """`claimed_at`: time.monotonic() from before the claim was sent. `on_hang`: called once a hung job is lost."""
        self.claim = claim
        self._engine = engine
        self._settings = settings
        self._on_hang = on_hang
        self._deadline = claimed_at + settings.lease_seconds
        # What an earlier attempt has reached stays in the row until this one knows where it goes on.
        self._progress: Progress | None = None
        self._phase = Phase.LOADING
        self._ticked_at = time.monotonic()
        self._cancel_requested = False
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{claim.job_id}", daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=self._settings.lease_seconds)

    def tick(self, progress: Progress) -> None:
        """Show that the work goes on, then `check`."""
        self._progress = progress
        self._live()
        self.check()

    def enter(self, phase: Phase) -> None:
        """Begin a phase, then `check`."""
        self._live()
        self._phase = phase
        self.check()

    def _live(self) -> None:
        self._ticked_at = time.monotonic()

    def check(self) -> None:
        """Stop working when there is a reason to.

        Raises:
            LeaseLostError: the lease has expired or is another's.
            CanceledError: the user canceled the job.
        """
        if self._lost or time.monotonic() > self._deadline:
            raise LeaseLostError("The lease was not renewed in time.")
        if self._cancel_requested:
            raise _canceled()

    def _beat(self) -> None:
        while not self._over.wait(self._settings.heartbeat_seconds):
            if not self._is_working():
                self._abandon()
                return
            if not self._renew():
                return

    def _is_working(self) -> bool:
        return time.monotonic() - self._ticked_at < SILENCE_SECONDS[self._phase]

    def _abandon(self) -> None:
        """Leave a hung job's lease to expire; then end this process, which would hang on and serve nobody."""
        HANGS.inc()
        log.error("job %s hangs in phase %s: its lease is left to expire", self.claim.job_id, self._phase.value)
        if not self._over.wait(max(0.0, self._deadline - time.monotonic())):
            self._on_hang()

    def _renew(self) -> bool:
        """Send one renewal; False once the lease is lost. A database that is away for a while is not a loss yet."""
        sent_at = time.monotonic()
        try:
            with transaction(self._engine) as session:
                renewal = renew(session, self.claim, self._settings.lease_seconds, self._phase, self._progress)
        except LeaseLostError:
            self._lost = True
            LEASES_LOST.inc()
            return False
        except SQLAlchemyError as error:
            log.warning("job %s: no renewal: %s", self.claim.job_id, error)
            return True
        LEASE_MARGIN.observe(max(0.0, self._deadline - time.monotonic()))
        self._deadline = sent_at + self._settings.lease_seconds
        self._cancel_requested = renewal.cancel_requested
        return True
