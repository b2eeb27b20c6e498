"""A backup of a real home, restored elsewhere: nothing is missing, and the same pictures come back."""

import io
from pathlib import Path

from PIL import Image

from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.own_stack import own_stack
from tests.acceptance.up import palimpsest, running
from tests.tiny_pipelines import write_tiny_sd


def test_a_restored_home_passes_the_check_and_draws_the_same(tmp_path: Path) -> None:
    write_tiny_sd(tmp_path / "bases" / "tiny-sd")
    archive, there = tmp_path / "backup.tar", tmp_path / "there"
    with own_stack(tmp_path) as (up, user):
        lineage = user.lineage("merge", rank=2, steps=4, batch_size=1)
        user.learn(lineage, user.concept("dog"))
        drawn = user.pictures(lineage, 1, "a photo of <dog>")
        user_key = user.http.headers["Authorization"].removeprefix("Bearer ")
        refused = palimpsest("backup", str(archive), "--home", str(up.home))
        assert refused.returncode == 1
        assert "already up" in refused.stderr
        assert refused.stderr.count("\n") == 1
    done = palimpsest("backup", str(archive), "--home", str(up.home))
    assert done.returncode == 0, done.stderr
    done = palimpsest("restore", str(archive), "--home", str(there))
    assert done.returncode == 0, done.stderr

    variables = {"PALIMPSEST_BASE_MODELS_DIR": str(tmp_path / "bases"), "PALIMPSEST_TORCH_THREADS": "1"}
    with running(there, variables=variables) as restored:
        checked = palimpsest("check", "--home", str(there))
        assert (checked.returncode, checked.stdout) == (0, "No violations.\n"), checked.stderr
        with restored.admin() as admin:
            assert admin.get("/v1/me").status_code == 200
        again = ForeignClient(restored.url(), user_key)
        items = again.call("GET", "/v1/generations", 200).json()["items"]
        kept = [
            again.call("GET", f"/v1/generations/{items[0]['id']}/images/{n}", 200).content for n in range(len(drawn))
        ]
        assert kept == drawn
        # And drawn again from the restored adapter, the same but for the ids in their metadata.
        assert [_pixels(picture) for picture in again.pictures(lineage, 1, "a photo of <dog>")] == [
            _pixels(picture) for picture in drawn
        ]


def _pixels(picture: bytes) -> bytes:
    return Image.open(io.BytesIO(picture)).tobytes()
