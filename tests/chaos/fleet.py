"""Every process of a deployment, each of which may be killed, stopped and started again by name."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine, make_url

from app.bootstrap import bootstrap
from app.db.migrate import upgrade
from app.db.session import make_engine
from app.domain.jobs import QUEUES
from app.settings import Settings
from app.stack.addresses import environment
from app.stack.ports import free_port
from app.stack.postgres import Postgres
from app.stack.private_files import home_folder
from app.stack.process_logs import log_path
from app.stack.processes import Program, Started, spawn
from app.stack.programs import api_command, sweeper_command, worker_command
from app.stack.redis import Redis
from app.stack.s3 import S3
from app.stack.waiting import becomes_true, http_status
from app.storage import ObjectStore
from tests.chaos import audit
from tests.chaos.control import Control
from tests.chaos.proxy import Proxy
from tests.tiny_pipelines import write_tiny_sd

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE_SECONDS = 180.0


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes]
    started: Started


class Fleet:
    """The deployment in `home`: use it as a context manager, from the main thread alone.

    Workers and sweeper reach S3 through `proxy`, and so does the API; `engine` and `store` of the harness do not.
    """

    def __init__(self, home: Path, workers: int, variables: Mapping[str, str]) -> None:
        self.home = home_folder(home)
        self.workers = tuple(f"worker-{number}" for number in range(workers))
        self.controls = {name: Control(home / f"{name}.control") for name in self.workers}
        self.names: dict[str, str] = {}
        self._variables = dict(variables)
        self._running: dict[str, _Running] = {}
        self._generations: dict[str, int] = {}
        self._postgres = Postgres(self.home, free_port())
        self._redis = Redis(self.home, free_port())
        self._s3 = S3(self.home, free_port(), "palimpsest")
        self.api_port = free_port()

    def __enter__(self) -> "Fleet":
        for service in (self._postgres, self._redis, self._s3):
            service.prepare()
            self._start(service.program())
        for service in (self._postgres, self._redis, self._s3):
            assert becomes_true(service.answers, _PATIENCE_SECONDS), service.name
        self.proxy = Proxy(self._s3.port)
        self.settings = self._settings()
        self.store = ObjectStore(self._settings(through_proxy=False))
        self.engine: Engine = make_engine(self._postgres.address)
        write_tiny_sd(self.settings.base_models_dir / "tiny-sd")
        upgrade(self._postgres.address)
        audit.install(self.engine)
        key = bootstrap(self.settings)
        assert key is not None
        self.admin_key = key
        for name in ("api", "sweeper", *self.workers):
            self.start(name)
        assert becomes_true(self.api_answers, _PATIENCE_SECONDS), "the API does not answer"
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)
        self.engine.dispose()
        self.proxy.close()

    def start(self, name: str) -> None:
        """Start a process that is not running; a worker gets a name of its own for its database connections."""
        match name:
            case "postgres":
                self._postgres.prepare()
                self._start(self._postgres.program())
            case "redis":
                self._start(self._redis.program())
            case "api":
                self._start_own(name, api_command("127.0.0.1", self.api_port))
            case "sweeper":
                self._start_own(name, sweeper_command())
            case _:
                entry = ("-m", "tests.chaos.worker_entry", str(self.home / f"{name}.control"))
                celery = worker_command(QUEUES)[3:]
                who = self._start_own(name, (sys.executable, *entry, *celery))
                self.names[who] = self.worker_name(name)

    def kill(self, name: str) -> None:
        """Kill it as the kernel would; what it has left in its session goes too."""
        running = self._running.pop(name)
        running.process.kill()
        running.process.wait()
        running.started.stop()

    def stop(self, name: str) -> None:
        """Ask it to end, and wait for that."""
        running = self._running.pop(name)
        running.process.send_signal(signal.SIGCONT)
        running.started.stop()
        running.process.wait()

    def signal(self, name: str, signum: signal.Signals) -> None:
        """Send a signal to a process."""
        self._running[name].process.send_signal(signum)

    def worker_name(self, name: str) -> str:
        """What the worker of that slot calls itself in `jobs.worker`."""
        return f"{platform.node()}:{self._running[name].process.pid}"

    def start_the_dead(self) -> None:
        """Start again whatever has ended."""
        for name, running in list(self._running.items()):
            if running.process.poll() is not None:
                self.kill(name)
                self.start(name)

    def has_ended(self, name: str) -> bool:
        """Whether the process of that name is over."""
        return self._running[name].process.poll() is not None

    def api_answers(self) -> bool:
        """Whether the API is ready."""
        return http_status("127.0.0.1", self.api_port, "/health/ready") == 200

    def is_alive(self) -> bool:
        """Start again whatever has ended; whether Postgres takes statements by now."""
        self.start_the_dead()
        return self._postgres.answers()

    def log(self, name: str) -> str:
        """All that the processes of that name have said."""
        return log_path(self.home, name).read_text(errors="replace")

    def steps(self) -> int:
        """The optimizer steps that all workers have done."""
        return sum(control.steps for control in self.controls.values())

    def _settings(self, *, through_proxy: bool = True) -> Settings:
        s3_port = self.proxy.port if through_proxy else self._s3.port
        return Settings(
            home=self.home,
            base_models_dir=self.home / "bases",
            database_url=self._postgres.address,
            broker_url=self._redis.address,
            s3_endpoint_url=f"http://127.0.0.1:{s3_port}",
            s3_bucket=self._s3.bucket,
            s3_access_key_id=self._s3.access_key_id,
            s3_secret_access_key=SecretStr(self._s3.secret_access_key),
        )

    def _start(self, program: Program) -> None:
        self._running[program.name] = _Running(program, *spawn(program, self.home))

    def _start_own(self, name: str, command: tuple[str, ...]) -> str:
        """One of Palimpsest's processes; what its database connections are called."""
        self._generations[name] = self._generations.get(name, 0) + 1
        who = f"{name}.{self._generations[name]}"
        url = make_url(self._postgres.address).update_query_dict({"application_name": who})
        own = self.settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})
        fixed = {
            # One thread: a second one only waits for the first in matrices this small.
            "PALIMPSEST_TORCH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PALIMPSEST_BASE_MODELS_DIR": str(self.settings.base_models_dir),
            "PYTHONPATH": os.pathsep.join([str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        program = Program(name, command, environment(own) | fixed | self._variables, stop_seconds=10)
        self._start(program)
        return who
