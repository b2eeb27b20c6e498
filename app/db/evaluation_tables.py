"""The tables of evaluations: what was asked, what was found, and what need not be found out again."""

from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ForeignKey, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.db.tables import Identified, Table, Tombstoned, listed, tombstones
from app.db.types import Json
from app.domain.evaluations import EvaluationFileName, EvaluationProtocol, EvaluationResult


class Evaluation(Identified, Tombstoned, Table):
    """The scoring of a version and its ancestors: the version and the protocol are pinned when it is asked for.

    `job_id` is the job that carries it out: an evaluate job, or the train job that a gate has made wait for it.
    `concept_ids` are the concepts whose pictures it looks at.
    """

    __tablename__ = "evaluations"
    __table_args__ = (listed("evaluations"), tombstones("evaluations"))

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    lineage_id: Mapped[UUID] = mapped_column(ForeignKey("lineages.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    concept_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    protocol: Mapped[EvaluationProtocol] = mapped_column(Json(TypeAdapter[EvaluationProtocol](EvaluationProtocol)))
    isolated: Mapped[bool]
    result: Mapped[EvaluationResult | None] = mapped_column(
        Json(TypeAdapter[EvaluationResult](EvaluationResult)), default=None
    )


class EvaluationFile(Table):
    """A figure of an evaluation, by its file name."""

    __tablename__ = "evaluation_files"

    evaluation_id: Mapped[UUID] = mapped_column(ForeignKey("evaluations.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[EvaluationFileName] = mapped_column(primary_key=True)
    object_id: Mapped[UUID] = mapped_column(ForeignKey("objects.id"), index=True)


class EvaluationMemo(Table):
    """Something that an evaluation has made of a version, by the hash of all that it is a function of.

    A picture, a drift, the adapter of its concept learned alone: later evaluations need not make it again.
    """

    __tablename__ = "evaluation_memos"

    version_id: Mapped[UUID] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    object_id: Mapped[UUID] = mapped_column(ForeignKey("objects.id"), index=True)
