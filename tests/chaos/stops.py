"""Trials of one thing: a worker is stopped in the middle of its job, wakes up past its lease, and changes nothing.

All workers but one are stopped at once, at moments of their own; the one left does their jobs. Then all rows are
photographed, the sleepers wake up, and once each has noticed that it lost its lease, the rows must be the same.
"""

import random
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, text

from app.db.session import transaction
from app.db.tables import Job, ObjectStatus, StoredObject, Table
from app.domain.jobs import TERMINAL, JobStatus
from app.integrity.check import check
from app.stack.waiting import Condition, becomes_true
from tests.acceptance.foreign_client import ForeignClient
from tests.chaos import audit
from tests.chaos.checker import ANY_AGE_SECONDS, sweep
from tests.chaos.fleet import Fleet

_SEED = 20_261_125
_PATIENCE_SECONDS = 180.0
_LEASE_SECONDS = 4.0
_STEPS = 24
# What a worker says that no longer holds its job: it was told so, or its connection was cut in a transaction.
_LOST = ("the lease was lost; nothing is written", "Postgres is away")
_SETTINGS = {
    "PALIMPSEST_LEASE_SECONDS": str(_LEASE_SECONDS),
    "PALIMPSEST_HEARTBEAT_SECONDS": "0.5",
    "PALIMPSEST_CHECKPOINT_INTERVAL_SECONDS": "0.5",
    "PALIMPSEST_SWEEP_INTERVAL_SECONDS": "0.3",
    "PALIMPSEST_REWAKE_AFTER_SECONDS": "1",
    "PALIMPSEST_MAX_FAILURES": "20",
}


@dataclass
class Trials:
    """`woken`: workers that woke up past their lease. `void`: stops that came too late, when the job was over."""

    woken: int = 0
    void: int = 0
    violations: list[str] = field(default_factory=list)


def stop_trials(home: Path, seed: int, count: int, workers: int = 3) -> Trials:
    """That many trials, in rounds, on a fleet in an empty folder."""
    rng, trials = random.Random(seed), Trials()
    with Fleet(home, workers, _SETTINGS) as fleet:
        round_of = _Rounds(fleet, rng, trials)
        while trials.woken < count and trials.void <= count:
            round_of.one(count - trials.woken)
            sys.stdout.write(f"{trials.woken} woken, {trials.void} void, {len(trials.violations)} violations\n")
            sys.stdout.flush()
        for name in ("api", "sweeper", *fleet.workers):
            fleet.stop(name)
        trials.violations += audit.stale_writes(audit.read_changes(fleet.engine), fleet.names)
        trials.violations += audit.published_twice(fleet.engine)
        sweep(fleet)
        trials.violations += map(str, check(fleet.engine, fleet.store, ANY_AGE_SECONDS))
    return trials


@dataclass(frozen=True)
class _Held:
    job_id: UUID
    attempt: int
    step: int


class _Rounds:
    """A lineage for each job, so that jobs do not wait for each other."""

    def __init__(self, fleet: Fleet, rng: random.Random, trials: Trials) -> None:
        self._fleet, self._rng, self._trials = fleet, rng, trials
        admin = ForeignClient(f"http://127.0.0.1:{fleet.api_port}", fleet.admin_key)
        key = admin.call("POST", "/v1/users", 201, json={"name": "ada"}).json()["key"]
        self._client = ForeignClient(f"http://127.0.0.1:{fleet.api_port}", key)
        self._concept = self._client.concept("dog")

    def one(self, most: int) -> None:
        """Stop workers that hold a job, all but one and `most` at most; wake them, and compare."""
        stopped = self._stop(min(most, len(self._fleet.workers) - 1))
        lost_before = {name: self._losses(name) for name in stopped}
        self._wait("the others finish the jobs", self._is_at_rest)
        overtaken = [name for name, held in stopped.items() if self._attempt(held.job_id) > held.attempt]
        before = self._rows()
        for name in stopped:
            self._fleet.signal(name, signal.SIGCONT)
        for name in overtaken:
            self._wait(f"{name} notices", partial(self._has_noticed, name, lost_before[name]))
        self._trials.woken += len(overtaken)
        self._trials.void += len(stopped) - len(overtaken)
        if (after := self._rows()) != before:
            changed = {table: sorted({*before[table]} ^ {*after[table]}) for table in before}
            found = {table: rows for table, rows in changed.items() if rows}
            self._trials.violations.append(f"{overtaken} changed {found} after they woke up")

    def _losses(self, name: str) -> int:
        log = self._fleet.log(name)
        return sum(log.count(said) for said in _LOST)

    def _has_noticed(self, name: str, lost_before: int) -> bool:
        """A worker that slept for minutes takes itself for hung, and ends: that is noticing as well."""
        return self._losses(name) > lost_before or self._fleet.has_ended(name)

    def _stop(self, count: int) -> dict[str, _Held]:
        """Give each worker something to do, and stop so many in the middle of it; what each of these held."""
        self._fleet.start_the_dead()
        for _ in self._fleet.workers:
            lineage = self._client.lineage("merge", rank=2, steps=_STEPS, batch_size=1)
            self._client.train(lineage, self._concept)
        stopped: dict[str, _Held] = {}
        while len(stopped) < count and not self._is_at_rest():
            for name, held in self._held().items():
                if name not in stopped and len(stopped) < count and held.step >= self._rng.randrange(_STEPS):
                    self._fleet.signal(name, signal.SIGSTOP)
                    stopped[name] = held
        return stopped

    def _held(self) -> dict[str, _Held]:
        """The jobs that run, by the slots of their workers."""
        slots = {self._fleet.worker_name(name): name for name in self._fleet.workers}
        query = select(Job.worker, Job.id, Job.attempt, Job.step).where(Job.status == JobStatus.RUNNING)
        with transaction(self._fleet.engine) as session:
            rows = session.execute(query).all()
        return {slots[row[0]]: _Held(row[1], row[2], row[3]) for row in rows if row[0] is not None}

    def _attempt(self, job_id: UUID) -> int:
        with transaction(self._fleet.engine) as session:
            return session.get_one(Job, job_id).attempt

    def _is_at_rest(self) -> bool:
        """All jobs are over, and the sweeper has removed what they do not need any more, or never published."""
        unfinished = Job.status.not_in(TERMINAL) | Job.checkpoint_object_id.is_not(None)
        with transaction(self._fleet.engine) as session:
            jobs = session.scalar(select(Job.id).where(unfinished).limit(1))
            left = session.scalar(select(StoredObject.id).where(StoredObject.status != ObjectStatus.LIVE).limit(1))
        return jobs is None and left is None

    def _rows(self) -> dict[str, list[str]]:
        """Every row of what workers write; no client asks for anything meanwhile, and the sweeper has come to rest."""
        tables = [table.name for table in Table.metadata.sorted_tables if table.name != "api_keys"]
        with transaction(self._fleet.engine) as session:
            return {
                name: [str(row) for row in session.execute(text(f"SELECT * FROM {name} ORDER BY 1, 2"))]  # noqa: S608
                for name in tables
            }

    def _wait(self, what: str, condition: Condition) -> None:
        assert becomes_true(condition, _PATIENCE_SECONDS), f"not in time: {what}"


def main() -> int:
    """The long version: `python -m tests.chaos.stops [count]`; the exit status is 1 if anything was changed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="palimpsest-stops-") as folder:
        trials = stop_trials(Path(folder) / "home", seed=_SEED, count=count, workers=5)
    sys.stdout.write(f"seed {_SEED}: {trials.woken} workers woke up past their lease, {trials.void} stops void\n")
    sys.stdout.writelines(f"{line}\n" for line in trials.violations)
    sys.stdout.write(f"{len(trials.violations)} violations\n")
    return 1 if trials.violations else 0


if __name__ == "__main__":
    sys.exit(main())
