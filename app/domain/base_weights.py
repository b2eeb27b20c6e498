"""The fingerprint of a base model's files: the same for the front end, which loads none, and for workers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

INDEX = "model_index.json"
_ENDINGS = (".json", ".txt", ".safetensors")


def fingerprint(folder: Path, components: Sequence[str], checkpoint: Path | None = None) -> str:
    """The sha256 (hex) over names and contents of the weights' and configurations' files of these components.

    It says nothing of `palimpsest.json` nor of files that the pipeline does not load, so that editing a default or
    a licence does not make another base. `checkpoint`: the one file that has the weights, where the folder has none.

    Raises:
        OSError: there is no pipeline in the folder, or a file cannot be read.
    """
    files = [folder / INDEX]
    for component in components:
        files += (file for file in (folder / component).rglob("*") if file.is_file() and file.suffix in _ENDINGS)
    if checkpoint is not None:
        files.append(checkpoint)
    digest = hashlib.sha256()
    for file in sorted(files):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        # A checkpoint's own name says nothing of what is in it.
        name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else "checkpoint"
        digest.update(f"{content}  {name}\n".encode())
    return digest.hexdigest()
