"""Backups: what is restored is what was there; what is not whole, hostile or in the way changes nothing."""

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.db.migrate import upgrade
from app.settings import Settings
from app.stack.backup import back_up, restore
from app.stack.lock import home_lock
from app.stack.stack_errors import StackError
from tests.integration.stack.helpers import embedded
from tests.integration.stack.test_services import bucket_client, database
from tests.services import without_addresses

OBJECTS = {f"users/one/pictures/{number}": random.Random(number).randbytes(3000 * number) for number in range(4)}


def settings_of(home: Path) -> Settings:
    return without_addresses(Settings(home=home))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is down: a migrated database with a user, a few objects, a key."""
    home = tmp_path_factory.mktemp("backup") / "home"
    with embedded(home) as addresses:
        upgrade(addresses.database_url)
        with database(addresses) as connection:
            connection.execute("INSERT INTO users (id, name, is_admin) VALUES (gen_random_uuid(), 'ada', false)")
        for key, data in OBJECTS.items():
            bucket_client(addresses).put_object(Bucket=addresses.s3_bucket, Key=key, Body=data)
    (home / "admin.key").write_text("pal_secret\n")
    return home


@pytest.fixture(scope="module")
def archive(home: Path) -> Path:
    path = home.parent / "backup.tar"
    back_up(settings_of(home), path)
    return path


def objects_in(home: Path) -> dict[str, bytes]:
    bucket = home / "s3" / "objects" / "palimpsest"
    return {str(path.relative_to(bucket)): path.read_bytes() for path in bucket.rglob("*") if path.is_file()}


def assert_refused(archive: Path, home: Path, match: str = ".") -> None:
    """In one line, and nothing is left of the attempt, in the home or around it."""
    before = sorted(home.parent.rglob("*"))
    with pytest.raises(StackError, match=match) as caught:
        restore(settings_of(home), archive)
    assert "\n" not in caught.value.detail
    assert sorted(home.parent.rglob("*")) == before


def test_what_is_restored_is_what_was_there(archive: Path, home: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    restore(settings_of(there), archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert objects_in(there) == objects_in(home) == OBJECTS
    assert (there / "admin.key").read_text() == "pal_secret\n"
    assert (there / "admin.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with embedded(there) as addresses, database(addresses) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("ada",)]
        for key, data in OBJECTS.items():
            answer = bucket_client(addresses).get_object(Bucket=addresses.s3_bucket, Key=key)
            assert answer["Body"].read() == data
    passwords = [(one / "secrets" / "postgres").read_text() for one in (home, there)]
    assert passwords[0] != passwords[1]
    assert not [word for word in passwords if word.encode() in archive.read_bytes()]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_what_was_cut_off_is_refused(archive: Path, tmp_path: Path, share: float) -> None:
    data = archive.read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: int(len(data.rstrip(b"\0")) * share)])
    assert_refused(cut, tmp_path / "home", "no whole backup")


def test_a_changed_byte_of_any_file_is_noticed(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as whole:
        members = [member for member in whole.getmembers() if member.size]
    assert len(members) == 6
    for member in members:
        data = bytearray(archive.read_bytes())
        data[member.offset_data + member.size // 2] ^= 1
        (tmp_path / "damaged.tar").write_bytes(data)
        assert_refused(tmp_path / "damaged.tar", tmp_path / "home")


def _link(archive: tarfile.TarFile, kind: bytes, target: str) -> None:
    member = tarfile.TarInfo("objects/link")
    member.type, member.linkname = kind, target
    archive.addfile(member)


def _file(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = 4
    archive.addfile(member, io.BytesIO(b"evil"))


def _through_a_link(archive: tarfile.TarFile) -> None:
    _link(archive, tarfile.SYMTYPE, "..")
    _file(archive, "objects/link/evil")


def _twice(archive: tarfile.TarFile) -> None:
    _file(archive, "a")
    _file(archive, "a")


HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "a path that leads up": lambda archive: _file(archive, "../evil"),
    "a path that leads up further down": lambda archive: _file(archive, "objects/../../evil"),
    "an absolute path": lambda archive: _file(archive, "/tmp/palimpsest-evil"),
    "a file under another spelling of its name": lambda archive: _file(archive, "objects/./a"),
    "the folder itself": lambda archive: _file(archive, "."),
    "a symbolic link": lambda archive: _link(archive, tarfile.SYMTYPE, "/etc/passwd"),
    "a symbolic link within": lambda archive: _link(archive, tarfile.SYMTYPE, "users"),
    "a hard link": lambda archive: _link(archive, tarfile.LNKTYPE, "objects/users/one"),
    "a device": lambda archive: _link(archive, tarfile.CHRTYPE, ""),
    "a pipe": lambda archive: _link(archive, tarfile.FIFOTYPE, ""),
    "a folder": lambda archive: _link(archive, tarfile.DIRTYPE, ""),
    "a file through a link": _through_a_link,
    "a file twice": _twice,
    "a file that no manifest names": lambda archive: _file(archive, "a"),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, what: str) -> None:
    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        HOSTILE[what](archive)
    assert_refused(tmp_path / "hostile.tar", tmp_path / "home", "no whole backup")
    assert not Path("/tmp/palimpsest-evil").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar at all" * 1000)
    assert_refused(tmp_path / "text", tmp_path / "home", "no whole backup")
    assert_refused(tmp_path / "nowhere", tmp_path / "home", "there is no backup")


def test_a_backup_of_a_newer_release_is_refused(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    at = data.rindex(b'"revision":"')
    (tmp_path / "newer.tar").write_bytes(data[: at + 12] + b"9999" + data[at + 16 :])
    assert_refused(tmp_path / "newer.tar", tmp_path / "home", "newer release")


def test_only_an_empty_home_is_restored_into(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "something").touch()
    assert_refused(archive, tmp_path / "home", "not empty")


def test_only_a_home_that_is_down_is_backed_up(home: Path, archive: Path, tmp_path: Path) -> None:
    with home_lock(home), pytest.raises(StackError, match="already up"):
        back_up(settings_of(home), tmp_path / "b.tar")
    with pytest.raises(StackError, match="there already"):
        back_up(settings_of(home), archive)
    with pytest.raises(StackError, match="no stack"):
        back_up(settings_of(tmp_path / "nowhere"), tmp_path / "b.tar")
    elsewhere = settings_of(home).model_copy(update={"database_url": "postgresql+psycopg://elsewhere/db"})
    with pytest.raises(StackError, match="DATABASE_URL is set"):
        back_up(elsewhere, tmp_path / "b.tar")
    assert list(tmp_path.iterdir()) == []
