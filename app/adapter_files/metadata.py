"""What other tools look for in a file's header: sd-scripts' `ss_` entries, and modelspec's (version 1.0.1).

A1111 lists a file under the base that `ss_base_model_version` and `ss_v2` name, and hides it under others.
"""

import json
from collections.abc import Mapping

from app.adapter_files.card import Card
from app.adapter_files.folding import ArrayFactors
from app.domain.adapters import AdapterFormat
from app.domain.base_models import Family

# Of sd-scripts; SD 1 and 2 are told apart by the width of a token.
_VERSIONS = {768: "sd_v1", 1024: "sd_v2"}
_ARCHITECTURES = {
    "sd_v1": "stable-diffusion-v1",
    "sd_v2": "stable-diffusion-v2-512",
    "sdxl_base_v1-0": "stable-diffusion-xl-v1-base",
}
_DESCRIPTION_LETTERS = 2000


def about_tools(
    modules: Mapping[str, ArrayFactors], kind: AdapterFormat, family: Family, resolution: int | None, card: Card
) -> dict[str, str]:
    """The entries; those of sd-scripts only beside its names."""
    version = _model_version(modules, family)
    architecture = _ARCHITECTURES.get(version or "")
    about = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": None if architecture is None else f"{architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": card.title(),
        "modelspec.description": card.as_markdown()[:_DESCRIPTION_LETTERS],
        "modelspec.trigger_phrase": card.trigger_words(),
        "modelspec.usage_hint": "; ".join(concept.instance_prompt() for concept in card.taught),
        "modelspec.resolution": None if resolution is None else f"{resolution}x{resolution}",
        "modelcard": card.as_markdown(),
    }
    if kind is AdapterFormat.KOHYA:
        about |= _of_sd_scripts(modules, version, card)
    return {name: text for name, text in about.items() if text}


def _of_sd_scripts(modules: Mapping[str, ArrayFactors], version: str | None, card: Card) -> dict[str, str | None]:
    rank = str(max((len(factors.a) for factors in modules.values()), default=0))
    return {
        "ss_base_model_version": version or card.origin.base_model,
        "ss_v2": str(version == "sd_v2"),
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_output_name": card.title(),
        # What UIs offer as trigger words.
        "ss_tag_frequency": json.dumps({"palimpsest": {concept.phrase(): 1 for concept in card.taught}}),
    }


def _model_version(modules: Mapping[str, ArrayFactors], family: Family) -> str | None:
    """None where no layer that sees a token tells it, or it is of no known width."""
    if family is Family.SDXL:
        return "sdxl_base_v1-0"
    widths = {f.a.shape[1] for name, f in modules.items() if name.endswith((".attn2.to_k", ".attn2.to_v"))}
    return _VERSIONS.get(widths.pop()) if len(widths) == 1 else None
