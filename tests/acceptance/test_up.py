"""`palimpsest up` as a person meets it: real processes, real signals, real kills."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.acceptance.up import PATIENCE_SECONDS, Up, bare, eventually, palimpsest, running, survivors


def test_up_starts_everything_and_ends_without_a_trace(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as up:
        assert httpx.get(f"{up.url()}/health/ready").status_code == 200
        with up.admin() as admin:
            assert admin.get("/v1/me").status_code == 200
        assert {"postgres", "redis", "s3", "api", "worker", "sweeper"} == set(up.pids())
        assert str(home / "admin.key") in up.printed()
        for name in ("admin.key", "stack.json", "processes.json"):
            assert (home / name).stat().st_mode & 0o777 == 0o600, name

        second = palimpsest("up", "--home", str(home), "--port", "0")
        assert second.returncode == 1
        assert re.fullmatch(r"palimpsest: .*already up in .*\n", second.stderr)
        assert second.stdout == ""

        assert_no_secret_is_shown(up)
        assert up.end(signal.SIGTERM) == 0
    assert survivors(home) == []


def assert_no_secret_is_shown(up: Up) -> None:
    secrets = [(up.home / "admin.key").read_text().strip()]
    secrets += [path.read_text() for path in (up.home / "secrets").iterdir()]
    texts = [up.printed(), *survivors(up.home), *(log.read_text() for log in (up.home / "logs").iterdir())]
    assert not [secret for secret in secrets for text in texts if secret in text]


def test_ctrl_c_stops_each_part_once(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the whole foreground process group, in which no child of `up` may be."""
    with running(tmp_path / "home") as up:
        groups = {os.getpgid(pid) for pid in up.pids().values()}
        assert os.getpgid(up.process.pid) not in groups
        assert up.end(signal.SIGINT) == 0
    assert survivors(tmp_path / "home") == []


def test_a_stop_while_starting_leaves_nothing(tmp_path: Path) -> None:
    up = Up(tmp_path / "home")
    eventually(lambda: (tmp_path / "home" / "logs" / "postgres.log").exists())
    assert up.end(signal.SIGTERM) == 0
    assert "is up" not in up.printed()
    assert survivors(tmp_path / "home") == []


def test_after_kill_9_the_next_up_recovers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--no-worker") as first:
        with first.admin() as admin:
            assert admin.post("/v1/users", json={"name": "kept"}).status_code == 201
        port = int(first.url().rsplit(":", 1)[1])
        first.process.kill()
        first.process.wait()
    again = Up(home, "--no-worker", port=port).ready()
    with again.admin() as admin:
        assert "kept" in [user["name"] for user in admin.get("/v1/users").json()["items"]]
    assert again.end(signal.SIGTERM) == 0
    assert survivors(home) == []


def test_a_crashed_api_comes_back(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--no-worker") as up:
        first = up.pids()["api"]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: answers(up.url()))
        assert up.pids()["api"] != first
        assert "api exited (-9)" in up.printed()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = palimpsest("up", "--home", str(tmp_path / "home"), "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"palimpsest: the API cannot start: port {port} is taken; choose another with --port\n"
    assert survivors(tmp_path / "home") == []


def test_given_services_are_used_instead_of_embedded_ones(tmp_path: Path, settings: Settings) -> None:
    home = tmp_path / "up"
    given = {"DATABASE_URL": settings.database_url or "", "BROKER_URL": settings.broker_url or ""}
    with running(home, "--no-worker", variables=given) as up:
        assert set(up.pids()) == {"s3", "api", "sweeper"}
        assert not (home / "postgres").exists()
        assert httpx.get(f"{up.url()}/health/ready").status_code == 200


def test_a_worker_started_apart_finds_the_stack(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--no-worker") as up:
        assert "worker" not in up.pids()
        command = [sys.executable, "-m", "app.cli", "worker", "--home", str(home), "--kinds", "generate"]
        log = tmp_path / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=bare())
        eventually(lambda: " ready." in log.read_text() or worker.poll() is not None)
        worker.terminate()
        assert worker.wait(PATIENCE_SECONDS) == 0, log.read_text()


def test_a_lost_admin_key_is_replaced_on_request(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--no-worker"):
        (home / "admin.key").unlink()
    with running(home, "--no-worker") as up:
        assert "palimpsest admin-key" in up.printed()
        assert palimpsest("admin-key", "--home", str(home)).returncode == 0
        assert (home / "admin.key").stat().st_mode & 0o777 == 0o600
        with up.admin() as admin:
            assert admin.get("/v1/me").status_code == 200


def test_a_worker_without_a_stack_says_so_in_one_line(tmp_path: Path) -> None:
    done = palimpsest("worker", "--home", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert re.fullmatch(r"palimpsest: no stack in .*\n", done.stderr)


@pytest.mark.parametrize("variable", ["PALIMPSEST_API_PORT", "PALIMPSEST_WORKER_KINDS", "DATABASE_URL"])
def test_a_bad_setting_is_one_line_without_its_value(variable: str) -> None:
    value = "postgresql+psycopg://me:hunter2@127.0.0.1:1/none" if variable == "DATABASE_URL" else "hunter2"
    done = palimpsest("migrate", variables={variable: value})
    assert done.returncode == 1
    assert re.fullmatch(r"palimpsest: .*\n", done.stderr)
    assert "hunter2" not in done.stderr
