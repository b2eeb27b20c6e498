"""`palimpsest backup` and `palimpsest restore`: all of an embedded home that cannot be made again, in one file.

Only of a home that is down: nobody writes or collects meanwhile. The dump is a logical one, so that it also restores
under a later Postgres; the services' passwords are not in it, since every home draws its own.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.db.migrate import known_revisions
from app.db.session import make_engine, transaction
from app.settings import Settings
from app.stack.admin_key import ADMIN_KEY_FILE
from app.stack.archives import FORMAT, Manifest, add_file, add_manifest, extract, new_archive
from app.stack.lock import home_lock
from app.stack.postgres import Postgres
from app.stack.s3 import S3
from app.stack.services import start_service
from app.stack.signals import stop_requests
from app.stack.stack_errors import StackError
from app.stack.supervisor import Supervisor

_DUMP = "database.dump"
_OBJECTS = "objects"


def back_up(settings: Settings, path: Path) -> int:
    """Write a backup of the home; how many files are in it.

    Raises:
        StackError: the home is up, there is none, its services are not the embedded ones, or a tool failed.
    """
    _insist_on_embedded(settings)
    home = settings.home.resolve()
    if not (home / "postgres").exists():
        raise StackError(f"no stack in {settings.home}: there is nothing to back up")
    bucket = S3(home, 0, settings.s3_bucket).folder
    with home_lock(home), new_archive(path) as archive, tempfile.TemporaryDirectory(dir=home) as scratch:
        dump = Path(scratch) / _DUMP
        with _postgres(home) as postgres:
            revision = _revision(postgres)
            postgres.dump(dump)
        files = {_DUMP: add_file(archive, _DUMP, dump)}
        if (home / ADMIN_KEY_FILE).exists():
            files[ADMIN_KEY_FILE] = add_file(archive, ADMIN_KEY_FILE, home / ADMIN_KEY_FILE)
        for file in sorted(found for found in bucket.rglob("*") if found.is_file()):
            name = f"{_OBJECTS}/{file.relative_to(bucket).as_posix()}"
            files[name] = add_file(archive, name, file)
        add_manifest(archive, Manifest(format=FORMAT, revision=revision, files=files))
    return len(files)


def restore(settings: Settings, path: Path) -> int:
    """Make a home out of a backup, all of it or nothing; how many files were in it.

    Raises:
        StackError: the home is not empty, the backup is not whole, or a newer release has made it.
    """
    _insist_on_embedded(settings)
    home = settings.home.absolute()
    if home.exists() and any(home.iterdir()):
        raise StackError(f"{home} is not empty: restore into a folder that is, or is not there")
    if not path.is_file():
        raise StackError(f"there is no backup {path}")
    home.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{home.name}.restoring-", dir=home.parent))
    try:
        count = _fill(settings, path, draft)
        draft.rename(home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return count


def _fill(settings: Settings, path: Path, draft: Path) -> int:
    unpacked = draft / "unpacked"
    unpacked.mkdir(mode=0o700)
    manifest = extract(path, unpacked)
    if manifest.revision not in known_revisions():
        raise StackError(f"{path} was made by a newer release (schema {manifest.revision}): upgrade first")
    s3 = S3(draft, 0, settings.s3_bucket)
    s3.prepare()
    for file in (unpacked / _OBJECTS).glob("*"):
        file.rename(s3.folder / file.name)
    if (unpacked / ADMIN_KEY_FILE).exists():
        (unpacked / ADMIN_KEY_FILE).rename(draft / ADMIN_KEY_FILE)
    with _postgres(draft) as postgres:
        postgres.load(unpacked / _DUMP)
    shutil.rmtree(unpacked)
    return len(manifest.files)


def _insist_on_embedded(settings: Settings) -> None:
    for name in ("database_url", "s3_endpoint_url"):
        if getattr(settings, name) is not None:
            raise StackError(f"{name.upper()} is set: only a home with its own Postgres and S3 is backed up like this")


@contextmanager
def _postgres(home: Path) -> Iterator[Postgres]:
    with stop_requests() as stop_request, Supervisor(home, stop_request, lambda _: None) as supervisor:
        yield start_service(lambda port: Postgres(home, port), home, Postgres.name, supervisor)


def _revision(postgres: Postgres) -> str:
    engine = make_engine(postgres.address)
    try:
        with transaction(engine) as session:
            return str(session.scalar(text("SELECT version_num FROM alembic_version")))
    except SQLAlchemyError:
        raise StackError("its database was never migrated: there is nothing to back up") from None
    finally:
        engine.dispose()
