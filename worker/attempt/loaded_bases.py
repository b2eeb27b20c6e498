"""The base models that this process keeps loaded, by name."""

from sqlalchemy import Engine

from app.db.session import transaction
from app.db.tables import BaseModelRow
from app.domain.base_models import BaseModelManifest
from app.domain.errors import NotFoundError
from app.settings import Settings
from worker.models.base import Base
from worker.models.device import pick_device, pick_dtype
from worker.models.loading import load_base


class LoadedBases:
    """Loads each registered base once; a source registered anew under the same name is loaded again."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._device = pick_device(settings.device)
        self._loaded: dict[tuple[str, str], Base] = {}

    def get(self, name: str) -> tuple[Base, BaseModelManifest]:
        """The base and its manifest.

        Raises:
            NotFoundError: no base model of that name is registered.
            BaseModelError: it cannot be loaded.
        """
        with transaction(self._engine) as session:
            row = session.get(BaseModelRow, name)
        if row is None:
            raise NotFoundError(f"The base model {name} is no longer registered.")
        key = (name, row.source)
        if key not in self._loaded:
            self._loaded[key] = load_base(row.manifest.family, row.source, self._device, pick_dtype(self._device))
        return self._loaded[key], row.manifest
