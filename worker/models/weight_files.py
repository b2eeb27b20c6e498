"""The files of a base model: where they are, which of them count, and their fingerprint."""

import hashlib
import json
from pathlib import Path

from diffusers import DiffusionPipeline

from worker.models.base_model_errors import BaseModelError

_INDEX = "model_index.json"
_HALF = "fp16"
_ENDINGS = (".json", ".txt", ".safetensors")


def resolve(source: str) -> Path:
    """The folder of a base model: `source` itself, or the local snapshot of the hub repository of that name.

    Raises:
        BaseModelError: there is neither.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    try:
        return Path(DiffusionPipeline.download(source, use_safetensors=True))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"The base model {source!r} is neither a folder nor a hub repository in reach.") from error


def pipeline_class(folder: Path) -> str:
    """The name of the diffusers pipeline that the folder was saved by.

    Raises:
        BaseModelError: the folder is not a diffusers pipeline.
    """
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        return str(index["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseModelError(f"The base model in {folder.name!r} has no readable {_INDEX}.") from error


def variant(folder: Path) -> str | None:
    """`fp16` for a folder whose UNet is there in half precision alone, as hubs offer it; None for a plain one."""
    names = {file.name for file in (folder / "unet").glob("*.safetensors")}
    is_plain = any(not name.partition(".")[2].startswith(_HALF) for name in names)
    return _HALF if names and not is_plain else None


def fingerprint(source: str, components: tuple[str, ...]) -> str:
    """The sha256 (hex) over names and contents of the weights' and configurations' files of these components.

    It says nothing of `palimpsest.json` nor of files that the pipeline does not load, so that editing a default or
    a licence does not make another base.
    """
    folder = resolve(source)
    files = [folder / _INDEX]
    for component in components:
        files += (file for file in (folder / component).rglob("*") if file.is_file() and file.suffix in _ENDINGS)
    digest = hashlib.sha256()
    for file in sorted(files):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{content}  {file.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()
