"""Index what collection looks up

Revision: 0002, after 0001, of 2026-11-23 08:49:46.070988.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_concept_images_object_id", "concept_images", ["object_id"], unique=False)
    op.create_index("ix_generation_images_object_id", "generation_images", ["object_id"], unique=False)
    op.create_index("ix_generations_version_id", "generations", ["version_id"], unique=False)
    op.create_index("ix_jobs_parent_version_id", "jobs", ["parent_version_id"], unique=False)
    op.create_index(
        "jobs_checkpoint",
        "jobs",
        ["checkpoint_object_id"],
        unique=False,
        postgresql_where=sa.text("checkpoint_object_id IS NOT NULL"),
    )
    op.create_index("ix_lineages_head_version_id", "lineages", ["head_version_id"], unique=False)
    op.create_index("ix_versions_adapter_object_id", "versions", ["adapter_object_id"], unique=False)
    op.create_index("ix_versions_parent_id", "versions", ["parent_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_versions_parent_id", table_name="versions")
    op.drop_index("ix_versions_adapter_object_id", table_name="versions")
    op.drop_index("ix_lineages_head_version_id", table_name="lineages")
    op.drop_index("jobs_checkpoint", table_name="jobs", postgresql_where=sa.text("checkpoint_object_id IS NOT NULL"))
    op.drop_index("ix_jobs_parent_version_id", table_name="jobs")
    op.drop_index("ix_generations_version_id", table_name="generations")
    op.drop_index("ix_generation_images_object_id", table_name="generation_images")
    op.drop_index("ix_concept_images_object_id", table_name="concept_images")
