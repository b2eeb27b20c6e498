"""The files of a base model: where they are, which of them count, and their fingerprint."""

import json
from pathlib import Path

from diffusers import DiffusionPipeline

from app.domain import base_weights
from app.domain.base_configs import CHECKPOINT, PICKLES, configs_folder
from worker.models.base_model_errors import BaseModelError, UnfitBaseError

_HALF = "fp16"


def resolve(source: str) -> Path:
    """The folder of a base model: `source` itself, or the local snapshot of the hub repository of that name.

    Of a single checkpoint it is the folder of its name, which holds the pipeline's configurations and tokenizers.

    Raises:
        BaseModelError: there is none.
        UnfitBaseError: a checkpoint has no such folder, or is a pickle.
    """
    folder = configs_folder(Path(source))
    if folder.is_dir():
        return folder
    if folder.suffix in PICKLES:
        raise UnfitBaseError("Weights in a pickle can run any code, and are never read; give safetensors.")
    if folder != Path(source):
        raise UnfitBaseError(
            "A single checkpoint needs its pipeline's configurations and tokenizers beside it, in a folder of its name "
            "without the ending: a diffusers folder without weights. Nothing is fetched for it."
        )
    try:
        return Path(DiffusionPipeline.download(source, use_safetensors=True))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"The base model {source!r} is neither a folder nor a hub repository in reach.") from error


def is_checkpoint(source: str) -> bool:
    """Whether it is one file with all the weights, as most people have them."""
    return Path(source).suffix == CHECKPOINT and Path(source).is_file()


def pipeline_class(folder: Path) -> str:
    """The name of the diffusers pipeline that the folder was saved by.

    Raises:
        BaseModelError: the folder is not a diffusers pipeline.
    """
    try:
        index = json.loads((folder / base_weights.INDEX).read_bytes())
        return str(index["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseModelError(f"The base model in {folder.name!r} has no readable {base_weights.INDEX}.") from error


def variant(folder: Path) -> str | None:
    """`fp16` for a folder whose UNet is there in half precision alone, as hubs offer it; None for a plain one."""
    names = {file.name for file in (folder / "unet").glob("*.safetensors")}
    is_plain = any(not name.partition(".")[2].startswith(_HALF) for name in names)
    return _HALF if names and not is_plain else None


def fingerprint(source: str, components: tuple[str, ...]) -> str:
    """The fingerprint of a base model; see `app.domain.base_weights`.

    Raises:
        BaseModelError: `source` is neither a folder nor a hub id.
    """
    return base_weights.fingerprint(resolve(source), components, Path(source) if is_checkpoint(source) else None)
