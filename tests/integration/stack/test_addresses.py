"""The file that tells processes started apart where the stack is."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.settings import Settings
from app.stack.addresses import Addresses, environment, resolve, with_checked_urls, without_secrets
from app.stack.stack_errors import StackError
from tests.services import without_addresses

KNOWN = Addresses(
    database_url="postgresql+psycopg://palimpsest:pw@127.0.0.1:1/palimpsest",
    broker_url="redis://:pw@127.0.0.1:2/0",
    s3_endpoint_url="http://127.0.0.1:3",
    s3_bucket="saved-bucket",
    s3_region="us-east-1",
    s3_access_key_id="saved-id",
    s3_secret_access_key="saved-secret",
)


def bare(home: Path) -> Settings:
    return without_addresses(Settings(home=home))


def test_saved_addresses_are_found_and_private(tmp_path: Path) -> None:
    KNOWN.save(tmp_path)
    assert Addresses.load(tmp_path) == KNOWN
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600
    assert resolve(bare(tmp_path)).broker_url == KNOWN.broker_url


def test_each_given_address_is_kept(tmp_path: Path) -> None:
    KNOWN.save(tmp_path)
    resolved = resolve(bare(tmp_path).model_copy(update={"database_url": "postgresql+psycopg://mine/db"}))
    assert (resolved.database_url, resolved.broker_url) == ("postgresql+psycopg://mine/db", KNOWN.broker_url)
    assert resolved.s3_bucket == "saved-bucket"


def test_the_keys_of_one_s3_are_never_sent_to_another(tmp_path: Path) -> None:
    KNOWN.save(tmp_path)
    resolved = resolve(bare(tmp_path).model_copy(update={"s3_endpoint_url": "https://s3.example", "s3_bucket": "mine"}))
    assert (resolved.s3_bucket, resolved.s3_access_key_id, resolved.s3_secret_access_key) == ("mine", None, None)


def test_without_a_stack_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="palimpsest up") as caught:
        resolve(bare(tmp_path))
    assert "\n" not in caught.value.detail


def test_settings_survive_the_environment_of_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = KNOWN.applied_to(bare(tmp_path))
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
    assert Settings().s3_secret_access_key == SecretStr("saved-secret")


def test_nothing_secret_is_printed() -> None:
    assert without_secrets(KNOWN.database_url) == "127.0.0.1:1"
    assert without_secrets("https://key:secret@s3.example") == "s3.example"
    assert json.dumps(repr(KNOWN)).count("pw") == 0


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_any_name_of_postgres_means_psycopg(tmp_path: Path, scheme: str) -> None:
    settings = bare(tmp_path).model_copy(update={"database_url": f"{scheme}://me:pw@db/name"})
    assert with_checked_urls(settings).database_url == "postgresql+psycopg://me:pw@db/name"


@pytest.mark.parametrize("name", ["database_url", "broker_url", "s3_endpoint_url"])
def test_what_is_no_url_is_named_without_its_value(tmp_path: Path, name: str) -> None:
    with pytest.raises(StackError, match=f"{name.upper()} must start with") as caught:
        with_checked_urls(bare(tmp_path).model_copy(update={name: "hunter2"}))
    assert "hunter2" not in caught.value.detail
