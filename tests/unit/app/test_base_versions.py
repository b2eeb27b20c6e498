"""The names of the base models that ship: by their weights, and the newest is what lies in the repository."""

from pathlib import Path

import pytest

from app.domain.base_models import BaseModelManifest
from app.domain.base_versions import SHIPPED, described, insist_unchanged, name_of
from app.domain.base_weights import fingerprint
from app.domain.errors import BaseChangedError

FOLDER = Path(__file__).parents[3] / "base_models" / "icons-64"


def test_the_base_in_the_repository_is_the_newest_and_the_others_are_retired() -> None:
    manifest = BaseModelManifest.model_validate_json((FOLDER / "palimpsest.json").read_bytes())
    newest = SHIPPED[-1]
    assert fingerprint(FOLDER, manifest.family.components) == newest.fingerprint
    assert name_of(manifest.name, newest.fingerprint) == (newest.name, "icons-64")
    assert newest.retired_on is None
    assert all(base.retired_on is not None for base in SHIPPED[:-1])
    assert [base.number for base in SHIPPED] == list(range(1, len(SHIPPED) + 1))
    assert len({base.fingerprint for base in SHIPPED}) == len(SHIPPED)


def test_weights_that_never_shipped_are_named_by_their_fingerprint() -> None:
    assert name_of("icons-64", "0123456789abcdef") == ("icons-64.01234567", "icons-64")
    assert name_of("sdxl", "0123456789abcdef") == ("sdxl", None)
    # Somebody's copy under another name is theirs to name.
    assert name_of("mine", SHIPPED[-1].fingerprint) == ("mine", None)


def test_what_has_changed_is_said_in_words() -> None:
    old, new = SHIPPED[0], SHIPPED[-1]
    insist_unchanged("icons-64.3", [new.fingerprint, new.fingerprint], new.fingerprint)
    insist_unchanged("icons-64.3", [], new.fingerprint)
    with pytest.raises(BaseChangedError) as refused:
        insist_unchanged("icons-64.3", [old.fingerprint, new.fingerprint, "ffff" * 16], new.fingerprint)
    assert f"icons-64.1 ({old.fingerprint[:12]}, retired on 2026-11-23) and ffffffffffff" in refused.value.detail
    assert described(new.fingerprint) == f"icons-64.3 ({new.fingerprint[:12]})"
