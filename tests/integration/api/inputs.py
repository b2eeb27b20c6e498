"""What the tests send."""

import io
import json
import struct
import zlib
from pathlib import Path

import httpx
from PIL import Image

BASE = "tiny"
FEW_TOKENS = "few-tokens"
WIDE = "wide"

Files = list[tuple[str, tuple[str, bytes, str]]]


def write_base_models(folder: Path) -> Path:
    """Manifests without weights: the front end never opens those."""
    tokens = {BASE: [f"tok{number}" for number in range(32)], FEW_TOKENS: ["only"], WIDE: ["broad"]}
    for name, rare_tokens in tokens.items():
        manifest = {
            "name": name,
            "family": "sd",
            "resolution": 64,
            "rare_tokens": rare_tokens,
            "default_steps": 12,
            "default_guidance_scale": 3.5,
            "training_defaults": {"steps": 33, "rank": 4},
        }
        if name == WIDE:
            manifest["canvas"] = {"min_side": 64, "max_side": 128, "multiple": 32}
        (folder / name).mkdir()
        (folder / name / "palimpsest.json").write_text(json.dumps(manifest))
    return folder


def image(width: int = 24, height: int = 16, form: str = "PNG", color: str | tuple[int, ...] = "red") -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    mode = "RGBA" if isinstance(color, tuple) and len(color) == 4 else "RGB"
    Image.new(mode, (width, height), color).save(buffer, form)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be that large, and has hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def files(*contents: bytes) -> Files:
    """The multipart files of these images."""
    return [("images", (f"{number}.png", data, "image/png")) for number, data in enumerate(contents)]


def new_concept(client: httpx.Client, name: str, kind: str = "object") -> str:
    """Uploads a concept of two images; its id."""
    fields = {"name": name, "kind": kind} | ({"class_noun": "dog"} if kind == "object" else {})
    answer = client.post("/v1/concepts", data=fields, files=files(image(), image(color="blue")))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def new_lineage(client: httpx.Client, strategy: str = "merge", base_model: str = BASE) -> str:
    """Creates a lineage; its id."""
    body = {"name": "pets", "base_model": base_model, "strategy": {"name": strategy}}
    answer = client.post("/v1/lineages", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
