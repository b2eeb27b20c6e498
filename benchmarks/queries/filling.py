"""A database as a busy installation has it after a year: users, histories, jobs and objects, made by `filling.sql`.

Some users are at their quotas: 200 lineages, 2,000 queued trainings. The others have a few lineages each. Ids are
hashes of a kind and a number, so that rows name each other without being looked up.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects import postgresql

from app.db.evaluation_tables import Evaluation
from app.db.tables import BaseModelRow, Job, Lineage, Version
from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.evaluations import EvaluationPolicy, EvaluationProtocol
from app.domain.jobs import TrainParams
from app.domain.lineages import Machine, Provenance
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions

_SQL = Path(__file__).with_name("filling.sql")

_COUNTS = {"versions": 10, "queued": 10, "finished": 5, "generations": 3, "pictures": 3}
"""Of each lineage; queued trainings only of a busy user's, pictures of each generation."""


@dataclass(frozen=True)
class Size:
    """How many users there are, how many of them are at their quotas, and how many lineages either have."""

    users: int
    busy_users: int
    busy_lineages: int
    lineages: int

    @classmethod
    def scaled(cls, scale: float) -> "Size":
        """1: ten thousand users, a million jobs, a million versions, two million objects."""
        return cls(max(4, int(10_000 * scale)), max(2, int(100 * scale)), 200, 8)

    def parameters(self) -> dict[str, int]:
        """All counts, for the statements."""
        busy = self.busy_users * self.busy_lineages
        everybody = busy + (self.users - self.busy_users) * self.lineages
        return asdict(self) | _COUNTS | {"all_busy_lineages": busy, "all_lineages": everybody}


def id_of(kind: str, number: int) -> UUID:
    """The id that `filling.sql` gives to that row."""
    return UUID(md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


_STRATEGY = MergeOptions()
_TRAINING = TrainingOptions()
_TAUGHT = TaughtConcept(name="rex", kind=ConceptKind.OBJECT, class_noun="dog", token="tok0")  # noqa: S106
_PROVENANCE = Provenance(
    base_model="tiny",
    base_fingerprint="0" * 64,
    parent_adapter_sha256="0" * 64,
    image_sha256s=("0" * 64,) * 5,
    instance_prompt="a photo of tok0 dog",
    strategy=_STRATEGY,
    training=_TRAINING,
    adapter_sha256="0" * 64,
    final_loss=0.1,
    attempts=1,
    training_seconds=60.0,
    machine=Machine(device="cpu", torch_threads=2, code_version="0", python_version="3.11", libraries={"torch": "2"}),
)


def fill(engine: Engine, size: Size) -> None:
    """Fill a database that has tables and no rows."""
    counts = size.parameters()
    values = counts | {
        "strategy": _json(Lineage.strategy, _STRATEGY),
        "options": _json(Lineage.training, _TRAINING),
        "policy": _json(Lineage.evaluation, EvaluationPolicy()),
        "taught": _json(Version.taught, _TAUGHT),
        "provenance": _json(Version.provenance, _PROVENANCE),
        "protocol": _json(Evaluation.protocol, EvaluationProtocol()),
        "manifest": _json(BaseModelRow.manifest, _manifest()),
        "params": _json(
            Job.params,
            TrainParams(concept_id=UUID(int=0), taught=_TAUGHT, strategy=_STRATEGY, training=_TRAINING),
        ),
    }
    with engine.begin() as connection:
        # Millions of rows whose keys are known to be right.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for name in ("busy_users", "busy_lineages", "lineages"):
            connection.execute(text(f"SET LOCAL size.{name} = {counts[name]}"))
        for statement in _SQL.read_text().split(";\n"):
            _execute(connection, statement, values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _execute(connection: Connection, statement: str, values: dict[str, Any]) -> None:
    clause = text(statement)
    connection.execute(clause, {name: values[name] for name in clause.compile().params})


def _manifest() -> BaseModelManifest:
    tokens = tuple(f"tok{n}" for n in range(100))
    return BaseModelManifest(name="tiny", family=Family.SD, resolution=64, rare_tokens=tokens)


def _json(column: Any, value: object) -> str:
    return json.dumps(column.type.process_bind_param(value, postgresql.dialect()))
