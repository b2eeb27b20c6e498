"""One reading of the names that tools give to tensors: which layer, and which part of which method.

Layers are named alike whatever the tool: without the tool's prefix, and with `_` in the place of each dot. For kohya's
names leave open which `_` was a dot. Whether it is diffusers' name of a layer or Stability's, the base model tells.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from app.domain.adapters import AdapterFormat

_TEXT_SIDE = re.compile(
    r"(base_model\.model\.)?(((lora|lycoris|oft)_(prior_)?te(xt)?\d*|text_encoders?(_\d+)?)[._]|te\d*\.|clip_[lgh]\."
    r"|t5(xxl)?\.|bundle_emb\.|cond_stage_model\.|conditioner\.|text_model\.|emb_params)"
)
_UNDERSCORED = re.compile(r"(lora|lycoris|oft)_(prior_)?unet(_+|\.)|lycoris_|lora_transformer_")
_DOTTED = re.compile(
    r"(base_model\.model\.|unet\.base_model\.model\.)?((model\.)?diffusion_model\.|unet\.|transformer\.)?"
)


class Part(StrEnum):
    """What a tensor is to its layer's update."""

    DOWN = "down"
    UP = "up"
    MID = "mid"
    ALPHA = "alpha"
    DORA_SCALE = "dora_scale"
    MAGNITUDE = "lora_magnitude_vector"
    HADA_W1_A = "hada_w1_a"
    HADA_W1_B = "hada_w1_b"
    HADA_W2_A = "hada_w2_a"
    HADA_W2_B = "hada_w2_b"
    HADA_T1 = "hada_t1"
    HADA_T2 = "hada_t2"
    LOKR_W1 = "lokr_w1"
    LOKR_W1_A = "lokr_w1_a"
    LOKR_W1_B = "lokr_w1_b"
    LOKR_W2 = "lokr_w2"
    LOKR_W2_A = "lokr_w2_a"
    LOKR_W2_B = "lokr_w2_b"
    LOKR_T2 = "lokr_t2"
    DIFF = "diff"
    DIFF_BIAS = "diff_b"
    IA3_WEIGHT = "weight"
    IA3_ON_INPUT = "on_input"
    IA3_FACTOR = "ia3_l"


# Of each ending its part. `(\.[^.]+)?` is the name of an adapter of peft, which may have a hyphen or a space.
_NAMED = r"(\.[^.]+)?"
_ENDINGS: tuple[tuple[str, Part], ...] = (
    (rf"\.lora_A{_NAMED}\.weight", Part.DOWN),
    (rf"\.lora_B{_NAMED}\.weight", Part.UP),
    (r"(\.lora|_lora|\.lora_linear_layer)\.down\.weight", Part.DOWN),
    (r"(\.lora|_lora|\.lora_linear_layer)\.up\.weight", Part.UP),
    (r"\.lora_down\.weight", Part.DOWN),
    (r"\.lora_up\.weight", Part.UP),
    (r"\.lora_mid\.weight", Part.MID),
    (r"(\.lora|_lora|\.lora_linear_layer)?\.alpha", Part.ALPHA),
    (r"\.dora_scale", Part.DORA_SCALE),
    (rf"\.lora_magnitude_vector{_NAMED}(\.weight)?", Part.MAGNITUDE),
    (rf"\.hada_w1_a{_NAMED}", Part.HADA_W1_A),
    (rf"\.hada_w1_b{_NAMED}", Part.HADA_W1_B),
    (rf"\.hada_w2_a{_NAMED}", Part.HADA_W2_A),
    (rf"\.hada_w2_b{_NAMED}", Part.HADA_W2_B),
    (rf"\.hada_t1{_NAMED}", Part.HADA_T1),
    (rf"\.hada_t2{_NAMED}", Part.HADA_T2),
    (rf"\.lokr_w1{_NAMED}", Part.LOKR_W1),
    (rf"\.lokr_w1_a{_NAMED}", Part.LOKR_W1_A),
    (rf"\.lokr_w1_b{_NAMED}", Part.LOKR_W1_B),
    (rf"\.lokr_w2{_NAMED}", Part.LOKR_W2),
    (rf"\.lokr_w2_a{_NAMED}", Part.LOKR_W2_A),
    (rf"\.lokr_w2_b{_NAMED}", Part.LOKR_W2_B),
    (rf"\.lokr_t2{_NAMED}", Part.LOKR_T2),
    (r"\.diff", Part.DIFF),
    (r"\.diff_b", Part.DIFF_BIAS),
    (r"\.on_input", Part.IA3_ON_INPUT),
    (rf"\.ia3_l{_NAMED}", Part.IA3_FACTOR),
    (r"(?<!\.a1)(?<!\.a2)(?<!\.b1)(?<!\.b2)\.weight", Part.IA3_WEIGHT),
)
# The longest part first, so that `.lora_A.weight` is no `.weight`; a name has no dot, so no stem is eaten.
_ANY_ENDING = re.compile("|".join(rf"(?P<e{n}>{ending})$" for n, (ending, _) in enumerate(_ENDINGS)))
_OTHER_METHODS = {
    r"\.(a1|a2|b1|b2)\.weight$": "GLoRA",
    r"\.oft_": "OFT",
    r"\.boft_": "BOFT",
    r"\.vera_": "VeRA",
    r"\.[wb]_norm$": "an update of normalisation layers",
    r"\.set_weight$|\.reshape_weight$": "weights that replace the base's",
    r"\.lora_B(\.\w+)?\.bias$|\.bias$|\.bias_(indices|values|size)$": "an update of biases",
    r"\.lora_embedding_[AB]": "an update of embeddings",
}


@dataclass(frozen=True)
class TensorName:
    """What a tensor's name says.

    `dotted` is the layer's name as the file has it, less the prefix; None where it has none, in kohya's names.
    `says_scale_one`: all tools that know such a name take the scale for 1 where no alpha is told. peft's own files and
    names without a prefix leave it open.
    """

    layer: str
    part: Part
    format: AdapterFormat
    dotted: str | None
    says_scale_one: bool


def is_text_side(name: str) -> bool:
    """Whether the tensor belongs to a text encoder, or to an embedding."""
    return _TEXT_SIDE.match(name) is not None


def parse_name(name: str) -> TensorName | None:
    """None for what is no part of a method that is understood."""
    match = _ANY_ENDING.search(name)
    if match is None or match.lastgroup is None:
        return None
    part = next(part for n, (_, part) in enumerate(_ENDINGS) if match[f"e{n}"] is not None)
    stem = name[: match.start()]
    if underscored := _UNDERSCORED.match(stem):
        layer = stem[underscored.end() :]
        return TensorName(layer.replace(".", "_"), part, AdapterFormat.KOHYA, None, says_scale_one=True)
    prefix = _DOTTED.match(stem)
    assert prefix is not None
    dotted = stem[prefix.end() :]
    is_old = ".lora." in match[0] or "_lora." in match[0] or "lora_linear_layer" in match[0]
    if ".processor" in dotted:
        dotted = dotted.replace(".processor", "")
    is_known = prefix[1] is None and (prefix[2] is not None or is_old)
    return TensorName(dotted.replace(".", "_"), part, AdapterFormat.DIFFUSERS, dotted, says_scale_one=is_known)


def other_method(name: str) -> str | None:
    """The method that a tensor belongs to, of those that are known and not understood."""
    return next((method for sign, method in _OTHER_METHODS.items() if re.search(sign, name)), None)
