"""What must be there before the first request: the bucket, the embedded base models, an admin."""

from pathlib import Path

from sqlalchemy import Engine, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.session import make_engine, transaction
from app.db.tables import ApiKey, BaseModelRow, User
from app.domain.base_models import BaseModelManifest
from app.domain.base_versions import name_of
from app.domain.base_weights import fingerprint
from app.domain.errors import NotReadyError
from app.domain.keys import KeyScope, hash_key, new_key
from app.settings import Settings
from app.storage import ObjectStore

_LOCK = 0x424F4F54
_ADMIN = "admin"
_MANIFEST = "palimpsest.json"


def bootstrap(settings: Settings) -> str | None:
    """Make everything that is missing; called again, it only follows where base models have moved.

    Returns:
        The first admin's key, when this call created the admin. It is stored nowhere.

    Raises:
        NotReadyError: no database is named, or there is no folder of base models.
    """
    if not settings.base_models_dir.is_dir():
        raise NotReadyError(f"PALIMPSEST_BASE_MODELS_DIR: there is no folder {settings.base_models_dir}.")
    ObjectStore(settings).ensure_bucket()
    engine = _engine(settings)
    try:
        with transaction(engine) as session:
            # Front ends that start at once take turns: only one of them creates the admin.
            session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            _register_base_models(session, settings.base_models_dir)
            has_admin = session.scalar(select(User.id).where(User.is_admin, User.deleted_at.is_(None)).limit(1))
            return None if has_admin else _add_key(session, _admin(session))
    finally:
        engine.dispose()


def new_admin_key(settings: Settings) -> str:
    """Another key for the user `admin`, for who has lost the first; the old ones stay valid."""
    engine = _engine(settings)
    try:
        with transaction(engine) as session:
            return _add_key(session, _admin(session))
    finally:
        engine.dispose()


def _engine(settings: Settings) -> Engine:
    if settings.database_url is None:
        raise NotReadyError("DATABASE_URL must be set; `palimpsest up` sets it.")
    return make_engine(settings.database_url)


def _admin(session: Session) -> User:
    query = select(User).where(User.name == _ADMIN, User.deleted_at.is_(None))
    admin = session.scalar(query)
    if admin is None:
        admin = User(name=_ADMIN)
        session.add(admin)
    admin.is_admin = True
    session.flush()
    return admin


def _add_key(session: Session, user: User) -> str:
    key = new_key()
    session.add(ApiKey(user_id=user.id, name="admin key", sha256=hash_key(key), scope=KeyScope.ADMIN))
    return key


def _register_base_models(session: Session, folder: Path) -> None:
    for path in sorted(folder.glob(f"*/{_MANIFEST}")):
        manifest = BaseModelManifest.model_validate_json(path.read_text())
        source = path.parent.resolve()
        found = _fingerprint(source, manifest)
        name, alias = (manifest.name, None) if found is None else name_of(manifest.name, found)
        row = {
            "source": str(source),
            "manifest": manifest,
            "alias": alias,
            "fingerprint": None if alias is None else found,
            "found_fingerprint": found,
        }
        session.execute(
            insert(BaseModelRow)
            .values(name=name, **row)
            .on_conflict_do_update(index_elements=[BaseModelRow.name], set_=row)
        )
        # Earlier versions lay in the same folder, and lie there no more.
        others = update(BaseModelRow).where(BaseModelRow.source == str(source), BaseModelRow.name != name)
        session.execute(others.values(found_fingerprint=found))


def _fingerprint(folder: Path, manifest: BaseModelManifest) -> str | None:
    """None where the folder is not whole: the first job that needs it says so."""
    try:
        return fingerprint(folder, manifest.family.components)
    except OSError:
        return None
