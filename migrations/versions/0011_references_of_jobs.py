"""What a job works on, in columns

Revision: 0011, after 0010, of 2026-11-28 12:00:00.

The release before writes only the parameters. As long as it may run beside this one, a trigger fills the keys.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = ("concept_id", "version_id", "generation_id", "evaluation_id")

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
    for name in _COLUMNS:
        op.add_column("jobs", sa.Column(name, sa.Uuid(), nullable=True))
    op.execute(_FILL_NEW)
    op.execute(_TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER jobs_fill_references ON jobs")
    op.execute("DROP FUNCTION jobs_fill_references()")
    for name in _COLUMNS:
        op.drop_column("jobs", name)
