"""`palimpsest up`: everything on one machine, until told to stop."""

import errno
from collections.abc import Callable, Iterable
from dataclasses import replace

from app.settings import Settings
from app.stack.addresses import environment, without_secrets
from app.stack.admin_key import keep_admin_key
from app.stack.lock import home_lock
from app.stack.migration import migrate
from app.stack.ports import check_port, free_port
from app.stack.private_files import home_folder
from app.stack.processes import Program
from app.stack.programs import api_command, sweeper_command, worker_command
from app.stack.services import start_services
from app.stack.signals import StopRequest, stop_requests
from app.stack.stack_errors import InterruptedStartError, StackError
from app.stack.supervisor import Supervisor
from app.stack.waiting import http_status

_API_SECONDS = 120.0
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

Say = Callable[[str], None]


def up(settings: Settings, say: Say, *, with_worker: bool = True) -> None:
    """Start everything, tell where it is, and look after it until SIGINT, SIGTERM or SIGHUP.

    Raises:
        StackError: something cannot start; nothing is left running.
    """
    home = home_folder(settings.home)
    with home_lock(home), stop_requests() as stop_request, Supervisor(home, stop_request, say) as supervisor:
        # Only now: a port that the processes of a killed `up` held is free again.
        settings = _with_api_port(settings.model_copy(update={"home": home}))
        try:
            say(f"Starting in {home} (logs: {home / 'logs'})")
            settings = _start_services(settings, supervisor, stop_request)
            key_notice = keep_admin_key(settings)
            _start_own(settings, supervisor, with_worker=with_worker)
        except InterruptedStartError:
            return
        say(_greeting(settings, key_notice))
        supervisor.run()
        say("Stopping.")


def _with_api_port(settings: Settings) -> Settings:
    host, port = settings.api_host, settings.api_port or free_port(settings.api_host)
    try:
        check_port(host, port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = f"port {port} is taken" if taken else f"cannot listen on {host} port {port}: {error.strerror}"
        raise StackError(f"the API cannot start: {reason}; choose another with --port") from None
    return settings.model_copy(update={"api_port": port})


def _start_services(settings: Settings, supervisor: Supervisor, stop_request: StopRequest) -> Settings:
    addresses = replace(start_services(settings, settings.home, supervisor), api_url=_api_url(settings))
    addresses.save(settings.home)
    resolved = addresses.applied_to(settings)
    migrate(resolved)
    if stop_request.made:
        raise InterruptedStartError("stopped while starting")
    return resolved


def _start_own(settings: Settings, supervisor: Supervisor, *, with_worker: bool) -> None:
    api = api_command(settings.api_host, settings.api_port, settings.api_processes)
    commands = {"api": api, "sweeper": sweeper_command()}
    if with_worker:
        commands["worker"] = worker_command(settings.worker_kinds)
    variables, ports = environment(settings), metrics_ports(settings, commands)
    for name, command in commands.items():
        program = Program(name, command, variables | ports[name])
        is_ready = (lambda: _api_status(settings) == 200) if name == "api" else (lambda: True)
        supervisor.start(program, is_ready, _API_SECONDS)


def metrics_ports(settings: Settings, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """What tells each process where its metrics go: the port of the settings, the next one, and so on."""
    first = settings.metrics_port
    return {
        name: {} if first is None else {"PALIMPSEST_METRICS_PORT": str(first + number)}
        for number, name in enumerate(names)
    }


def _api_status(settings: Settings) -> int | None:
    return http_status(_reachable_host(settings), settings.api_port, "/health/ready")


def _reachable_host(settings: Settings) -> str:
    return _LOOPBACK_OF.get(settings.api_host, settings.api_host)


def _api_url(settings: Settings) -> str:
    host = _reachable_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def _greeting(settings: Settings, key_notice: str) -> str:
    lines = {
        "API": f"{_api_url(settings)} (documentation: /docs)",
        "Admin key": key_notice,
        "Postgres": without_secrets(settings.database_url),
        "Broker": without_secrets(settings.broker_url),
        "S3": f"{without_secrets(settings.s3_endpoint_url)} bucket {settings.s3_bucket}",
    }
    if settings.metrics_port is not None:
        lines["Metrics"] = f"{settings.metrics_host}, from port {settings.metrics_port} on: API, sweeper, worker"
    return "\n".join(["Palimpsest is up.", *(f"  {name:<10} {line}" for name, line in lines.items())])
