"""The faults: what each kind does to the fleet, and how it is undone."""

import random
import signal
from collections.abc import Callable
from enum import StrEnum

import redis
from sqlalchemy import select, text

from app.db.session import transaction
from app.db.tables import Job
from app.domain.jobs import JobStatus
from app.stack.waiting import becomes_true
from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Mood
from tests.chaos.recovery import Recoveries

_PATIENCE_SECONDS = 5.0


class FaultKind(StrEnum):
    """What is done on purpose."""

    WORKER_KILLED = "worker killed (kill -9)"
    WORKER_STOPPED = "worker stopped past its lease (SIGSTOP, SIGCONT)"
    API_KILLED = "API killed (kill -9)"
    SWEEPER_KILLED = "sweeper killed (kill -9)"
    REDIS_KILLED = "Redis killed, its data gone"
    REDIS_FLUSHED = "Redis flushed"
    POSTGRES_RESTARTED = "Postgres restarted"
    POSTGRES_CUT = "Postgres connections cut"
    S3_ERRORS = "S3 answers 503"
    S3_SLOW = "S3 slow"
    S3_SILENT = "S3 silent"
    DISK_FULL = "disk of a worker's cache full"
    CLOCK_JUMP = "wall clock of a lease holder jumps"


Undo = Callable[[], None]
Lasting = tuple[float, Undo]
"""For how many seconds a fault lasts, and how it is undone."""


def schedule(seed: int, count: int) -> list[FaultKind]:
    """That many faults: every kind before any kind comes again."""
    rng = random.Random(seed)
    kinds: list[FaultKind] = []
    while len(kinds) < count:
        kinds += rng.sample(list(FaultKind), len(FaultKind))
    return kinds[:count]


class Faults:
    """Does one fault after another to a fleet."""

    def __init__(self, fleet: Fleet, recoveries: Recoveries, seed: int, lease_seconds: float) -> None:
        self._fleet = fleet
        self._recoveries = recoveries
        self._rng = random.Random(seed)
        self._lease_seconds = lease_seconds
        self._stopped: set[str] = set()
        self._acts: dict[FaultKind, Callable[[], Lasting | None]] = {
            FaultKind.WORKER_KILLED: self._kill_worker,
            FaultKind.WORKER_STOPPED: self._stop_worker,
            FaultKind.API_KILLED: lambda: self._kill("api"),
            FaultKind.SWEEPER_KILLED: lambda: self._kill("sweeper"),
            FaultKind.REDIS_KILLED: lambda: self._kill("redis"),
            FaultKind.REDIS_FLUSHED: self._flush_redis,
            FaultKind.POSTGRES_RESTARTED: self._restart_postgres,
            FaultKind.POSTGRES_CUT: self._cut_connections,
            FaultKind.S3_ERRORS: lambda: self._disturb_s3(Mood.ERRORS),
            FaultKind.S3_SLOW: lambda: self._disturb_s3(Mood.SLOW),
            FaultKind.S3_SILENT: lambda: self._disturb_s3(Mood.SILENT),
            FaultKind.DISK_FULL: self._fill_disk,
            FaultKind.CLOCK_JUMP: self._turn_clock,
        }

    def strike(self, kind: FaultKind) -> Lasting | None:
        """Do it now; how long it is to last and how it is undone, if it lasts."""
        return self._acts[kind]()

    def _kill(self, name: str) -> Lasting | None:
        self._fleet.kill(name)
        self._fleet.start(name)
        return None

    def _kill_worker(self) -> Lasting | None:
        name = self._victim()
        self._recoveries.lost(self._fleet.worker_name(name))
        return self._kill(name)

    def _stop_worker(self) -> Lasting | None:
        """Never all of them: somebody has to go on."""
        if len(self._stopped) >= len(self._fleet.workers) // 2:
            return self._kill_worker()
        name = self._victim()
        self._stopped.add(name)
        self._fleet.signal(name, signal.SIGSTOP)
        self._recoveries.lost(self._fleet.worker_name(name))

        def wake() -> None:
            self._stopped.discard(name)
            self._fleet.signal(name, signal.SIGCONT)

        return self._lease_seconds + self._rng.uniform(2.0, 8.0), wake

    def _restart_postgres(self) -> Lasting | None:
        if self._rng.random() < 0.5:
            self._fleet.kill("postgres")
        else:
            self._fleet.stop("postgres")
        self._fleet.start("postgres")
        return None

    def _flush_redis(self) -> Lasting | None:
        assert self._fleet.settings.broker_url is not None
        with redis.Redis.from_url(self._fleet.settings.broker_url) as client:
            client.flushdb()
        return None

    def _cut_connections(self) -> Lasting | None:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE ANY(:names)"
        with self._fleet.engine.begin() as connection:
            connection.execute(text(query), {"names": ["worker-%", "api.%", "sweeper.%"]})
        return None

    def _disturb_s3(self, mood: Mood) -> Lasting:
        self._fleet.proxy.mood = mood

        def calm() -> None:
            self._fleet.proxy.mood = Mood.WELL

        return self._rng.uniform(1.0, 5.0), calm

    def _fill_disk(self) -> Lasting:
        control = self._fleet.controls[self._victim()]
        control.disk_full = True

        def empty() -> None:
            control.disk_full = False

        return self._rng.uniform(2.0, 6.0), empty

    def _turn_clock(self) -> Lasting | None:
        self._fleet.controls[self._victim()].clock_seconds = self._rng.uniform(-86_400.0, 86_400.0)
        return None

    def _victim(self) -> str:
        """A worker that holds a job, if any comes to hold one soon; none that is stopped already."""
        becomes_true(lambda: bool(self._busy()), _PATIENCE_SECONDS)
        return self._rng.choice(self._busy() or self._awake())

    def _busy(self) -> list[str]:
        with transaction(self._fleet.engine) as session:
            held = set(session.scalars(select(Job.worker).where(Job.status == JobStatus.RUNNING)))
        return [name for name in self._awake() if self._fleet.worker_name(name) in held]

    def _awake(self) -> list[str]:
        return [name for name in self._fleet.workers if name not in self._stopped]
