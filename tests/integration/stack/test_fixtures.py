"""The fixtures that every other integration test stands on: isolated, and nothing shared but the servers."""

import pytest
import redis
from sqlalchemy import create_engine, text

from app.settings import Settings
from app.storage import ObjectStore


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_an_empty_migrated_database_bucket_and_broker(settings: Settings, turn: int) -> None:
    assert settings.database_url is not None
    assert settings.broker_url is not None
    engine = create_engine(settings.database_url)
    with engine.begin() as connection, redis.Redis.from_url(settings.broker_url) as broker:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
        connection.execute(text("CREATE TABLE left_by_a_test (id int)"))
        assert broker.dbsize() == 0
        broker.set("left by a test", turn)
    engine.dispose()
    assert ObjectStore(settings).is_ready()
    assert list(ObjectStore(settings).list("")) == []
