"""Whether a base model is one that its family draws and trains with, by its configurations alone.

A diffusers folder may be saved under a family's class and still be something else: an inpainting UNet, a refiner, a
model of flows. Such a base would load, and fail in the first step of every job.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.domain.base_models import Family

Configs = Mapping[str, Mapping[str, Any]]
"""By component: what its configuration file says; of the whole pipeline under `INDEX`."""

INDEX = "model_index"
PREDICTIONS = ("epsilon", "v_prediction", "sample")
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")

_FILES = {"scheduler": "scheduler_config.json"}
_COMPONENTS = ("unet", "vae", "scheduler", "text_encoder", "text_encoder_2")
_CLASSES = {Family.SD: "StableDiffusionPipeline", Family.SDXL: "StableDiffusionXLPipeline"}
_SIZES = 6  # Of SDXL's six numbers about a picture's size and crop.


CHECKPOINT = ".safetensors"
_FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
_MAX_HEADER_BYTES = 100 * 1024 * 1024


def configs_folder(source: Path) -> Path:
    """Where the configurations are: the folder itself, or beside a single checkpoint that of its name."""
    return source.with_suffix("") if source.suffix == CHECKPOINT else source


def read_configs(source: Path) -> Configs:
    """What there is of a base model's configurations; what is not there or not readable is left out.

    Of a single checkpoint they are in the folder of its name; how many channels its UNet takes it tells itself.
    """
    found = _of_folder(configs_folder(source))
    if (channels := _channels_of(source)) is not None:
        found["unet"] = {**found.get("unet", {}), "in_channels": channels}
    return found


def _channels_of(source: Path) -> int | None:
    if not source.is_file():
        return None
    try:
        with source.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(size, _MAX_HEADER_BYTES)))
        return int(header[_FIRST_CONVOLUTION]["shape"][1])
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error):
        return None


def _of_folder(folder: Path) -> dict[str, dict[str, Any]]:
    paths = {name: folder / name / _FILES.get(name, "config.json") for name in _COMPONENTS}
    found = {}
    for name, path in {INDEX: folder / f"{INDEX}.json", **paths}.items():
        try:
            read = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(read, dict):
            found[name] = read
    return found


def unfit(family: Family, configs: Configs) -> str | None:
    """Why the family cannot use this base, in a sentence for the user; None if it can."""
    return next(_reasons(family, configs), None)


def _reasons(family: Family, configs: Configs) -> Iterator[str]:
    found = configs.get(INDEX, {}).get("_class_name")
    if found is not None and found != _CLASSES[family]:
        yield f"The base model is a {found}, but the family '{family.value}' is {_CLASSES[family]}."
    yield from _of_refiner(family, configs)
    yield from _of_channels(configs)
    yield from _of_texts(family, configs)
    prediction = configs.get("scheduler", {}).get("prediction_type", PREDICTIONS[0])
    if prediction not in PREDICTIONS:
        yield f"The base model predicts {prediction!r}; the family '{family.value}' has {', '.join(PREDICTIONS)}."


def _of_refiner(family: Family, configs: Configs) -> Iterator[str]:
    index = configs.get(INDEX, {})
    first = index.get("text_encoder", True)
    has_no_first_encoder = isinstance(first, list) and not any(first)
    if family is Family.SDXL and (index.get("requires_aesthetics_score") or has_no_first_encoder):
        yield "The base model is a refiner, which finishes the pictures of another base and draws none of its own."


def _of_channels(configs: Configs) -> Iterator[str]:
    latent = configs.get("vae", {}).get("latent_channels", 4)
    unet = configs.get("unet", {})
    taken, given = unet.get("in_channels", latent), unet.get("out_channels", latent)
    if taken != latent:
        use = {9: "inpainting", 8: "editing pictures"}.get(taken, "another use")
        yield f"The base model's UNet takes {taken} channels where latents have {latent}: it is made for {use}."
    if given != latent:
        yield f"The base model's UNet gives {given} channels where latents have {latent}, and no training fits that."


def _of_texts(family: Family, configs: Configs) -> Iterator[str]:
    unet, encoders = configs.get("unet", {}), _COMPONENTS[3:] if family is Family.SDXL else _COMPONENTS[3:4]
    own = [width for name in encoders if isinstance(width := configs.get(name, {}).get("hidden_size"), int)]
    wanted = unet.get("cross_attention_dim")
    if isinstance(wanted, int) and len(own) == len(encoders) and wanted != sum(own):
        yield f"The base model's UNet reads texts of width {wanted}, its text encoders write {sum(own)}."
    added = unet.get("addition_embed_type")
    if family is Family.SD and added is not None and unet:
        yield f"The base model's UNet wants more than a prompt ({added}), which the family 'sd' does not give it."
    if family is Family.SDXL and unet:
        yield from _of_sizes(unet, configs.get("text_encoder_2", {}))


def _of_sizes(unet: Mapping[str, Any], encoder: Mapping[str, Any]) -> Iterator[str]:
    one, pooled = unet.get("addition_time_embed_dim"), encoder.get("projection_dim")
    wanted = unet.get("projection_class_embeddings_input_dim")
    if isinstance(one, int) and isinstance(pooled, int) and isinstance(wanted, int):
        given = _SIZES * one + pooled
        if wanted != given:
            yield f"The base model's UNet wants {wanted} numbers about a picture, SDXL gives {given}: as a refiner's."
