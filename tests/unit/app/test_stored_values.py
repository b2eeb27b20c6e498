"""A stored value with more fields than this release knows is read all the same, at any depth."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel
from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

import app.db.migrate  # noqa: F401 - so that the metadata has every table
from app.db.tables import Table
from app.db.types import Json
from app.domain.adapters import ImportOptions
from app.domain.base_models import BaseModelManifest, Family
from app.domain.comparison import Difference
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.deletions import ObjectTally, Removed
from app.domain.erasure import EraseMode
from app.domain.errors import Fault
from app.domain.evaluations import (
    ConceptLoss,
    EvaluationOptions,
    EvaluationPolicy,
    EvaluationProtocol,
    GateMetric,
    GateVerdict,
    PromotionGate,
)
from app.domain.jobs import (
    EraseParams,
    EraseResult,
    EvaluateParams,
    EvaluateResult,
    GenerateParams,
    GenerateResult,
    ImportParams,
    JobFault,
    Replacement,
    ReproduceParams,
    ReproduceResult,
    TrainParams,
    TrainResult,
)
from app.domain.lineages import Machine, Provenance
from app.domain.quotas import QuotaOverrides
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions

TAUGHT = TaughtConcept(name="rex", kind=ConceptKind.OBJECT, class_noun="dog", token="tok")
PROVENANCE = Provenance(
    base_model="tiny",
    base_fingerprint="0",
    parent_adapter_sha256=None,
    image_sha256s=("0",),
    instance_prompt="a",
    strategy=MergeOptions(),
    training=TrainingOptions(),
    adapter_sha256="0",
    final_loss=0.5,
    strategy_notes={"share": 0.5},
    attempts=1,
    training_seconds=1.0,
    machine=Machine(device="cpu", torch_threads=2, code_version="0", python_version="3", libraries={"torch": "2"}),
)
VERDICT = GateVerdict(
    metric=GateMetric.SCORE, max_loss=0.1, passed=True, losses=(ConceptLoss(concept="rex", loss=None),)
)

EXAMPLES: Mapping[str, Sequence[object]] = {
    "users.quotas": [QuotaOverrides(images=3)],
    "base_models.manifest": [BaseModelManifest(name="a", family=Family.SD, resolution=64, rare_tokens=("a",))],
    "lineages.strategy": [MergeOptions()],
    "lineages.training": [TrainingOptions()],
    "lineages.evaluation": [EvaluationPolicy(gate=PromotionGate(max_loss=0.1), options=EvaluationOptions(steps=3))],
    "versions.taught": [TAUGHT],
    "versions.strategy": [MergeOptions()],
    "versions.training": [TrainingOptions()],
    "versions.provenance": [PROVENANCE],
    "erasure_drafts.provenance": [PROVENANCE],
    "jobs.params": [
        TrainParams(concept_id=uuid4(), taught=TAUGHT, strategy=MergeOptions(), training=TrainingOptions()),
        GenerateParams(generation_id=uuid4()),
        ImportParams(file_name="a", file_sha256="0", options=ImportOptions(), taught=TAUGHT, concepts=(TAUGHT,)),
        ReproduceParams(version_id=uuid4(), concept_id=uuid4()),
        EraseParams(concept_id=uuid4(), mode=EraseMode.REFOLD),
        EvaluateParams(evaluation_id=uuid4()),
    ],
    "jobs.result": [
        TrainResult(lineage_id=uuid4(), version=1, evaluation_id=uuid4(), gate=VERDICT),
        GenerateResult(generation_id=uuid4()),
        ReproduceResult(
            lineage_id=uuid4(),
            version=1,
            reproduced=False,
            expected_sha256="0",
            got_sha256="1",
            max_abs_difference=0.5,
            differences=(Difference(field="a", from_value="1", to_value="2"),),
        ),
        EraseResult(
            lineage_id=uuid4(),
            mode=EraseMode.REFOLD,
            residual=True,
            concept_deleted=True,
            versions=(Replacement(lineage_id=uuid4(), version=1, replaced_by=2),),
        ),
        EvaluateResult(evaluation_id=uuid4()),
    ],
    "jobs.error": [JobFault(type="a", title="b", detail="c", errors=(Fault(field="a", message="b"),))],
    "deletions.removed": [Removed(rows={"a": 1}, objects={"b": ObjectTally(count=1, bytes=2)})],
    "evaluations.protocol": [EvaluationProtocol()],
    "concepts.warnings": [(Fault(field="images[0]", message="one colour"),)],
    "generations.warnings": [(Fault(field="prompt", message="plain text"),)],
}


def _json_columns() -> dict[str, Column[Any]]:
    columns = [column for table in Table.metadata.tables.values() for column in table.columns]
    return {str(column): column for column in columns if isinstance(column.type, Json)}


def _from_later_release(value: object) -> object:
    """As JSON, with one more field in every object that has named fields."""
    if isinstance(value, BaseModel):
        stored = value.model_dump(mode="json")
        names = {name: field.alias or name for name, field in type(value).model_fields.items()}
        nested = {names[name]: _from_later_release(getattr(value, name)) for name in names if names[name] in stored}
        return nested | {"added_later": {"deep": [1]}}
    if isinstance(value, dict):
        return {str(key): _from_later_release(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_from_later_release(item) for item in value]
    return value


def _cases() -> Iterator[Any]:
    for name, values in EXAMPLES.items():
        for value in values:
            yield pytest.param(name, value, id=f"{name}-{type(value).__name__}")


@pytest.mark.parametrize(("name", "value"), list(_cases()))
def test_a_field_of_a_later_release_is_left_out(name: str, value: object) -> None:
    kind = _json_columns()[name].type
    assert isinstance(kind, Json)
    read = kind.process_result_value(_from_later_release(value), postgresql.dialect())
    assert read == value
    assert type(read) is type(value)


def test_every_stored_value_has_an_example() -> None:
    # The result of an evaluation is numbers, in tuples: it is built of the same class of values.
    assert set(EXAMPLES) == set(_json_columns()) - {"evaluations.result"}
