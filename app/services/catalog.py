"""Base models, as admins register them and everybody sees them."""

from collections.abc import Sequence
from pathlib import Path

from anyio import to_thread
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import BaseModelRow
from app.domain.base_configs import PICKLES, configs_folder, read_configs, unfit
from app.domain.base_models import BaseModelManifest, Family
from app.domain.effects import faults_of_manifest, insist_on_effect
from app.domain.errors import ConflictError, Fault, InvalidInputError, NotFoundError
from app.domain.training import TrainingOptions
from app.services.lineages import override


async def list_base_models(session: AsyncSession) -> Sequence[BaseModelRow]:
    """All base models, newest first."""
    query = select(BaseModelRow).order_by(BaseModelRow.created_at.desc(), BaseModelRow.name)
    return (await session.scalars(query)).all()


async def register_base_model(session: AsyncSession, source: str, manifest: BaseModelManifest) -> BaseModelRow:
    """Make a base model known.

    Raises:
        InvalidInputError: it is not one that its family can use, or its defaults do not go together, or change nothing.
        ConflictError: the name is taken, be it as an alias.
    """
    await to_thread.run_sync(_insist_on_fit, source, manifest.family)
    override(TrainingOptions(), manifest.training_defaults)
    insist_on_effect(faults_of_manifest(manifest))
    if await session.scalar(select(BaseModelRow.name).where(BaseModelRow.alias == manifest.name).limit(1)):
        raise ConflictError(f"{manifest.name} is the alias of a base model already.")
    row = BaseModelRow(name=manifest.name, source=source, manifest=manifest)
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise ConflictError(f"There is a base model named {manifest.name} already.") from error
    return row


async def remove_base_model(session: AsyncSession, name: str) -> None:
    """Forget a base model; its weights stay where they are.

    Raises:
        NotFoundError: there is no such base model.
        ConflictError: lineages stand on it.
    """
    query = delete(BaseModelRow).where(BaseModelRow.name == name).returning(BaseModelRow.name)
    try:
        removed = await session.scalar(query)
    except IntegrityError as error:
        raise ConflictError(f"Lineages stand on the base model {name}.") from error
    if removed is None:
        raise NotFoundError(f"There is no base model {name}.")


def _insist_on_fit(source: str, family: Family) -> None:
    """Look into the configurations, where they are to be seen from here; a worker looks again before it loads."""
    path = Path(source)
    reason = unfit(family, read_configs(path)) if configs_folder(path).is_dir() else None
    if path.suffix in PICKLES:
        reason = "Weights in a pickle can run any code, and are never read; give safetensors."
    if reason is not None:
        raise InvalidInputError(reason, (Fault(field="source", message=reason),))
