"""Which base model a name stands for, and whether its weights are those that versions were taught on."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.base_models import taught_on
from app.db.tables import BaseModelRow, Lineage, Version
from app.domain.base_versions import insist_unchanged
from app.domain.errors import Fault, InvalidInputError


async def find_base_model(session: AsyncSession, name: str) -> BaseModelRow:
    """The base model of that name, or the newest version of those that have it as an alias.

    Raises:
        InvalidInputError: there is no such base model, or its weights have been replaced.
    """
    versions = select(BaseModelRow).where(
        BaseModelRow.alias == name, BaseModelRow.fingerprint == BaseModelRow.found_fingerprint
    )
    newest = versions.order_by(BaseModelRow.created_at.desc(), BaseModelRow.name.desc()).limit(1)
    # The alias first: before there were versions a base was registered under it, and older lineages stand on that one.
    row = await session.scalar(newest) or await session.get(BaseModelRow, name)
    if row is None:
        fault = Fault(field="base_model", message="unknown; see GET /v1/base-models")
        raise InvalidInputError(f"There is no base model {name}.", (fault,))
    if is_retired(row):
        fault = Fault(field="base_model", message=f"retired; {row.alias} is the newest version")
        raise InvalidInputError(f"The weights of {name} have been replaced.", (fault,))
    return row


def is_retired(row: BaseModelRow) -> bool:
    """Whether the weights that its name stands for are no longer where they were. A name without versions never is."""
    return row.alias is not None and row.fingerprint != row.found_fingerprint


async def insist_on_base(session: AsyncSession, lineage: Lineage, line: Sequence[Version]) -> BaseModelRow:
    """The lineage's base model, whose weights are those that the versions of `line` were taught on, as far as is known.

    A worker, which loads them, looks again.

    Raises:
        BaseChangedError: they are others, and the lineage does not allow it.
    """
    base = await session.get_one(BaseModelRow, lineage.base_model)
    if base.found_fingerprint is not None and not lineage.allow_changed_base:
        insist_unchanged(base.name, taught_on(base, line), base.found_fingerprint)
    return base
