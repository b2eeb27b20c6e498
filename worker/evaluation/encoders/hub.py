"""Where an encoder's files are: a folder, or the snapshot of a hub repository. Safetensors only, never pickles."""

import hashlib
from pathlib import Path

from huggingface_hub import snapshot_download

from worker.evaluation.encoders.base import EncoderError

_CONFIGURATION = "*.json"
_WEIGHTS = "*.safetensors"


def resolve(source: str) -> Path:
    """The folder `source` itself, or the snapshot of the hub repository of that name.

    Raises:
        EncoderError: there is neither.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(source, allow_patterns=[_CONFIGURATION, _WEIGHTS]))
    except (OSError, ValueError) as error:
        raise EncoderError(f"The encoder {source!r} is neither a folder nor a hub repository in reach.") from error


def weights(folder: Path) -> list[Path]:
    """The files of weights in `folder`, at least one.

    Raises:
        EncoderError: there is none.
    """
    found = sorted(folder.glob(_WEIGHTS))
    if not found:
        raise EncoderError(f"The encoder in {folder.name!r} has no safetensors.")
    return found


def fingerprint(folder: Path) -> str:
    """The sha256 (hex) over names and contents of the files of weights and configuration."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob(_CONFIGURATION), *weights(folder)]):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{content}  {file.name}\n".encode())
    return digest.hexdigest()
