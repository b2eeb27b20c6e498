"""The embedded services: they keep their data, come back after any kind of kill, and keep their secrets."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil
import psycopg
import pytest
import redis

from app.settings import Settings
from app.stack.addresses import Addresses
from app.stack.postgres import Postgres
from app.stack.processes import spawn
from app.stack.services import start_services
from app.stack.signals import StopRequest
from tests.integration.stack.helpers import embedded, eventually, processes_of, supervisor_of
from tests.integration.stack.test_supervisor import run_until

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

HOLD = (
    "from pathlib import Path\n"
    "from tests.integration.stack.helpers import embedded\n"
    "import signal, sys\n"
    "with embedded(Path(sys.argv[1])) as addresses:\n"
    "    addresses.save(Path(sys.argv[1]))\n"
    "    print('up', flush=True)\n"
    "    signal.pause()\n"
)


def database(addresses: Addresses) -> psycopg.Connection:
    return psycopg.connect(addresses.database_url.replace("+psycopg", ""), autocommit=True)


def bucket_client(addresses: Addresses) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=addresses.s3_endpoint_url,
        region_name=addresses.s3_region,
        aws_access_key_id=addresses.s3_access_key_id,
        aws_secret_access_key=addresses.s3_secret_access_key,
    )


def write_data(addresses: Addresses) -> None:
    with database(addresses) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'row' AS what")
    bucket_client(addresses).put_object(Bucket=addresses.s3_bucket, Key="users/kept", Body=b"object")


def assert_data(addresses: Addresses) -> None:
    with database(addresses) as connection:
        assert connection.execute("SELECT what FROM kept").fetchone() == ("row",)
    stored = bucket_client(addresses).get_object(Bucket=addresses.s3_bucket, Key="users/kept")
    assert stored["Body"].read() == b"object"


def test_a_restart_keeps_data_and_addresses(tmp_path: Path) -> None:
    with embedded(tmp_path) as first:
        write_data(first)
    assert processes_of(tmp_path) == []
    with embedded(tmp_path) as second:
        assert second == first
        assert_data(second)
    assert processes_of(tmp_path) == []


def test_only_the_keys_open_the_services(tmp_path: Path) -> None:
    with embedded(tmp_path) as addresses:
        for secret in (tmp_path / "secrets").iterdir():
            assert secret.stat().st_mode & 0o077 == 0
        wrong = re.sub(r":[^:@/]+@", ":wrong@", addresses.database_url.replace("+psycopg", ""))
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        with (
            pytest.raises(redis.AuthenticationError),
            redis.Redis.from_url(re.sub(r"://.*@", "://", addresses.broker_url)) as broker,
        ):
            broker.ping()
        with pytest.raises(Exception, match=r"SignatureDoesNotMatch|AccessDenied|InvalidAccessKeyId"):
            boto3.client(
                "s3",
                endpoint_url=addresses.s3_endpoint_url,
                region_name=addresses.s3_region,
                aws_access_key_id=addresses.s3_access_key_id,
                aws_secret_access_key="wrong",
            ).list_buckets()


def test_no_secret_is_on_a_command_line_or_in_a_log(tmp_path: Path) -> None:
    with embedded(tmp_path) as addresses:
        write_data(addresses)
        secrets = [path.read_text() for path in (tmp_path / "secrets").iterdir()]
        assert len(secrets) == 5
        texts = [" ".join(process.cmdline()) for process in processes_of(tmp_path)]
    assert len(texts) >= 3
    texts += [log.read_text() for log in (tmp_path / "logs").iterdir()]
    assert not [text for text in texts for secret in secrets if secret in text]


def test_a_killed_service_comes_back_where_it_was(tmp_path: Path) -> None:
    stop_request = StopRequest()
    with supervisor_of(tmp_path, stop_request) as supervisor:
        addresses = start_services(Settings(home=tmp_path), tmp_path, supervisor)
        write_data(addresses)
        killed = [process for process in psutil.Process().children() if process.pid in supervised(tmp_path)]
        assert len(killed) == 3
        for process in killed:
            process.kill()
        assert run_until(supervisor, stop_request, lambda: answers(addresses))
        assert_data(addresses)


def supervised(home: Path) -> set[int]:
    return {int(pid) for pid in re.findall(r'"pid": (\d+)', (home / "processes.json").read_text())}


def answers(addresses: Addresses) -> bool:
    try:
        with database(addresses), redis.Redis.from_url(addresses.broker_url) as broker:
            bucket_client(addresses).list_buckets()
            return bool(broker.ping())
    except Exception:
        return False


@pytest.mark.parametrize("records_lost", [False, True])
def test_after_a_kill_of_the_supervisor_the_next_start_recovers(tmp_path: Path, records_lost: bool) -> None:
    holder = hold(tmp_path)
    addresses = Addresses.load(tmp_path)
    assert addresses is not None
    write_data(addresses)
    holder.kill()
    holder.wait()
    if records_lost:
        (tmp_path / "processes.json").unlink()
    with embedded(tmp_path) as again:
        assert_data(again)
    assert processes_of(tmp_path) == []


def test_after_a_kill_of_everything_the_next_start_recovers(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    addresses = Addresses.load(tmp_path)
    assert addresses is not None
    write_data(addresses)
    family = [psutil.Process(holder.pid), *psutil.Process(holder.pid).children(recursive=True)]
    for process in family:
        process.kill()
    holder.wait()
    assert (tmp_path / "postgres" / "postmaster.pid").exists()
    with embedded(tmp_path) as again:
        assert_data(again)


def hold(home: Path) -> subprocess.Popen[str]:
    """Another process that has the services up."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "up\n"
    return holder


def test_an_orphan_postgres_that_nobody_remembers_is_stopped(tmp_path: Path) -> None:
    with embedded(tmp_path):
        pass
    orphan = Postgres(tmp_path, 0).program()
    port = (tmp_path / "ports" / "postgres").read_text()
    orphan = Postgres(tmp_path, int(port)).program()
    process, _ = spawn(orphan, tmp_path)
    eventually(lambda: "ready" in pid_file(tmp_path))
    with embedded(tmp_path) as addresses, database(addresses) as connection:
        assert process.wait() == 0
        assert connection.execute("SELECT 1").fetchone() == (1,)


def pid_file(home: Path) -> str:
    path = home / "postgres" / "postmaster.pid"
    return path.read_text() if path.exists() else ""


def test_a_pid_file_that_names_a_stranger_is_ignored(tmp_path: Path) -> None:
    with embedded(tmp_path):
        written = pid_file(tmp_path)
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    (tmp_path / "postgres" / "postmaster.pid").write_text(re.sub(r"^\d+", str(stranger.pid), written))
    with embedded(tmp_path):
        assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_half_made_database_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    with embedded(tmp_path) as addresses, database(addresses) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_what_the_settings_name_is_not_started(tmp_path: Path) -> None:
    given = {
        "database_url": "postgresql+psycopg://elsewhere/db",
        "broker_url": "redis://elsewhere",
        "s3_endpoint_url": "https://s3.example",
    }
    with supervisor_of(tmp_path) as supervisor:
        addresses = start_services(Settings(home=tmp_path).model_copy(update=given), tmp_path, supervisor)
        assert [addresses.database_url, addresses.broker_url, addresses.s3_endpoint_url] == list(given.values())
        assert processes_of(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here already runs as an ordinary user")
def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    assert shutil.which("setpriv")
    home = tmp_path / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    # The capability only opens the way to an interpreter and a temporary folder that belong to root.
    words = (
        "setpriv",
        "--reuid=nobody",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
    )
    holder = subprocess.Popen([*words, sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "up\n"
    assert {process.username() for process in processes_of(home)} == {"nobody"}
    addresses = Addresses.load(home)
    assert addresses is not None
    write_data(addresses)
    assert_data(addresses)
    holder.send_signal(signal.SIGTERM)
    holder.wait()
    eventually(lambda: processes_of(home) == [])
