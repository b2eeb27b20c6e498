"""What a job names in its parameters, its row names by foreign keys, so that deletion finds it."""

from typing import get_args
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from app.db.jobs import new_job
from app.db.references import core, objects_named_by, removed_with, works_on_it
from app.db.tables import Concept, Generation, Job, Lineage, StoredObject, Table, User, Version
from app.domain.jobs import JobParams
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions

PARAMS: tuple[type[BaseModel], ...] = get_args(get_args(JobParams)[0])


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: params.__name__)
def test_every_id_among_a_jobs_parameters_is_a_foreign_key_of_its_row(params: type[BaseModel]) -> None:
    ids = {name: uuid4() for name, field in params.model_fields.items() if field.annotation is UUID}
    lineage = Lineage(user_id=uuid4(), name="a", base_model="tiny", strategy=MergeOptions(), training=TrainingOptions())
    job = new_job(lineage, params.model_construct(**ids))  # type: ignore[arg-type]
    for name, id_ in ids.items():
        assert getattr(job, name) == id_
        assert core(Job).columns[name].foreign_keys


def test_what_is_removed_with_a_user_is_all_that_postgres_removes() -> None:
    """Every table but those that belong to nobody."""
    removed = {table.name for table, _ in removed_with((core(User), User.id == uuid4()))}
    assert set(Table.metadata.tables) - removed == {"objects", "base_models"}


@pytest.mark.parametrize("table", [User, Lineage, Concept, Version, Generation])
def test_a_job_works_on_what_it_was_asked_for_and_not_on_its_parent(table: type[User | Lineage | Concept]) -> None:
    condition = str(works_on_it(table))
    assert table.__tablename__ in condition
    assert "parent_version_id" not in condition


def test_what_a_lineage_names_is_found_through_every_table_below_it() -> None:
    query = str(objects_named_by(list(removed_with((core(Lineage), Lineage.id == uuid4())))))
    below = {table for table, _ in removed_with((core(Lineage), Lineage.id == uuid4()))}
    naming = {key.parent for table in below for key in table.foreign_keys if key.column.table is core(StoredObject)}
    assert naming
    for column in naming:
        assert f"SELECT {column.table.name}.{column.name}" in query
