"""Cursors survive the way to a client and back, and nothing else is taken for one."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.db.pages import Cursor
from app.domain.errors import InvalidInputError


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])), st.uuids())
def test_there_and_back(created_at: datetime, id_: UUID) -> None:
    cursor = Cursor(created_at, id_)
    assert Cursor.decode(cursor.encode()) == cursor
    assert cursor.encode().isascii()
    assert not set(cursor.encode()) & set("+/=?&# ")


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Cursor.decode(text)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        Cursor.decode(Cursor(datetime(2026, 1, 1), UUID(int=1)).encode())
