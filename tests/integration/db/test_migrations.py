"""Migrations on tables that hold rows: what an operator's database goes through at an upgrade."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    cast,
    create_engine,
    func,
    insert,
    select,
    text,
    update,
)

from app.db import tables
from app.db.migrate import alembic_config, downgrade, upgrade
from app.db.session import make_engine
from app.domain.jobs import PUBLISHING_KINDS, JobStatus
from app.settings import Settings

_SCRIPTS = ScriptDirectory.from_config(alembic_config())
REVISIONS = [script.revision for script in _SCRIPTS.walk_revisions()][::-1]


@pytest.fixture
def database_url(settings: Settings) -> Iterator[str]:
    """An empty database beside the test's own."""
    assert settings.database_url is not None
    server = create_engine(settings.database_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        name = f"{connection.scalar(text('SELECT current_database()'))}_migrations"
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def test_the_migrations_make_the_tables_that_the_code_knows(database_url: str) -> None:
    upgrade(database_url)
    with make_engine(database_url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.Table.metadata) == []


def test_the_kinds_that_publish_take_turns_in_the_database_too(database_url: str) -> None:
    """Alembic compares no index's condition: a kind that publishes needs a migration of this one."""
    upgrade(database_url)
    query = text("SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = CAST(:name AS regclass)")
    with make_engine(database_url).connect() as connection:
        condition = str(connection.scalar(query, {"name": "jobs_one_publishing_per_lineage"}))
    assert set(re.findall(r"'(\w+)'", condition)) == {*PUBLISHING_KINDS, JobStatus.RUNNING}


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_migration_keeps_the_rows_that_it_finds(database_url: str, revision: str) -> None:
    upgrade(database_url, revision)
    engine = make_engine(database_url)
    before = _fill(engine)
    upgrade(database_url, "head")
    assert _counts(engine, before) == before
    downgrade(database_url, revision)
    assert _counts(engine, before) == before
    engine.dispose()


def test_every_migration_can_be_taken_back(database_url: str) -> None:
    upgrade(database_url)
    engine = make_engine(database_url)
    _fill(engine)
    downgrade(database_url, "base")
    assert set(_reflect(engine).tables) == {"alembic_version"}
    upgrade(database_url)
    engine.dispose()


def test_lineages_count_on_from_the_versions_that_they_have(database_url: str) -> None:
    upgrade(database_url, "0002")
    engine = make_engine(database_url)
    _fill(engine)
    versions = _reflect(engine).tables["versions"]
    with engine.begin() as connection:
        connection.execute(text("SET session_replication_role = replica"))
        with_versions = connection.scalars(text("SELECT id FROM lineages")).first()
        for number in range(4):
            row = _row(versions, number) | {"lineage_id": with_versions, "number": number}
            connection.execute(insert(versions).values(row))
    upgrade(database_url)
    with engine.connect() as connection:
        counters = connection.execute(text("SELECT id, next_number FROM lineages")).all()
    assert sorted((row.id == with_versions, row.next_number) for row in counters) == [(False, 1), (True, 4)]
    engine.dispose()


KEYS = ("concept_id", "version_id", "generation_id", "evaluation_id")


def test_jobs_get_the_keys_that_their_parameters_name(database_url: str) -> None:
    """Those that are there at the migration, and those that the release before this one adds afterwards."""
    upgrade(database_url, "0010")
    engine = make_engine(database_url)
    _fill(engine)
    engine.dispose()  # Its connection fires no triggers.
    ids = {name: _first_id(engine, f"{name.removesuffix('_id')}s") for name in KEYS}
    with engine.begin() as connection:
        for table in ("generations", "evaluations"):
            connection.execute(update(_reflect(engine).tables[table]).values(version_id=ids["version_id"]))
    cases: list[tuple[dict[str, UUID], set[str]]] = [
        ({"concept_id": ids["concept_id"]}, {"concept_id"}),
        ({"erased_concept_id": ids["concept_id"]}, {"concept_id"}),
        ({"concept_id": ids["concept_id"], "version_id": ids["version_id"]}, {"concept_id", "version_id"}),
        ({"generation_id": ids["generation_id"]}, {"generation_id", "version_id"}),
        ({}, set()),
        # What they named has been purged.
        ({"concept_id": uuid4(), "version_id": uuid4()}, set()),
        ({"generation_id": uuid4()}, set()),
    ]
    before = [(_add_job(engine, params), keys) for params, keys in cases]
    before.append((_add_job(engine, {"evaluation_id": ids["evaluation_id"]}), {"evaluation_id", "version_id"}))
    upgrade(database_url)
    after = [(_add_job(engine, params), keys) for params, keys in cases]
    # The row of an evaluation comes after its job: the trigger cannot know its version.
    after.append((_add_job(engine, {"evaluation_id": ids["evaluation_id"]}), {"evaluation_id"}))
    for job_id, keys in before + after:
        with engine.connect() as connection:
            row = connection.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).one()._mapping
        assert {name: row[name] for name in KEYS} == {name: ids[name] if name in keys else None for name in KEYS}
    engine.dispose()


def _first_id(engine: Engine, table: str) -> UUID:
    ids = _reflect(engine).tables[table].columns["id"]
    with engine.connect() as connection:
        return UUID(str(connection.scalar(select(func.min(cast(ids, String))))))


def _add_job(engine: Engine, params: dict[str, UUID]) -> UUID:
    """A job as release 0010 writes it: only its parameters say what it works on."""
    job_id = uuid4()
    row = {
        "id": job_id,
        "user_id": _first_id(engine, "users"),
        "lineage_id": _first_id(engine, "lineages"),
        "params": json.dumps({name: str(value) for name, value in params.items()}),
    }
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, user_id, lineage_id, params, kind, base_model, status, attempt, failures, step,"
                " total_steps) VALUES (:id, :user_id, :lineage_id, :params, 'train', 'tiny', 'queued', 0, 0, 0, 0)"
            ),
            row,
        )
    return job_id


def _reflect(engine: Engine) -> MetaData:
    metadata = MetaData()
    metadata.reflect(engine)
    return metadata


def _fill(engine: Engine) -> dict[str, int]:
    """Two rows in each table; the number of rows by table."""
    with engine.begin() as connection:
        # The head of a lineage and its versions name each other, so keys are checked by nobody while rows are made.
        connection.execute(text("SET session_replication_role = replica"))
        for table in _reflect(engine).tables.values():
            if table.name != "alembic_version":
                for n in range(2):
                    connection.execute(insert(table).values(_row(table, n)))
    return _counts(engine, _reflect(engine).tables)


def _counts(engine: Engine, names: Any) -> dict[str, int]:
    metadata = _reflect(engine)
    with engine.connect() as connection:
        return {name: _count(connection, metadata.tables[name]) for name in names}


def _count(connection: Connection, table: Table) -> int:
    return len(connection.execute(select(table)).all())


def _row(table: Table, n: int) -> dict[str, Any]:
    return {column.name: _value(column, n) for column in table.columns if column.identity is None}


def _value(column: Column[Any], n: int) -> object:
    kind = column.type.as_generic().__visit_name__
    values: dict[str, object] = {
        "uuid": uuid4(),
        "integer": n,
        "big_integer": n,
        "boolean": bool(n),
        "double": 0.5,
        "float": 0.5,
        "datetime": datetime.now(UTC),
        "json": {"n": n},
        "array": [],
        "string": f"{column.name}-{n}",
        "text": f"{column.name}-{n}",
    }
    return values[kind.lower()]
