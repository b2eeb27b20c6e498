"""The base models that this process keeps loaded, by name."""

from collections import OrderedDict

from sqlalchemy import Engine, update

from app.db.session import transaction
from app.db.tables import BaseModelRow
from app.domain.base_models import BaseModelManifest
from app.domain.errors import NotFoundError
from app.settings import Settings
from worker.models.base import Base
from worker.models.device import memory_bytes, pick_device, pick_dtype
from worker.models.loading import load_base
from worker.worker_metrics import timed_base_load, watch_gpu


class LoadedBases:
    """Loads each registered base once, and lets go of the least recently used beyond a number of bytes.

    A base whose source has changed under the same name is loaded again. The one in use always stays.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._device = pick_device(settings.device)
        watch_gpu(self._device)
        limit = settings.loaded_bases_bytes
        self._limit = memory_bytes(self._device) // 2 if limit is None else limit
        self._loaded: OrderedDict[str, tuple[str, Base]] = OrderedDict()

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
        source, _ = self._loaded.get(name, (None, None))
        if source != row.source:
            self._loaded.pop(name, None)
            with timed_base_load():
                base = load_base(row.manifest.family, row.source, self._device, pick_dtype(self._device))
            self._loaded[name] = (row.source, base)
            self._note(name, base.fingerprint)
        self._loaded.move_to_end(name)
        self._let_go()
        return self._loaded[name][1], row.manifest

    def _let_go(self) -> None:
        while len(self._loaded) > 1 and sum(base.weight_bytes for _, base in self._loaded.values()) > self._limit:
            self._loaded.popitem(last=False)

    def _note(self, name: str, found: str) -> None:
        """Tell the API, which has no torch and reads no weights, what lies there."""
        with transaction(self._engine) as session:
            row = update(BaseModelRow).where(BaseModelRow.name == name)
            session.execute(row.values(found_fingerprint=found))
