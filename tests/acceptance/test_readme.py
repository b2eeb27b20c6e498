"""A newcomer follows the README: its commands, in its order, by bash and curl, on a stack over the tiny base."""

import json
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

from PIL import Image
from safetensors.numpy import load_file

from tests.acceptance.up import running
from tests.tiny_pipelines import write_tiny_sd

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 500.0


def first_calls() -> str:
    """The code blocks of the section, as one script."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## The first calls\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    return "\n".join(textwrap.dedent(block) for block in blocks)


def write_base(bases: Path) -> None:
    """The tiny base under the name that the README uses."""
    write_tiny_sd(bases / "icons-64")
    path = bases / "icons-64" / "palimpsest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "icons-64"}))


def test_the_first_calls(tmp_path: Path) -> None:
    assert shutil.which("curl"), "the README's commands need curl, which this machine lacks"
    write_base(tmp_path / "bases")
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    variables = {"PALIMPSEST_BASE_MODELS_DIR": str(tmp_path / "bases"), "PALIMPSEST_TORCH_THREADS": "1"}
    with running(tmp_path / ".palimpsest", variables=variables) as up:
        script = first_calls().replace("http://127.0.0.1:8000", up.url())
        assert up.url() in script
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "succeeded"
    assert_taken_home(tmp_path)


def assert_taken_home(folder: Path) -> None:
    picture = Image.open(folder / "my-lion.png")
    about = json.loads(str(picture.info["palimpsest"]))
    assert picture.size == (64, 64)
    assert (about["version"], about["prompt"], about["seed"]) == ("1", "a photo of <my-lion>", "7")
    assert load_file(folder / "my-lion.safetensors")
