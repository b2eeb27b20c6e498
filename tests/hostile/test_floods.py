"""What fills disks and memories: much said to a log, many wake-ups that nobody takes, health asked without end."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis

from app.domain.jobs import JobKind
from app.queue import WakeUps
from app.settings import Settings
from app.stack.processes import Program
from app.stack.signals import StopRequest
from tests.integration.api.conftest import running_server
from tests.integration.stack.helpers import PATIENCE_SECONDS, supervisor_of
from tests.integration.stack.test_supervisor import run_until

LIMIT_BYTES = 16 * 1024 * 1024
LINES = 1_000_000

# 50 MB; the last line only once what was said before has been set aside.
TALKATIVE = f"""
import pathlib, sys, time
log, said = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
for number in range({LINES}):
    print(f"{{number:09d}} {"x" * 39}")
sys.stdout.flush()
while log.stat().st_size > {LIMIT_BYTES}:
    time.sleep(0.05)
print(f"{LINES:09d} the end", flush=True)
said.touch()
time.sleep(3600)
"""


def test_a_log_is_rotated_while_its_process_runs(tmp_path: Path) -> None:
    said, stop_request = tmp_path / "said", StopRequest()
    log = tmp_path / "logs" / "talkative.log"
    with supervisor_of(tmp_path, stop_request) as supervisor:
        program = Program("talkative", (sys.executable, "-c", TALKATIVE, str(log), str(said)))
        supervisor.start(program, log.exists, PATIENCE_SECONDS)
        assert run_until(supervisor, stop_request, said.exists, patience_seconds=60), "the log is over its limit"
    older = log.with_suffix(".log.1")
    assert older.stat().st_mode & 0o077 == 0
    kept = [int(line[:9]) for path in (older, log) for line in path.read_text().splitlines() if line[9:10] == " "]
    assert kept == sorted(set(kept))
    assert kept[-1] == LINES


def test_wake_ups_that_nobody_takes_do_not_pile_up(settings: Settings) -> None:
    assert settings.broker_url is not None
    wake_ups = WakeUps(settings.broker_url)
    with redis.Redis.from_url(settings.broker_url) as broker:
        for _ in range(600):
            assert wake_ups.send(JobKind.TRAIN)
        waiting = int(broker.llen("train"))
        assert 0 < waiting <= 300
        assert wake_ups.send(JobKind.GENERATE), "a full queue holds up no other"
        assert broker.llen("generate") == 1
        for _ in range(waiting):
            broker.lpop("train")
        assert wake_ups.send(JobKind.TRAIN)
        assert broker.llen("train") == 1


def test_health_that_is_asked_without_end_is_looked_up_now_and_then(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each look opens a connection to the broker, which counts them."""
    assert settings.broker_url is not None
    with running_server(settings, tmp_path) as server, redis.Redis.from_url(settings.broker_url) as broker:
        url = f"{server.url}/health/ready"
        before = int(broker.info("stats")["total_connections_received"])

        def ask(_: int) -> int:
            return httpx.get(url, timeout=60).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(200))) == {200}
        opened = int(broker.info("stats")["total_connections_received"]) - before
    assert 1 <= opened <= 40, "one a second, and this takes a few seconds"
