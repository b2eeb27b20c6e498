"""What a job works on, as foreign keys

Revision: 0012, after 0011, of 2026-11-28 12:50:00.
"""

import sqlalchemy as sa
from alembic import op

from migrations.online import create_foreign_key, create_index, drop_index, update_in_batches

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = {
    "concept_id": "concepts",
    "version_id": "versions",
    "generation_id": "generations",
    "evaluation_id": "evaluations",
}

# Joined, so that what has been purged is not named.
_FILL = (
    """
    UPDATE jobs SET concept_id = concepts.id FROM concepts WHERE seq BETWEEN :first AND :last
    AND concepts.id = CAST(coalesce(params ->> 'concept_id', params ->> 'erased_concept_id') AS uuid)
    """,
    """
    UPDATE jobs SET version_id = versions.id FROM versions WHERE seq BETWEEN :first AND :last
    AND versions.id = CAST(params ->> 'version_id' AS uuid)
    """,
    """
    UPDATE jobs SET generation_id = generations.id, version_id = generations.version_id FROM generations
    WHERE seq BETWEEN :first AND :last AND generations.id = CAST(params ->> 'generation_id' AS uuid)
    """,
    """
    UPDATE jobs SET evaluation_id = evaluations.id, version_id = evaluations.version_id FROM evaluations
    WHERE seq BETWEEN :first AND :last AND evaluations.id = CAST(params ->> 'evaluation_id' AS uuid)
    """,
)


# The columns had no key until now, so what they name may be gone.
_CLEAR = """
    UPDATE jobs SET {name} = NULL WHERE seq BETWEEN :first AND :last
    AND {name} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.id = jobs.{name})
    """


def upgrade() -> None:
    for statement in (*_FILL, *(_CLEAR.format(name=name, table=table) for name, table in _TABLES.items())):
        update_in_batches(statement, "jobs", "seq")
    for name, table in _TABLES.items():
        # An evaluation names its job as well: the key is checked at the commit.
        late = {"deferrable": True, "initially": "DEFERRED"} if name == "evaluation_id" else {}
        create_index(f"jobs_{name}", "jobs", [name], postgresql_where=sa.text(f"{name} IS NOT NULL"))
        create_foreign_key(f"jobs_{name}_fkey", "jobs", table, name, ondelete="SET NULL", **late)
    drop_index("jobs_generation", "jobs")


def downgrade() -> None:
    op.create_index("jobs_generation", "jobs", [sa.text("((params ->> 'generation_id')::uuid)")])
    for name in _TABLES:
        op.drop_constraint(f"jobs_{name}_fkey", "jobs", type_="foreignkey")
        op.drop_index(f"jobs_{name}", table_name="jobs")
