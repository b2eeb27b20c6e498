"""Which base models a worker keeps loaded, and which it lets go."""

from pathlib import Path

import pytest

from app.db.session import transaction
from app.db.tables import BaseModelRow
from app.domain.errors import NotFoundError
from tests.integration.worker.world import World
from worker.attempt.loaded_bases import LoadedBases
from worker.models.loading import load_base

NAMES = ("first", "second", "third")


@pytest.fixture
def named(world: World) -> World:
    """The world, with its base registered under three more names."""
    with transaction(world.engine) as session:
        (row,) = session.query(BaseModelRow).all()
        for name in NAMES:
            session.add(BaseModelRow(name=name, source=row.source, manifest=row.manifest))
    return world


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the source of each base that is loaded from now on."""
    sources: list[str] = []

    def load(family: object, source: str, *rest: object) -> object:
        sources.append(source)
        return load_base(family, source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.attempt.loaded_bases.load_base", load)
    return sources


def with_room_for(world: World, count: int) -> LoadedBases:
    """Loaded bases whose limit is `count` and a half times the base's size."""
    one = LoadedBases(world.engine, world.settings).get(NAMES[0])[0].weight_bytes
    limited = world.settings.model_copy(update={"loaded_bases_bytes": count * one + one // 2})
    return LoadedBases(world.engine, limited)


def test_the_least_recently_used_goes_first(named: World, loads: list[str]) -> None:
    bases = with_room_for(named, 2)
    loads.clear()
    for name in ("first", "second", "first", "third", "first"):
        bases.get(name)
    assert len(loads) == 3
    bases.get("second")
    assert len(loads) == 4


def test_the_one_in_use_stays_however_large_it_is(named: World, loads: list[str]) -> None:
    bases = with_room_for(named, 0)
    loads.clear()
    assert bases.get("first")[0] is bases.get("first")[0]
    assert len(loads) == 1


def test_a_changed_source_is_loaded_again(named: World, loads: list[str], tmp_path: Path) -> None:
    bases = with_room_for(named, 2)
    loads.clear()
    bases.get("first")
    with transaction(named.engine) as session:
        row = session.get(BaseModelRow, "first")
        assert row is not None
        (tmp_path / "copy").symlink_to(row.source)
        row.source = str(tmp_path / "copy")
    bases.get("first")
    assert len(loads) == 2


def test_a_base_that_is_not_registered_is_not_found(named: World) -> None:
    with pytest.raises(NotFoundError):
        with_room_for(named, 1).get("fourth")
