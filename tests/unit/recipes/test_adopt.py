"""Going on from an exported model."""

from pathlib import Path

import pytest

from recipes.icons_64.export import adopt


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for part in ("vae", "tokenizer", "text_encoder", "unet", "scheduler"):
        (tmp_path / "model" / part).mkdir(parents=True)
        (tmp_path / "model" / part / "config.json").write_text(part)
    return tmp_path / "model"


def test_the_parts_lie_where_the_stages_look_for_them(model: Path, tmp_path: Path) -> None:
    adopt(model, tmp_path / "run")
    parts = {str(path.parent.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("config.json")}
    assert parts == {"vae", "tokenizer", "start/text_encoder", "start/unet"}


def test_a_run_is_never_overwritten(model: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "unet.pt").touch()
    with pytest.raises(FileExistsError, match="holds a run already"):
        adopt(model, tmp_path / "run")
