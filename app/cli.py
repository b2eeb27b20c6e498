"""The `palimpsest` command. An error for a person is one line on stderr, and the exit status 1."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.exceptions
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.domain.errors import PalimpsestError
from app.domain.jobs import JobKind
from app.domain.patience import WITHOUT_END
from app.settings import Settings
from app.stack.addresses import environment, resolve, with_checked_urls
from app.stack.private_files import keep_files_private
from app.stack.programs import api_command, sweeper_command, worker_command
from app.version import VERSION

Home = Annotated[Path | None, typer.Option(help="Where the state is kept; PALIMPSEST_HOME, or ./.palimpsest.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The API's port; 0 picks a free one.")]

_STANDARD_OUTPUT = Path("-")

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"palimpsest {VERSION}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
]


@cli.callback()
def palimpsest(version: Version = False) -> None:
    """Teach a diffusion model concept after concept, and measure what it forgets."""


@cli.command()
def up(
    home: Home = None,
    port: Port = None,
    worker: Annotated[bool, typer.Option(help="Whether to run a worker too.")] = True,
) -> None:
    """Start Postgres, Redis, S3, the API, a worker and the sweeper, and look after them until Ctrl-C."""
    from app.stack.up import up as bring_up  # SQLAlchemy and Alembic are slow to import, and only this needs them.

    bring_up(_settings(home, port), typer.echo, with_worker=worker)


@cli.command()
def api(home: Home = None, port: Port = None) -> None:
    """Run the API alone."""
    settings = _settings(home, port)
    _become(settings, api_command(settings.api_host, settings.api_port, settings.api_processes))


@cli.command()
def worker(
    home: Home = None,
    kinds: Annotated[str, typer.Option(help="The kinds of jobs that it takes; PALIMPSEST_WORKER_KINDS, or all.")] = "",
) -> None:
    """Run a worker alone."""
    settings = _settings(home)
    if kinds:
        settings = settings.model_copy(update={"worker_kinds": _job_kinds(kinds)})
    _become(settings, worker_command(settings.worker_kinds))


@cli.command()
def sweeper(home: Home = None) -> None:
    """Run the sweeper alone."""
    _become(_settings(home), sweeper_command())


@cli.command()
def migrate(home: Home = None) -> None:
    """Bring the database to the newest schema."""
    from app.stack.migration import migrate as bring_up_to_date

    settings = _settings(home)
    bring_up_to_date(settings if settings.database_url else resolve(settings))


@cli.command()
def bootstrap(
    home: Home = None,
    key_file: Annotated[
        Path | None, typer.Option(help="Where the first admin's key goes; - is standard output. Default: in the home.")
    ] = None,
) -> None:
    """Make what is missing of schema, bucket, base models and first admin. Call it as often as you like."""
    from app.bootstrap import bootstrap as make_what_is_missing
    from app.stack.admin_key import keep_admin_key
    from app.stack.migration import migrate as bring_up_to_date

    settings = resolve(_settings(home))
    bring_up_to_date(settings)
    if key_file != _STANDARD_OUTPUT:
        typer.echo(f"The admin's key is {keep_admin_key(settings, key_file)}.")
    elif (key := make_what_is_missing(settings)) is not None:
        typer.echo(key)
    else:
        typer.echo("There is an admin already; for another key run: palimpsest admin-key", err=True)


@cli.command()
def doctor(home: Home = None) -> None:
    """Tell what is wrong with this installation and what to do about it; changes nothing."""
    from app.stack.doctor.examination import examine
    from app.stack.doctor.findings import Weight

    found = list(examine(_settings(home), os.environ))
    for finding in found:
        typer.echo(str(finding))
    if any(finding.weight is Weight.PROBLEM for finding in found):
        sys.exit(1)
    typer.echo("No problems.")


@cli.command()
def admin_key(home: Home = None) -> None:
    """Make another API key for the admin, who has lost the first."""
    from app.stack.admin_key import replace_admin_key

    settings = _settings(home)
    path = replace_admin_key(settings if settings.database_url else resolve(settings))
    typer.echo(f"The admin's new key is in {path}; the old ones stay valid until they are revoked.")


@cli.command()
def check(home: Home = None) -> None:
    """Check that database and bucket keep what is promised of them; reads all of it, and changes nothing."""
    from app.db.session import make_engine
    from app.integrity.check import check as find_violations
    from app.storage import ObjectStore

    settings = resolve(_settings(home))
    assert settings.database_url is not None
    store = ObjectStore(settings)
    engine = make_engine(settings.database_url, WITHOUT_END)
    violations = find_violations(engine, store, settings.stray_object_age_seconds)
    for violation in violations:
        typer.echo(str(violation))
    if violations:
        sys.exit(1)
    typer.echo("No violations.")


@cli.command()
def backup(
    archive: Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")], home: Home = None
) -> None:
    """Write all that the embedded services hold, and the admin's key, into one file. Stop `up` before."""
    from app.stack.backup import back_up

    count = back_up(_settings(home), archive)
    typer.echo(f"{count} files are in {archive}. Keep it as safe as the home: the admin's key is in it.")


@cli.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="A file that `palimpsest backup` has written.")], home: Home = None
) -> None:
    """Make a home out of a backup. Restore only what is yours: its database is believed."""
    from app.stack.backup import restore as restore_home

    settings = _settings(home)
    count = restore_home(settings, archive)
    typer.echo(f"{count} files are restored into {settings.home}. Go on with: palimpsest up --home {settings.home}")


def main() -> None:
    """Run the command line."""
    keep_files_private()
    try:
        # Typer's own errors would be boxes of many lines.
        sys.exit(cli(standalone_mode=False))
    except typer.exceptions.TyperException as error:
        _fail(f"{error.format_message()} See palimpsest --help.")
    except typer.Abort:
        _fail("interrupted")
    except PalimpsestError as error:
        _fail(error.detail)
    except ValidationError as error:
        # Not the values: one of them may be a password.
        faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        _fail("; ".join(f"setting {place}: {reason}" if place else reason for place, reason in faults))
    except SettingsError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))


def _fail(message: str) -> None:
    typer.echo(f"palimpsest: {' '.join(message.split())}", err=True)
    sys.exit(1)


def _settings(home: Path | None, port: int | None = None) -> Settings:
    chosen: dict[str, Any] = {"home": home, "api_port": port}
    given = {name: value for name, value in chosen.items() if value is not None}
    return with_checked_urls(Settings().model_copy(update=given))


def _job_kinds(names: str) -> tuple[JobKind, ...]:
    try:
        return tuple(JobKind(name.strip()) for name in names.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{error}; the kinds are {', '.join(JobKind)}", param_hint="--kinds") from None


def _become(settings: Settings, command: tuple[str, ...]) -> None:
    os.execve(command[0], command, {**os.environ, **environment(resolve(settings))})  # noqa: S606


if __name__ == "__main__":
    main()
