"""The archive of a backup: a plain tar of the database's dump, the objects and the admin's key, and what they hash to.

The manifest comes last, so that an archive which was cut off has none.
"""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import ValidationError

from app.domain.base import Value
from app.stack.stack_errors import StackError

FORMAT = "palimpsest-backup-1"
_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1024 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


class FileRecord(Value):
    """A file of the archive."""

    sha256: str
    size_bytes: int


class Manifest(Value):
    """What an archive holds, by name, and the revision of its database's schema."""

    format: str
    revision: str
    files: dict[str, FileRecord]


@contextmanager
def new_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """An archive of mode 0600 that is there as a whole or not at all.

    Raises:
        StackError: there is a file of that name already.
    """
    if path.exists():
        raise StackError(f"{path} is there already; name another file")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


def add_file(archive: tarfile.TarFile, name: str, path: Path) -> FileRecord:
    """Put a file into the archive, hashed as it is read."""
    info = tarfile.TarInfo(name)
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        info.size, info.mtime, info.mode = stat.st_size, int(stat.st_mtime), 0o600
        hashing = _Hashing(file)
        archive.addfile(info, hashing)
    return FileRecord(sha256=hashing.digest.hexdigest(), size_bytes=info.size)


def add_manifest(archive: tarfile.TarFile, manifest: Manifest) -> None:
    """Put the manifest at the end."""
    data = manifest.model_dump_json().encode()
    info = tarfile.TarInfo(_MANIFEST)
    info.size, info.mode = len(data), 0o600
    archive.addfile(info, io.BytesIO(data))


def extract(path: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder, and nowhere else, and check every file by its hash.

    Raises:
        StackError: it is no whole archive of ours; what is in the folder then is to be thrown away.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            found, manifest = _unpack(archive, folder)
    except (tarfile.TarError, EOFError, ValidationError, ValueError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StackError(f"{path} is no whole backup: {first_line}") from None
    if manifest is None or manifest.format != FORMAT:
        raise StackError(f"{path} is no whole backup: it has no manifest of the format {FORMAT}")
    if found != manifest.files:
        wrong = next(name for name in {**found, **manifest.files} if found.get(name) != manifest.files.get(name))
        raise StackError(f"{path} is damaged: {wrong} is not as the manifest says")
    return manifest


def _unpack(archive: tarfile.TarFile, folder: Path) -> tuple[dict[str, FileRecord], Manifest | None]:
    found: dict[str, FileRecord] = {}
    for member in archive:
        # Not by tarfile's own data filter: the Python of Debian 12, 3.11.2, is older than that. Only plain files get
        # here, each under the one spelling of its name. So no member can lead out of the folder.
        name = PurePosixPath(member.name)
        is_within = not name.is_absolute() and ".." not in name.parts and str(name) == member.name != "."
        if not member.isreg() or member.issparse() or not is_within or member.name in found:
            raise ValueError(f"it holds {member.name!r}, which is no plain file of its own")
        content = archive.extractfile(member)
        assert content is not None
        if member.name == _MANIFEST:
            return found, _read_manifest(archive, content, member.size)
        found[member.name] = _write(content, folder / name, member)
    return found, None


def _read_manifest(archive: tarfile.TarFile, content: IO[bytes], size: int) -> Manifest:
    if size > _MANIFEST_BYTES or archive.next() is not None:
        raise ValueError("the manifest is not its end")
    return Manifest.model_validate_json(content.read())


def _write(content: IO[bytes], target: Path, member: tarfile.TarInfo) -> FileRecord:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hashing = _Hashing(content)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(hashing, file, _CHUNK_BYTES)
    if target.stat().st_size != member.size:
        raise EOFError("it ends too early")
    os.utime(target, (member.mtime, member.mtime))
    return FileRecord(sha256=hashing.digest.hexdigest(), size_bytes=member.size)


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self.digest.update(data)
        return data
