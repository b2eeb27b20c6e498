"""One run: users submit, faults strike, everything is healed, and the checker reads what is left."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from sqlalchemy import func, select

from app.db.session import transaction
from app.db.tables import Job
from app.domain.jobs import JobKind, JobStatus
from app.stack.waiting import becomes_true
from tests.chaos.checker import violations
from tests.chaos.faults import FaultKind, Faults, Undo, schedule
from tests.chaos.fleet import Fleet
from tests.chaos.recovery import Recoveries
from tests.chaos.report import Outcome, Plan, Work, count_kinds
from tests.chaos.users import User

Say = Callable[[str], None]

_LOOK_SECONDS = 0.1


def variables(plan: Plan) -> dict[str, str]:
    """The settings of every process of a run."""
    return {
        "PALIMPSEST_LEASE_SECONDS": str(plan.lease_seconds),
        "PALIMPSEST_HEARTBEAT_SECONDS": str(plan.heartbeat_seconds),
        "PALIMPSEST_CHECKPOINT_INTERVAL_SECONDS": str(plan.checkpoint_seconds),
        "PALIMPSEST_SWEEP_INTERVAL_SECONDS": str(plan.sweep_seconds),
        "PALIMPSEST_REWAKE_AFTER_SECONDS": str(plan.rewake_seconds),
        "PALIMPSEST_RETRY_BACKOFF_SECONDS": "1",
    }


def run(plan: Plan, home: Path, say: Say) -> Outcome:
    """Carry out a plan in an empty folder."""
    began_at = time.monotonic()
    with Fleet(home, plan.workers, variables(plan)) as fleet:
        users = _users(plan, fleet)
        recoveries = Recoveries(fleet.engine)
        struck = _torment(plan, fleet, users, recoveries, say)
        for user in users:
            user.join(timeout=30)
            user.look_again()
        for name in ("api", "sweeper", *fleet.workers):
            fleet.stop(name)
        return Outcome(
            plan=plan,
            seconds=time.monotonic() - began_at,
            statuses=_statuses(fleet),
            faults=count_kinds(struck),
            recoveries=recoveries.seconds,
            work=_work(fleet),
            violations=violations(fleet, users),
        )


def _users(plan: Plan, fleet: Fleet) -> list[User]:
    url = f"http://127.0.0.1:{fleet.api_port}"
    users = []
    for number in range(plan.users):
        share = plan.jobs // plan.users + (number < plan.jobs % plan.users)
        answer = httpx.post(
            f"{url}/v1/users", json={"name": f"user-{number}"}, headers={"Authorization": f"Bearer {fleet.admin_key}"}
        )
        user = User(url, answer.raise_for_status().json()["key"], plan.seed * 100 + number, share, plan.train_steps)
        user.prepare()
        users.append(user)
    for user in users:
        user.start()
    return users


def _torment(plan: Plan, fleet: Fleet, users: Sequence[User], recoveries: Recoveries, say: Say) -> list[FaultKind]:
    """Until the schedule is through, all that lasted is undone, and all users are done; what was struck."""
    faults = Faults(fleet, recoveries, plan.seed, plan.lease_seconds)
    rng = random.Random(plan.seed + 1)
    ahead, struck = schedule(plan.seed, plan.faults), list[FaultKind]()
    undos = list[tuple[float, Undo]]()
    next_at = time.monotonic() + plan.gap_seconds
    ends_at: float | None = None
    while ends_at is None or time.monotonic() < ends_at:
        time.sleep(_LOOK_SECONDS)
        undos = _undo_due(undos)
        assert becomes_true(fleet.is_alive, plan.patience_seconds), "Postgres did not come back"
        recoveries.look()
        if ahead and time.monotonic() >= next_at:
            kind = ahead.pop(0)
            struck.append(kind)
            accepted = sum(len(user.accepted) for user in users)
            # In step with the schedule, so that no fault finds the workers idle, however fast the machine is.
            for user in users:
                user.allow(len(struck) / plan.faults)
            say(f"fault {len(struck)}: {kind.value}; {accepted} jobs accepted")
            if (lasting := faults.strike(kind)) is not None:
                undos.append((time.monotonic() + lasting[0], lasting[1]))
            next_at = time.monotonic() + plan.gap_seconds * rng.uniform(0.5, 1.5)
        if not ahead and not undos and ends_at is None:
            ends_at = time.monotonic() + plan.patience_seconds
        if ends_at is not None and not any(user.is_alive() for user in users):
            break
    _finish(plan, fleet, users, recoveries)
    return struck


def _finish(plan: Plan, fleet: Fleet, users: Sequence[User], recoveries: Recoveries) -> None:
    """Let the users have what they have submitted; what is not over then is lost."""

    def are_done() -> bool:
        fleet.start_the_dead()
        recoveries.look()
        return not any(user.is_alive() for user in users)

    for user in users:
        user.no_more.set()
    becomes_true(are_done, plan.patience_seconds)
    for user in users:
        user.end.set()


def _undo_due(undos: list[tuple[float, Undo]]) -> list[tuple[float, Undo]]:
    now = time.monotonic()
    for _, undo in (due for due in undos if due[0] <= now):
        undo()
    return [due for due in undos if due[0] > now]


def _statuses(fleet: Fleet) -> dict[str, int]:
    with transaction(fleet.engine) as session:
        return dict(Counter(status.value for status in session.scalars(select(Job.status))))


def _work(fleet: Fleet) -> Work:
    trainings = Job.kind == JobKind.TRAIN
    succeeded = trainings & (Job.status == JobStatus.SUCCEEDED)
    with transaction(fleet.engine) as session:
        needed = session.scalar(select(func.sum(Job.total_steps)).where(succeeded)) or 0
        interrupted = session.scalar(select(func.sum(Job.attempt - 1)).where(trainings, Job.attempt > 1)) or 0
        pace = session.scalar(select(func.avg(Job.seconds_per_step)).where(succeeded)) or 0.0
    return Work(done=fleet.steps(), needed=needed, interruptions=interrupted, seconds_per_step=pace)
