"""What workers and the sweeper do beside the model, in time or too late."""

import random
from collections import Counter
from dataclasses import dataclass, field

import torch

from app.domain.errors import NotFiniteError, ObjectLostError, StorageError
from app.domain.jobs import JobKind, JobStatus
from tests.integration.histories.attempt import Attempt
from tests.integration.histories.hands import Hand, Order
from tests.integration.histories.model import Model, ModelJob
from tests.integration.histories.place import Place
from worker.attempt.job_context import HandBackError

_KINDS = ((JobKind.TRAIN,), (JobKind.GENERATE,), (JobKind.TRAIN, JobKind.GENERATE))
_ERRORS: list[Exception] = [
    StorageError("S3 is gone"),
    ObjectLostError("one is missing"),
    torch.OutOfMemoryError("out of memory"),
    NotFiniteError("the loss is not finite"),
    HandBackError("the worker is to stop"),
]


@dataclass(frozen=True)
class Workers:
    """The workers of one history, and what each of them believes to hold."""

    place: Place
    model: Model
    tally: Counter[str]
    hands: list[Hand]
    attempts: dict[Hand, Attempt] = field(default_factory=dict)

    def idle(self) -> list[Hand]:
        """Those without a job."""
        return [hand for hand in self.hands if hand.at is None]

    def busy(self) -> list[Hand]:
        """Those with one, though it may be another's by now."""
        return [hand for hand in self.hands if hand.at is not None]

    def running(self) -> list[ModelJob]:
        """The jobs that somebody may be at."""
        return [job for job in self.model.jobs if job.status is JobStatus.RUNNING]

    def claim(self, draw: random.Random) -> None:
        """A worker takes a job."""
        self._claim(self.idle()[0], draw.choice(_KINDS))

    def _claim(self, hand: Hand, kinds: tuple[JobKind, ...]) -> bool:
        may = [job for job in self.model.claimable() if job.kind.queue in kinds]
        claimed = hand.claim(kinds)
        job = next((job for job in may if job.id == claimed), None)
        assert (claimed is None) == (not may), f"{claimed} was claimed, where {may} could be"
        if claimed is None:
            return False
        assert job is not None, "a job was claimed before its turn"
        drawings = [other for other in may if other.kind is JobKind.GENERATE]
        assert job in drawings or not drawings, "somebody waits for a picture"
        self.attempts[hand] = Attempt.begin(self.model, job)
        return True

    def work_off(self, draw: random.Random) -> None:
        """A worker does a job from its beginning to its end."""
        self.take_and_finish(draw.choice(_KINDS))

    def take_and_finish(self, kinds: tuple[JobKind, ...]) -> None:
        """A job of these kinds, if there is one."""
        hand = self.idle()[0]
        if self._claim(hand, kinds):
            self.finish(hand)

    def finish(self, hand: Hand) -> None:
        """Whatever it is at."""
        while hand.at is not None:
            self._order(hand, Order.FINISH)

    def go_on(self, draw: random.Random) -> None:
        """A worker does something for the job that it has, or believes to have."""
        self._order(draw.choice(self.busy()), draw.choice([Order.STEP, Order.CHECKPOINT, Order.FINISH, Order.FINISH]))

    def fail(self, draw: random.Random) -> None:
        """A worker meets an error."""
        self._order(draw.choice(self.busy()), draw.choice(_ERRORS))

    def _order(self, hand: Hand, order: Order | Exception) -> None:
        assert hand.at is not None
        attempt = self.attempts[hand]
        self.tally[f"moves of workers{', too late' if attempt.is_stale() else ''}"] += 1
        attempt.obey(hand.at, order)
        hand.order(order)

    def beat(self, draw: random.Random) -> None:
        """A worker's heartbeat is sent, perhaps too late."""
        hand = draw.choice(self.busy())
        assert hand.lease is not None
        hand.lease.beat()
        self.attempts[hand].beat()

    def expire(self, draw: random.Random) -> None:
        """A lease's time is over; its worker knows nothing of it."""
        job = draw.choice(self.running())
        self.place.expire(job.id)
        job.is_late = True
        if draw.random() < 0.5:
            self.sweep(draw)

    def sweep(self, _: random.Random) -> None:
        """What expired goes back to the queue."""
        self.place.sweeper.tend()
        self.model.sweep()

    def ripen(self, _: random.Random) -> None:
        """Every backoff is over."""
        for job in self.model.jobs:
            if job.waits and job.status is JobStatus.QUEUED:
                self.place.ripen(job.id)
                job.waits = False

    def collect(self, _: random.Random) -> None:
        """What is deleted goes for good."""
        self.place.sweeper.collect()
        self.model.purge()
