"""Workers whose moves a test decides: real runners on real services, which wait where tensors would be computed."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from queue import SimpleQueue
from types import SimpleNamespace, TracebackType
from typing import Any, cast
from uuid import UUID

import pytest
import torch
from PIL import Image
from sqlalchemy.orm import Session

from app.domain.base_models import BaseModelManifest
from app.domain.jobs import EraseParams, JobKind, Phase
from tests.integration.histories.place import BASE, Place
from worker import runner
from worker.adapters.factors import Adapter, Factors
from worker.attempt.job_context import HandBackError
from worker.attempt.lease import Lease
from worker.generation.batches import Drawn
from worker.generation.sampling import GenerationHooks, GenerationRequest
from worker.jobs import generate, teaching
from worker.jobs.erase import job as erase
from worker.jobs.erase.shared_history import SharedHistory
from worker.jobs.erase.shared_history import lock as lock_family
from worker.models.base import Base
from worker.runner import Runner
from worker.training.training_task import Hooks, Trained, TrainingTask

_PATIENCE_SECONDS = 120.0


class At(StrEnum):
    """Where a worker waits for its next order."""

    TRAINING = "training"
    DRAWING = "drawing"
    LOCKING = "locking"


class Order(StrEnum):
    """What it is to do there; an exception instead is raised there."""

    STEP = "step"
    CHECKPOINT = "checkpoint"
    FINISH = "finish"


class Hand:
    """One worker. `at` is where it waits, None when it has no job."""

    def __init__(self, own: Runner) -> None:
        self._runner = own
        self._thread: threading.Thread | None = None
        self._orders: SimpleQueue[Order | Exception] = SimpleQueue()
        self._reports: SimpleQueue[At | Exception | None] = SimpleQueue()
        self.at: At | None = None
        self.lease: ManualLease | None = None

    @classmethod
    def of(cls, place: Place) -> "Hand":
        """A worker on those services."""
        return cls(Runner(place.settings, place.engine, place.store, threading.Event()))

    def claim(self, kinds: tuple[JobKind, ...]) -> UUID | None:
        """Take a job if there is one, and go on to where tensors would be computed; the job's id."""
        self.lease = None
        self._thread = threading.Thread(target=self._work, args=(kinds,), daemon=True)
        self._thread.start()
        self._listen()
        return None if self.lease is None else self.lease.claim.job_id

    def order(self, order: Order | Exception) -> None:
        """Let it do that, and go on to its next halt or to its job's end."""
        self._orders.put(order)
        self._listen()

    def give_up(self) -> None:
        """Leave a job that no test waits for any more."""
        while self.at is not None:
            self.order(HandBackError("the history is over"))

    def wait(self, at: At) -> Order:
        """Within the worker: stop here until told what to do."""
        self._reports.put(at)
        order = self._orders.get(timeout=_PATIENCE_SECONDS)
        if isinstance(order, Exception):
            raise order
        return order

    def _work(self, kinds: tuple[JobKind, ...]) -> None:
        _here.hand = self
        try:
            self._runner.run_one(kinds)
            self._reports.put(None)
        except Exception as error:
            self._reports.put(error)

    def _listen(self) -> None:
        report = self._reports.get(timeout=_PATIENCE_SECONDS)
        self.at = report if isinstance(report, At) else None
        if self.at is None:
            assert self._thread is not None
            self._thread.join()
        if isinstance(report, Exception):
            raise report


_here = threading.local()


def _hand() -> Hand:
    return cast(Hand, _here.hand)


class ManualLease(Lease):
    """A lease without its thread: the test says when a heartbeat is sent."""

    def __enter__(self) -> "ManualLease":
        _hand().lease = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def beat(self) -> None:
        """Send one heartbeat."""
        self._renew()


class _NoBases:
    """What takes the place of loaded base models: nothing is computed here."""

    def __init__(self, *_: object) -> None:
        pass

    def get(self, _: str) -> tuple[Base, BaseModelManifest]:
        return cast(Base, SimpleNamespace(fingerprint="none", device=torch.device("cpu"), unheard=lambda _: "")), BASE


def _train(base: Base, task: TrainingTask, hooks: Hooks, resume_from: bytes | None) -> Trained:
    hooks.phase(Phase.TRAINING)
    step = 0
    while (order := _hand().wait(At.TRAINING)) is not Order.FINISH:
        if order is Order.STEP:
            step += 1
            hooks.step(step, task.training.steps, 0.5)
        else:
            hooks.save_checkpoint(b"so far", step)
    factors = Factors(torch.ones(1, 2), torch.ones(2, 1))
    return Trained(Adapter(1.0, {"to_q": factors}), 0.5, {}, {})


def _draw(
    base: Base, update: object, request: GenerationRequest, hooks: GenerationHooks, first: int
) -> Generator[Drawn, None, None]:
    while _hand().wait(At.DRAWING) is not Order.FINISH:
        hooks.step(1, request.num_images * request.steps)
    for _ in range(first, request.num_images):
        yield Drawn(Image.new("RGB", (4, 4)), at_once=1)


def _lock(session: Session, lineage_id: UUID, params: EraseParams) -> SharedHistory | None:
    while _hand().wait(At.LOCKING) is not Order.FINISH:
        pass
    return lock_family(session, lineage_id, params)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Within it, workers wait instead of computing; all that they read and write is real."""

    def no_update(*_: Any) -> dict[str, torch.Tensor]:
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Lease", ManualLease)
        patch.setattr(runner, "LoadedBases", _NoBases)
        patch.setattr(teaching, "train", _train)
        patch.setattr(generate, "generate", _draw)
        patch.setattr(generate, "accumulated_update", no_update)
        patch.setattr(erase, "lock", _lock)
        yield
