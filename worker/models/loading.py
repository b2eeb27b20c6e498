"""Loading a base model by its family; a new family is one file and one entry in `_FAMILIES`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers.utils import logging as transformers_logging

from app.domain.base_configs import read_configs, unfit
from app.domain.base_models import Family
from worker.models import weight_files
from worker.models.base import Base
from worker.models.base_model_errors import BaseModelError, UnfitBaseError
from worker.models.sd import StableDiffusionBase
from worker.models.sdxl import StableDiffusionXLBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _FamilyLoader:
    """How a family is loaded: its pipeline class, and the base around them."""

    pipeline: Any
    wrap: Callable[[Any, str], Base]
    # Parts of the pipeline that only filter pictures, or that this family's bases need not have.
    left_out: tuple[str, ...]


_FAMILIES: dict[Family, _FamilyLoader] = {
    Family.SD: _FamilyLoader(
        pipeline=StableDiffusionPipeline,
        wrap=StableDiffusionBase,
        left_out=("safety_checker", "feature_extractor", "image_encoder"),
    ),
    Family.SDXL: _FamilyLoader(
        pipeline=StableDiffusionXLPipeline,
        wrap=StableDiffusionXLBase,
        left_out=("feature_extractor", "image_encoder"),
    ),
}


def load_base(family: Family, source: str, device: torch.device, dtype: torch.dtype) -> Base:
    """The base model in `source` (a folder, a checkpoint or a hub id), frozen, on `device`; only safetensors are read.

    Raises:
        BaseModelError: it cannot be loaded.
        UnfitBaseError: it is of another family, or of none; the detail says so and not where it is.
    """
    loader = _FAMILIES[family]
    folder, is_single = weight_files.resolve(source), weight_files.is_checkpoint(source)
    weight_files.pipeline_class(folder)
    if (reason := unfit(family, read_configs(Path(source) if is_single else folder))) is not None:
        log.error("the base model in %s is of no use: %s", source, reason)
        raise UnfitBaseError(reason)
    # Workers log; nobody watches their bars.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = _from_checkpoint(loader, source, folder, dtype) if is_single else _from_folder(loader, folder, dtype)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BaseModelError(f"The base model {source!r} cannot be loaded: {_first_line(error)}") from error
    return loader.wrap(pipeline.to(device), weight_files.fingerprint(source, family.components))


def _from_folder(loader: _FamilyLoader, folder: Path, dtype: torch.dtype) -> Any:
    return loader.pipeline.from_pretrained(
        folder,
        # In half precision VAEs lose detail and some overflow; they are small.
        dtype={"default": dtype, "vae": torch.float32},
        use_safetensors=True,
        variant=weight_files.variant(folder),
        local_files_only=True,
        **dict.fromkeys(loader.left_out),
    )


def _from_checkpoint(loader: _FamilyLoader, source: str, configs: Path, dtype: torch.dtype) -> Any:
    """With the configurations that are beside it: without any, diffusers would guess, and fetch them from a hub."""
    pipeline = loader.pipeline.from_single_file(
        source, config=str(configs), local_files_only=True, dtype=torch.float32, **dict.fromkeys(loader.left_out)
    )
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module) and name != "vae":
            part.to(dtype)
    return pipeline


def fingerprint(family: Family, source: str) -> str:
    """The fingerprint of a base model that need not be loaded; a loaded one carries it as `Base.fingerprint`.

    Raises:
        BaseModelError: `source` is neither a folder nor a hub id.
    """
    return weight_files.fingerprint(source, family.components)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
