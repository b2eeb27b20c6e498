"""What a job works on, as foreign keys

Revision: 0011, after 0010, of 2026-11-28 12:00:00.

The release before writes only the parameters. As long as it may run beside this one, a trigger fills the keys.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
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
    UPDATE jobs SET concept_id = concepts.id FROM concepts
    WHERE concepts.id = coalesce(params ->> 'concept_id', params ->> 'erased_concept_id')::uuid
    """,
    "UPDATE jobs SET version_id = versions.id FROM versions WHERE versions.id = (params ->> 'version_id')::uuid",
    """
    UPDATE jobs SET generation_id = generations.id, version_id = generations.version_id FROM generations
    WHERE generations.id = (params ->> 'generation_id')::uuid
    """,
    """
    UPDATE jobs SET evaluation_id = evaluations.id, version_id = evaluations.version_id FROM evaluations
    WHERE evaluations.id = (params ->> 'evaluation_id')::uuid
    """,
)

_FILL_NEW = """
CREATE FUNCTION jobs_fill_references() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT id INTO NEW.concept_id FROM concepts
        WHERE id = coalesce(NEW.params ->> 'concept_id', NEW.params ->> 'erased_concept_id')::uuid;
    SELECT id INTO NEW.version_id FROM versions WHERE id = (NEW.params ->> 'version_id')::uuid;
    IF NEW.params ->> 'generation_id' IS NOT NULL THEN
        SELECT id, version_id INTO NEW.generation_id, NEW.version_id FROM generations
            WHERE id = (NEW.params ->> 'generation_id')::uuid;
    END IF;
    -- The row of an evaluation comes after its job, so it is not looked up.
    NEW.evaluation_id := (NEW.params ->> 'evaluation_id')::uuid;
    RETURN NEW;
END $$
"""

_TRIGGER = """
CREATE TRIGGER jobs_fill_references BEFORE INSERT ON jobs FOR EACH ROW
WHEN (num_nonnulls(NEW.concept_id, NEW.version_id, NEW.generation_id, NEW.evaluation_id) = 0)
EXECUTE FUNCTION jobs_fill_references()
"""


def upgrade() -> None:
    for name in _TABLES:
        op.add_column("jobs", sa.Column(name, sa.Uuid(), nullable=True))
    op.execute(_FILL_NEW)
    op.execute(_TRIGGER)
    for statement in _FILL:
        op.execute(statement)
    for name, table in _TABLES.items():
        # An evaluation names its job as well: the key is checked at the commit.
        is_late = name == "evaluation_id"
        op.create_foreign_key(
            f"jobs_{name}_fkey",
            "jobs",
            table,
            [name],
            ["id"],
            ondelete="SET NULL",
            deferrable=is_late,
            initially="DEFERRED" if is_late else None,
        )
        op.create_index(f"jobs_{name}", "jobs", [name], postgresql_where=sa.text(f"{name} IS NOT NULL"))
    op.drop_index("jobs_generation", table_name="jobs")


def downgrade() -> None:
    op.create_index("jobs_generation", "jobs", [sa.text("((params ->> 'generation_id')::uuid)")])
    op.execute("DROP TRIGGER jobs_fill_references ON jobs")
    op.execute("DROP FUNCTION jobs_fill_references()")
    for name in _TABLES:
        op.drop_column("jobs", name)
