"""`palimpsest bootstrap` on services that are there and empty: what it makes, where the key goes, and a second call."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db.session import make_engine, transaction
from app.db.tables import ApiKey, BaseModelRow
from app.domain.keys import KeyScope, hash_key
from app.settings import Settings
from app.stack.addresses import Addresses, environment
from app.storage import ObjectStore
from tests.acceptance.up import palimpsest
from tests.services import EMPTY, fresh_settings
from tests.tiny_pipelines import write_tiny_sd


@pytest.fixture
def empty(services: Addresses, tmp_path: Path) -> Iterator[Settings]:
    """Services without tables and without a bucket."""
    write_tiny_sd(tmp_path / "bases" / "tiny-sd")
    with fresh_settings(services, tmp_path / "home", EMPTY) as settings:
        changes = {"base_models_dir": tmp_path / "bases", "s3_bucket": "not-there-yet"}
        yield settings.model_copy(update=changes)


def variables(settings: Settings) -> dict[str, str]:
    return environment(settings) | {"PALIMPSEST_BASE_MODELS_DIR": str(settings.base_models_dir)}


def keys(settings: Settings) -> dict[str, KeyScope]:
    assert settings.database_url is not None
    engine = make_engine(settings.database_url)
    with transaction(engine) as session:
        assert session.scalars(select(BaseModelRow.name)).all() == ["tiny-sd"]
        found = {key.sha256: key.scope for key in session.scalars(select(ApiKey))}
    engine.dispose()
    return found


def test_it_makes_everything_once_and_the_key_goes_into_the_home(empty: Settings) -> None:
    for _ in range(2):
        done = palimpsest("bootstrap", variables=variables(empty))
        assert (done.returncode, done.stderr) == (0, "")
        assert str(empty.home / "admin.key") in done.stdout
    path = empty.home / "admin.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys(empty) == {hash_key(path.read_text().strip()): KeyScope.ADMIN}
    assert ObjectStore(empty).is_ready()


def test_the_key_goes_to_standard_output_alone(empty: Settings) -> None:
    first = palimpsest("bootstrap", "--key-file", "-", variables=variables(empty))
    assert first.returncode == 0
    assert keys(empty) == {hash_key(first.stdout.strip()): KeyScope.ADMIN}
    assert not empty.home.exists()
    second = palimpsest("bootstrap", "--key-file", "-", variables=variables(empty))
    assert (second.returncode, second.stdout) == (0, "")
    assert "admin-key" in second.stderr


def test_the_key_goes_into_the_named_file_or_nothing_is_made(empty: Settings, tmp_path: Path) -> None:
    bad = palimpsest("bootstrap", "--key-file", str(tmp_path / "nowhere" / "key"), variables=variables(empty))
    assert bad.returncode == 1
    assert bad.stderr.count("\n") == 1
    assert keys_or_none(empty) == {}
    good = palimpsest("bootstrap", "--key-file", str(tmp_path / "key"), variables=variables(empty))
    assert good.returncode == 0, json.dumps(good.stderr)
    assert list(keys(empty)) == [hash_key((tmp_path / "key").read_text().strip())]


def keys_or_none(settings: Settings) -> dict[str, KeyScope]:
    assert settings.database_url is not None
    engine = make_engine(settings.database_url)
    with transaction(engine) as session:
        found = {key.sha256: key.scope for key in session.scalars(select(ApiKey))}
    engine.dispose()
    return found
