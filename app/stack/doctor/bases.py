"""Base models: whether a worker on this machine can load each that is registered."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from app.db.session import make_engine, transaction
from app.db.tables import BaseModelRow
from app.stack.doctor.findings import Finding, problem, warning
from app.stack.programs import base_trial_command

_ADVICE = (
    "Put it back under the same path on every machine with a worker, or delete it with DELETE /v1/base-models/{name}"
)
_SECONDS = 600


def base_findings(database_url: str) -> Iterator[Finding]:
    """What is wrong with the registered bases; nothing is said of a database that cannot be asked."""
    engine = make_engine(database_url)
    try:
        rows = _registered(engine)
    except SQLAlchemyError:
        return
    finally:
        engine.dispose()
    if not rows:
        yield warning("no base model is registered", "Run: palimpsest bootstrap")
    for row in rows:
        if (fault := _fault(row)) is not None:
            yield problem(f"the base model {row.name} does not load ({fault})", _ADVICE.format(name=row.name))


def _registered(engine: Engine) -> list[BaseModelRow]:
    with transaction(engine) as session:
        return list(session.scalars(select(BaseModelRow).order_by(BaseModelRow.name)))


def _fault(row: BaseModelRow) -> str | None:
    """In a process of its own, since the front end has no torch; it has the whole machine's memory to itself."""
    if Path(row.source).is_absolute() and not Path(row.source).is_dir():
        return f"there is no folder {row.source}"
    command = base_trial_command(row.manifest.family, row.source)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].rstrip(".")
