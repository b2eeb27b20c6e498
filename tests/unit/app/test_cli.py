"""Bad input to the `palimpsest` command: one line for a person, which tells no setting's value, and no traceback."""

import os
import sys
from pathlib import Path

import pytest

from app import cli

PASSWORD = "hunter2"
ADDRESSES = ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT_URL")

CASES: list[tuple[str, dict[str, str], str]] = [
    ("", {}, "Missing command"),
    ("nonsense", {}, "No such command 'nonsense'"),
    ("up --nonsense", {}, "--nonsense"),
    ("up --port 99999", {}, "65535"),
    ("api --port many", {}, "--port"),
    ("worker --kinds dream", {}, "the kinds are train, generate"),
    ("worker", {}, "no stack in"),
    ("sweeper", {}, "no stack in"),
    ("migrate", {}, "no stack in"),
    ("admin-key", {}, "no stack in"),
    ("up --home /dev/null/home", {}, "Not a directory"),
    ("up", {"PALIMPSEST_API_PORT": PASSWORD}, "api_port"),
    ("up", {"BROKER_URL": PASSWORD}, "BROKER_URL must start with"),
    ("up", {"S3_ENDPOINT_URL": PASSWORD}, "S3_ENDPOINT_URL must start with"),
    ("sweeper", {"DATABASE_URL": PASSWORD}, "DATABASE_URL must start with"),
    ("migrate", {"DATABASE_URL": f"sqlite:///{PASSWORD}"}, "DATABASE_URL must start with"),
    ("api", {"PALIMPSEST_QUOTAS": PASSWORD}, "quotas"),
    ("api", {"PALIMPSEST_QUOTAS": '{"image": 1}'}, "quotas.image"),
    ("api", {"PALIMPSEST_REQUESTS_PER_SECOND": "0"}, "requests_per_second"),
    ("worker", {"PALIMPSEST_WORKER_KINDS": f'["{PASSWORD}"]'}, "worker_kinds"),
    ("worker", {"PALIMPSEST_LEASE_SECONDS": PASSWORD}, "lease_seconds"),
    ("worker", {"PALIMPSEST_LEASE_SECONDS": "-1"}, "lease_seconds"),
    ("worker", {"PALIMPSEST_HEARTBEAT_SECONDS": "30"}, "heartbeat_seconds must be less than lease_seconds"),
    ("worker", {"PALIMPSEST_TORCH_THREADS": "0"}, "torch_threads"),
]


@pytest.mark.parametrize(("words", "variables", "mention"), CASES, ids=[f"{case[0]} {case[2]}" for case in CASES])
def test_one_line(
    words: str,
    variables: dict[str, str],
    mention: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name in [name for name in os.environ if name.startswith("PALIMPSEST_") or name in ADDRESSES]:
        monkeypatch.delenv(name)
    for name, value in {"PALIMPSEST_HOME": str(tmp_path / "none"), **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["palimpsest", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert told.out == ""
    assert told.err.startswith("palimpsest: ")
    assert told.err.count("\n") == 1
    assert mention in told.err
    assert "Value error" not in told.err
    assert PASSWORD not in told.err


def test_help_is_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["palimpsest", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert "migrate" in capsys.readouterr().out
