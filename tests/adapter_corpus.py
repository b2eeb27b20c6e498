"""Adapter files of every kind, each with its right answer: `python -m tests.adapter_corpus FOLDER` writes them out.

They are of the tiny SD base. The right answer is the update of each layer, computed here in fp64 from the methods'
definitions; or words of the error, for a file that has to be refused.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from app.adapter_files.scales import read_config
from app.domain.adapters import ImportOptions
from tests.tiny_pipelines import tiny_base

Matrix = NDArray[np.float64]
Tensors = dict[str, Tensor]

Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"
POINT = "down_blocks.0.attentions.0.proj_in"
RANK = 4
PLAIN = ImportOptions()
ALPHA = 2.0


@dataclass(frozen=True)
class Case:
    """A file, how it is imported, and either each layer's update or what the error says."""

    name: str
    data: bytes
    updates: Mapping[str, Matrix] = field(default_factory=dict)
    error: str | None = None
    options: ImportOptions = PLAIN
    tolerance: float = 1e-6


def _weight(path: str) -> Tensor:
    return tiny_base().denoiser.get_submodule(path).weight.detach().double()  # type: ignore[operator]


def _draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 4


def _pair(path: str, rank: int = RANK) -> tuple[Tensor, Tensor]:
    d_out, d_in, *kernel = _weight(path).shape
    return _draw(1, rank, d_in, *kernel), _draw(2, d_out, rank, *(1 for _ in kernel))


def _product(a: Tensor, b: Tensor, scale: float) -> Matrix:
    """B A, its kernel flattened."""
    found: Matrix = scale * (b.double().flatten(1) @ a.double().flatten(1)).numpy()
    return found


def _file(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    return save({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, metadata)


def _under(path: str) -> str:
    return path.replace(".", "_")


# How a layer's down and up are called; and whether a missing alpha means scale 1.
NAMINGS: dict[str, tuple[Callable[[str], tuple[str, str]], bool]] = {
    "diffusers": (lambda p: (f"unet.{p}.lora_A.weight", f"unet.{p}.lora_B.weight"), True),
    "diffusers-old": (lambda p: (f"unet.{p}.lora.down.weight", f"unet.{p}.lora.up.weight"), True),
    "linear-layer": (
        lambda p: (f"unet.{p}.lora_linear_layer.down.weight", f"unet.{p}.lora_linear_layer.up.weight"),
        True,
    ),
    "processor": (
        lambda p: (
            f"{p.replace('.to_', '.processor.to_').removesuffix('.0')}_lora.down.weight",
            f"{p.replace('.to_', '.processor.to_').removesuffix('.0')}_lora.up.weight",
        ),
        True,
    ),
    "kohya": (lambda p: (f"lora_unet_{_under(p)}.lora_down.weight", f"lora_unet_{_under(p)}.lora_up.weight"), True),
    "lycoris": (lambda p: (f"lycoris_{_under(p)}.lora_down.weight", f"lycoris_{_under(p)}.lora_up.weight"), True),
    "comfy": (lambda p: (f"diffusion_model.{p}.lora_A.weight", f"diffusion_model.{p}.lora_B.weight"), True),
    "comfy-down": (lambda p: (f"diffusion_model.{p}.lora_down.weight", f"diffusion_model.{p}.lora_up.weight"), True),
    "peft": (lambda p: (f"base_model.model.{p}.lora_A.weight", f"base_model.model.{p}.lora_B.weight"), False),
    "peft-named": (
        lambda p: (f"base_model.model.{p}.lora_A.style_1.weight", f"base_model.model.{p}.lora_B.style_1.weight"),
        False,
    ),
    "peft-script": (
        lambda p: (f"unet.base_model.model.{p}.lora_A.weight", f"unet.base_model.model.{p}.lora_B.weight"),
        False,
    ),
    "plain": (lambda p: (f"{p}.lora_A.weight", f"{p}.lora_B.weight"), False),
}
_STABILITY = {Q: "input_blocks.1.1.transformer_blocks.0.attn1.to_q", CONV: "input_blocks.1.0.in_layers.2"}
_DTYPES = {"f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16, "f8": torch.float8_e4m3fn}


def _plain(naming: str, path: str = Q, dtype: torch.dtype = torch.float32) -> tuple[Tensors, Tensor, Tensor]:
    down, up = NAMINGS[naming][0](path)
    a, b = (part.to(dtype) for part in _pair(path))
    return {down: a, up: b}, a, b


def namings() -> Iterator[Case]:
    """Each naming, without an alpha and with one, of a projection, of one with a number, and of a convolution."""
    for naming, (names, is_one) in NAMINGS.items():
        for path in (Q, OUT, CONV) if naming != "processor" else (Q, OUT):
            tensors, a, b = _plain(naming, path)
            told = ImportOptions() if is_one else ImportOptions(scale=1)
            yield Case(f"{naming}-{path.split('.')[-1]}", _file(tensors), {path: _product(a, b, 1)}, options=told)
        tensors, a, b = _plain(naming)
        alpha = names(Q)[0].removesuffix(".weight").removesuffix("down").removesuffix("lora_A").rstrip(".")
        if "lora_A" not in names(Q)[0] or naming == "diffusers":
            stem = alpha.removesuffix(".lora_A.style_1").removesuffix("lora_").rstrip("._").removesuffix("_lora")
            stem = stem.removesuffix(".lora").removesuffix(".lora_linear_layer")
            yield Case(
                f"{naming}-alpha", _file({**tensors, f"{stem}.alpha": torch.tensor(ALPHA)}), {Q: _product(a, b, 0.5)}
            )
        if not is_one:
            yield Case(f"{naming}-untold", _file(tensors), error="nothing tells its scale")
    for path, name in _STABILITY.items():
        a, b = _pair(path)
        for prefix, separator in (("lora_unet_", "_"), ("diffusion_model.", "."), ("model.diffusion_model.", ".")):
            stem = prefix + name.replace(".", separator)
            tensors = {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b}
            yield Case(f"stability-{prefix}{path.split('.')[-1]}", _file(tensors), {path: _product(a, b, 1)})


def dtypes() -> Iterator[Case]:
    """Each precision, upcast; and alphas of every kind of number."""
    for name, dtype in _DTYPES.items():
        tensors, a, b = _plain("kohya", dtype=dtype)
        yield Case(f"dtype-{name}", _file(tensors), {Q: _product(a, b, 1)})
    for name, alpha in {
        "int64": torch.tensor(2),
        "int32": torch.tensor(2, dtype=torch.int32),
        "uint8": torch.tensor(2, dtype=torch.uint8),
        "one": torch.tensor([2.0]),
        "bf16": torch.tensor(2, dtype=torch.bfloat16),
    }.items():
        tensors, a, b = _plain("kohya")
        yield Case(f"alpha-{name}", _file({**tensors, f"lora_unet_{_under(Q)}.alpha": alpha}), {Q: _product(a, b, 0.5)})


def scales() -> Iterator[Case]:
    """All that tells a scale, and which goes first."""
    tensors, a, b = _plain("peft")
    two, *_ = _plain("peft", OUT)
    both, a_out, b_out = {**tensors, **two}, *_pair(OUT)

    def configured(name: str, scale: float, other: float | None = None, **config: object) -> Case:
        options = ImportOptions(config=read_config(json.dumps({"peft_type": "LORA", "r": RANK, **config}).encode()))
        if other is None:
            return Case(f"config-{name}", _file(tensors), {Q: _product(a, b, scale)}, options=options)
        updates = {Q: _product(a, b, scale), OUT: _product(a_out, b_out, other)}
        return Case(f"config-{name}", _file(both), updates, options=options)

    yield configured("alpha", 2, lora_alpha=8)
    yield configured("rslora", 4, lora_alpha=8, use_rslora=True)
    yield configured("pattern", 0.5, 2, lora_alpha=8, alpha_pattern={"attn1.to_q": 2})
    yield configured("whole-path", 0.5, 2, lora_alpha=8, alpha_pattern={f"^{Q}": 2})
    yield configured("expression", 0.5, 2, lora_alpha=8, alpha_pattern={r"down_blocks\..*\.to_(q|k)": 2})
    yield configured("first-wins", 0.5, 0.25, lora_alpha=8, alpha_pattern={".*to_q": 2, "to_q": 4, "to_out.0": 1})
    yield configured("no-ending", 2, 2, lora_alpha=8, alpha_pattern={"o_q": 1, "ttn1.to_q": 1})
    yield configured("rank-pattern", 2, 2, lora_alpha=8, r=16, rank_pattern={"to_q": RANK, "to_out.0": RANK})
    yield configured("hostile", 2, 2, lora_alpha=8, alpha_pattern={"(a+)+b": 1, "(.*.*.*.*x)*": 1})
    wrong = ImportOptions(config=read_config(json.dumps({"r": 8, "lora_alpha": 8}).encode()))
    yield Case("config-of-another-file", _file(tensors), error="its rank is 4, and 8 by the config", options=wrong)

    def headed(name: str, scale: float, naming: str = "plain", **entries: str) -> Case:
        own, *_ = _plain(naming)
        return Case(f"header-{name}", _file(own, entries), {Q: _product(a, b, scale)})

    def metadata(**config: object) -> str:
        return json.dumps(config)

    yield headed("diffusers", 2, "diffusers", lora_adapter_metadata=metadata(**{"unet.r": 4, "unet.lora_alpha": 8}))
    yield headed("save-lora-adapter", 2, lora_adapter_metadata=metadata(r=4, lora_alpha=8))
    pattern = {"unet.lora_alpha": 8, "unet.alpha_pattern": {f"^{Q}": 1}}
    yield headed("pattern", 0.25, "diffusers", lora_adapter_metadata=metadata(**pattern))
    rslora = {"unet.lora_alpha": 8, "unet.use_rslora": True}
    yield headed("rslora", 4, "diffusers", lora_adapter_metadata=metadata(**rslora))
    for entry in ("lora_alpha", "network_alpha", "alpha"):
        yield headed(entry, 2, **{entry: "8"})
    yield headed("ss", 2, "kohya", ss_network_alpha="8")
    yield headed("ss-none", 1, "kohya", ss_network_alpha="None")
    yield Case("header-no-number", _file(tensors, {"lora_alpha": "much"}), error="not a number")
    yield Case("header-no-json", _file(tensors, {"lora_adapter_metadata": "{"}), error="not a configuration of peft")
    kohya, *_ = _plain("kohya")
    with_alpha = _file({**kohya, f"lora_unet_{_under(Q)}.alpha": torch.tensor(ALPHA)}, {"ss_network_alpha": "16"})
    yield Case("alpha-before-header", with_alpha, {Q: _product(a, b, 0.5)})
    yield Case("form-before-alpha", with_alpha, {Q: _product(a, b, 3)}, options=ImportOptions(scale=3))
    yield Case("form-alpha", _file(tensors), {Q: _product(a, b, 2)}, options=ImportOptions(alpha=8))
    yield Case("strength", with_alpha, {Q: _product(a, b, -0.25)}, options=ImportOptions(strength=-0.5))
    for name, alpha in {"zero": 0.0, "nan": np.nan, "infinite": np.inf}.items():
        odd = _file({**kohya, f"lora_unet_{_under(Q)}.alpha": torch.tensor(alpha)})
        yield Case(f"alpha-{name}", odd, error="its alpha is")
    huge = _file({**kohya, f"lora_unet_{_under(Q)}.alpha": torch.tensor(1e12)})
    yield Case("alpha-huge", huge, error="times the weight of its layer")


def methods() -> Iterator[Case]:
    """The other methods, from their definitions."""
    stem, conv = f"lora_unet_{_under(Q)}", f"lora_unet_{_under(CONV)}"
    d_out, d_in, height, width = _weight(CONV).shape
    mid, down, up = _draw(3, RANK, RANK, height, width), _draw(4, RANK, d_in, 1, 1), _draw(5, d_out, RANK, 1, 1)
    core = np.einsum("oi,ijhw,jn->onhw", up[:, :, 0, 0].double(), mid.double(), down[:, :, 0, 0].double())
    tensors = {f"{conv}.lora_mid.weight": mid, f"{conv}.lora_down.weight": down, f"{conv}.lora_up.weight": up}
    yield Case("lora-mid", _file({**tensors, f"{conv}.alpha": torch.tensor(ALPHA)}), {CONV: 0.5 * _flat(core)})
    yield from _loha(stem, conv)
    yield from _lokr(stem, conv)
    weight: Matrix = _weight(Q).numpy()
    weight_conv: Matrix = _weight(CONV).numpy()
    diff = _draw(8, *weight.shape)
    yield Case("diff", _file({f"{stem}.diff": diff}), {Q: diff.double().numpy()})
    zero = torch.zeros(weight.shape[0])
    yield Case("diff-bias-of-zero", _file({f"{stem}.diff": diff, f"{stem}.diff_b": zero}), {Q: diff.double().numpy()})
    yield Case("diff-bias", _file({f"{stem}.diff": diff, f"{stem}.diff_b": zero + 1}), error="it changes a bias")
    of_outputs, of_inputs = _draw(9, weight.shape[0], 1), _draw(10, 1, weight.shape[1])
    for name, factor, on_input in (("out", of_outputs, 0), ("in", of_inputs, 1)):
        ia3 = {f"{stem}.weight": factor.flatten(), f"{stem}.on_input": torch.tensor(on_input)}
        yield Case(f"ia3-{name}", _file(ia3), {Q: weight * factor.double().numpy()})
        peft = {f"base_model.model.{Q}.ia3_l": factor}
        yield Case(f"ia3-peft-{name}", _file(peft), {Q: weight * (factor.double().numpy() - 1)})
    for path, own in ((Q, weight), (CONV, weight_conv)):
        a, b = _pair(path)
        delta = _product(a, b, 1).reshape(own.shape)
        lora = {f"lora_unet_{_under(path)}.lora_down.weight": a, f"lora_unet_{_under(path)}.lora_up.weight": b}
        merged = own + delta
        rest = tuple(range(1, merged.ndim))
        norm = np.sqrt(np.square(merged).sum(axis=rest, keepdims=True))
        scale = _draw(11, own.shape[0], *(1 for _ in rest)) + 1
        dora = {**lora, f"lora_unet_{_under(path)}.dora_scale": scale}
        wanted = {path: _flat(merged * scale.double().numpy() / norm - own)}
        yield Case(f"dora-{path.split('.')[-1]}", _file(dora), wanted, tolerance=1e-5)
        columns = (0, *rest[1:])
        norm = np.sqrt(np.square(merged).sum(axis=columns, keepdims=True))
        scale = _draw(12, 1, own.shape[1], *(1 for _ in rest[1:])) + 1
        dora = {**lora, f"lora_unet_{_under(path)}.dora_scale": scale}
        wanted = {path: _flat(merged * scale.double().numpy() / norm - own)}
        yield Case(f"dora-by-input-{path.split('.')[-1]}", _file(dora), wanted, tolerance=1e-5)
    a, b = _pair(Q)
    magnitude = _draw(11, weight.shape[0]) + 1
    merged = weight + _product(a, b, 1)
    peft_dora = {
        f"unet.{Q}.lora_A.weight": a,
        f"unet.{Q}.lora_B.weight": b,
        f"unet.{Q}.lora_magnitude_vector": magnitude,
    }
    decomposed = merged * (magnitude.double().numpy() / np.linalg.norm(merged, axis=1))[:, None] - weight
    yield Case("dora-peft", _file(peft_dora), {Q: decomposed}, tolerance=1e-5)
    for name, ending in {"GLoRA": "a1.weight", "OFT": "oft_blocks", "VeRA": "vera_lambda_b"}.items():
        yield Case(name, _file({f"{stem}.{ending}": zero}), error=name)


def _flat(kernel: Matrix) -> Matrix:
    return kernel.reshape(kernel.shape[0], -1)


def _kron(one: Tensor, two: Tensor) -> Matrix:
    return np.asarray(np.kron(one.double(), two.double()), np.float64)


def _loha(stem: str, conv: str) -> Iterator[Case]:
    d_out, d_in = _weight(Q).shape
    parts = [_draw(20, d_out, 2), _draw(21, 2, d_in), _draw(22, d_out, 2), _draw(23, 2, d_in)]
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    one, two, three, four = (part.double().numpy() for part in parts)
    wanted = (one @ two) * (three @ four)
    named = {f"{stem}.{name}": part for name, part in zip(names, parts, strict=True)}
    yield Case("loha", _file({**named, f"{stem}.alpha": torch.tensor(1.0)}), {Q: 0.5 * wanted})
    peft = {f"base_model.model.{Q}.{name}": part for name, part in zip(names, parts, strict=True)}
    config = ImportOptions(config=read_config(b'{"peft_type": "LOHA", "r": 2, "alpha": 4}'))
    yield Case("loha-peft", _file(peft), {Q: 2 * wanted}, options=config)
    d_out, d_in, height, width = _weight(CONV).shape
    flat = [_draw(24, d_out, 2), _draw(25, 2, d_in * height * width), _draw(26, d_out, 2), _draw(27, 2, d_in * 9)]
    one, two, three, four = (part.double().numpy() for part in flat)
    named = {f"{conv}.{name}": part for name, part in zip(names, flat, strict=True)}
    yield Case("loha-conv", _file(named), {CONV: (one @ two) * (three @ four)})
    tucker = [_draw(28, 2, d_out), _draw(29, 2, d_in), _draw(30, 2, d_out), _draw(31, 2, d_in)]
    cores = _draw(32, 2, 2, height, width), _draw(33, 2, 2, height, width)
    sides = [
        np.einsum("ijhw,jn,im->mnhw", core.double(), tucker[n + 1].double(), tucker[n].double())
        for n, core in zip((0, 2), cores, strict=True)
    ]
    named = {f"{conv}.{name}": part for name, part in zip(names, tucker, strict=True)}
    named |= {f"{conv}.hada_t1": cores[0], f"{conv}.hada_t2": cores[1]}
    yield Case("loha-tucker", _file(named), {CONV: _flat(sides[0] * sides[1])})
    lacking = {name: part for name, part in named.items() if not name.endswith("w2_b")}
    yield Case("loha-without-a-part", _file(lacking), error="LoHa of one layer with no hada_w2_b")


def _lokr(stem: str, conv: str) -> Iterator[Case]:
    d_out, d_in = _weight(Q).shape
    w1, w2 = _draw(40, 2, 4), _draw(41, d_out // 2, d_in // 4)
    whole = _kron(w1, w2)
    named = {f"{stem}.lokr_w1": w1, f"{stem}.lokr_w2": w2, f"{stem}.alpha": torch.tensor(9.0)}
    yield Case("lokr-whole", _file(named), {Q: whole})
    a, b = _draw(42, d_out // 2, 2), _draw(43, 2, d_in // 4)
    half = _kron(w1, a.double() @ b.double())
    named = {f"{stem}.lokr_w1": w1, f"{stem}.lokr_w2_a": a, f"{stem}.lokr_w2_b": b, f"{stem}.alpha": torch.tensor(1.0)}
    yield Case("lokr-half", _file(named), {Q: 0.5 * half})
    c, d = _draw(46, 2, 2), _draw(47, 2, 4)
    both = _kron((c.double() @ d.double()), a.double() @ b.double())
    named = {f"{stem}.lokr_w1_a": c, f"{stem}.lokr_w1_b": d, f"{stem}.lokr_w2_a": a, f"{stem}.lokr_w2_b": b}
    yield Case("lokr-of-four", _file({**named, f"{stem}.alpha": torch.tensor(1.0)}), {Q: 0.5 * both})
    core = torch.ones(2, 2, 1, 1)
    yield Case(
        "lokr-core-beside-a-whole",
        _file({f"{stem}.lokr_w1": w1, f"{stem}.lokr_w2": w2, f"{stem}.lokr_t2": core}),
        error="lokr_t2 beside it",
    )
    d_out, d_in, height, width = _weight(CONV).shape
    w1, kernel = _draw(44, 2, 2), _draw(45, d_out // 2, d_in // 2, height, width)
    wanted = _kron(w1[:, :, None, None], kernel)
    yield Case("lokr-conv", _file({f"{conv}.lokr_w1": w1, f"{conv}.lokr_w2": kernel}), {CONV: _flat(wanted)})


def damages() -> Iterator[Case]:
    """What is broken, and what only looks so."""
    tensors, a, b = _plain("kohya")
    down, up = NAMINGS["kohya"][0](Q)
    good = {Q: _product(a, b, 1)}
    empty = {
        "lora_unet_mid_block_resnets_0_conv1.lora_down.weight": torch.zeros(0, 32, 3, 3),
        "lora_unet_mid_block_resnets_0_conv1.lora_up.weight": torch.zeros(32, 0, 1, 1),
        "lora_unet_mid_block_resnets_0_conv1.alpha": torch.tensor(1.0),
    }
    yield Case("an-empty-module", _file({**tensors, **empty}), good)
    texts: tuple[str, ...] = (
        "lora_te_x",
        "lora_te1_x",
        "lora_te2_x",
        "clip_l.x",
        "clip_g.x",
        "text_encoders.clip_l.x",
        "bundle_emb.x",
    )
    texts += ("text_encoder.x", "text_encoder_2.x", "lycoris_text_model_x", "base_model.model.text_model.x")
    ignored = ImportOptions(ignore_text_encoder=True)
    for text in texts:
        beside = _file({**tensors, f"{text}.lora_down.weight": a})
        yield Case(f"text-{text}", beside, good, options=ignored)
    yield Case("text-not-ignored", beside, error="tensors adapt text encoders")
    yield Case("text-alone", _file({"clip_l.x.lora_up.weight": a}), error="no update of a denoiser", options=ignored)
    yield Case("no-up", _file({down: a}), error="LoRA of one layer with no up")
    yield Case("alpha-alone", _file({down.replace("lora_down.weight", "alpha"): a[0, 0]}), error="no down and no up")
    yield Case("ranks-differ", _file({down: a, up: b[:, :2]}), error="have no product")
    yield Case(
        "another-layer", _file({down.replace("attn1", "attn9"): a, up.replace("attn1", "attn9"): b}), error="no such"
    )
    yield Case("another-size", _file({down: a[:, :-1], up: b}), error="for a layer of 16 x 16")
    yield Case("twice", _file({**tensors, **_plain("diffusers")[0]}), error="the same part of the same layer")
    yield Case("not-a-number", _file({down: a, up: torch.full_like(b, torch.nan)}), error="infinite or not a number")
    yield Case("integers", _file({down: a.to(torch.int8), up: b}), error="its numbers are I8")
    yield Case(
        "rank-beyond-all", _file({down: torch.ones(5000, 1), up: torch.ones(1, 5000)}), error="its rank is 5,000"
    )
    many = {f"unet.x{n}.{'y' * 300}.hada_w1_a": torch.ones(1) for n in range(3000)}
    yield Case("many-faults", _file(many), error="(3,000 of this kind")
    yield Case("nothing", _file({"x": a}), error="no part of an adapter")
    yield Case("a-checkpoint", _file({f"{Q}.weight": a}), error="no part of an adapter")
    whole = _file(tensors)
    yield Case("cut-off", whole[:-10], error="cannot be imported")
    yield Case("no-safetensors", b"\x80\x04K\x01.", error="cannot be imported")
    above = _pair(Q, rank=40)
    tall = {down: above[0], up: above[1]}
    yield Case("a-rank-above-the-layers", _file(tall), {Q: _product(*above, 1)}, tolerance=1e-5)


def oddities() -> Iterator[Case]:
    """What tools write now and then: other dimensions of the same factors, names of adapters, numbers of every kind."""
    stem, conv = f"lora_unet_{_under(Q)}", f"lora_unet_{_under(CONV)}"
    (tensors, a, b), point = _plain("kohya"), f"lora_unet_{_under(POINT)}"
    down, up = _draw(1, RANK, _weight(POINT).shape[1]), _draw(2, _weight(POINT).shape[0], RANK)
    for name, dims in (("flat", ()), ("square", (1, 1))):
        one = {f"{point}.lora_down.weight": down.reshape(*down.shape, *dims)}
        one[f"{point}.lora_up.weight"] = up.reshape(*up.shape, *dims)
        yield Case(f"point-{name}", _file(one), {POINT: _product(down, up, 1)})
    four = {f"{stem}.lora_down.weight": a[:, :, None, None], f"{stem}.lora_up.weight": b[:, :, None, None]}
    yield Case("linear-of-four-dimensions", _file(four), {Q: _product(a, b, 1)})
    for name, alpha, scale in (
        ("matrix", torch.full((1, 1), 2.0), 0.5),
        ("fp8", torch.tensor(2.0).to(torch.float8_e4m3fn), 0.5),
        ("negative", torch.tensor(-2.0), -0.5),
    ):
        yield Case(f"alpha-{name}", _file({**tensors, f"{stem}.alpha": alpha}), {Q: _product(a, b, scale)})
    truth = _file({**tensors, f"{stem}.alpha": torch.tensor(True)})
    yield Case("alpha-true", truth, error="true or false, not a number")
    mixed = {f"{stem}.lora_down.weight": a.half(), f"{stem}.lora_up.weight": b.bfloat16()}
    yield Case("dtypes-mixed", _file(mixed), {Q: _product(a.half(), b.bfloat16(), 1)})
    e5m2 = a.to(torch.float8_e5m2)
    yield Case("dtype-e5m2", _file({**tensors, f"{stem}.lora_down.weight": e5m2}), {Q: _product(e5m2, b, 1)})
    for name in ("my-style", "my style", "default_0"):
        named = {f"base_model.model.{Q}.lora_{part}.{name}.weight": t for part, t in (("A", a), ("B", b))}
        yield Case(f"peft-{name}", _file(named), {Q: _product(a, b, 1)}, options=ImportOptions(scale=1))
    for prefix in ("lora_unet.", "unet.", "lora_unet__", "lora_prior_unet_"):
        path = Q if prefix.endswith(".") else _under(Q)
        own = {f"{prefix}{path}.lora_down.weight": a, f"{prefix}{path}.lora_up.weight": b}
        yield Case(f"prefix-{prefix}", _file(own), {Q: _product(a, b, 1)})
    c, d = _pair(CONV)
    both = {**tensors, f"unet.{CONV}.lora_A.weight": c, f"unet.{CONV}.lora_B.weight": d}
    yield Case("two-namings", _file(both), {Q: _product(a, b, 1), CONV: _product(c, d, 1)})
    yield Case("zero", _file({**tensors, f"{stem}.lora_up.weight": 0 * b}), error="zero everywhere")
    diff = _draw(3, *_weight(CONV).shape)
    yield Case("diff-conv", _file({f"{conv}.diff": diff}), {CONV: _flat(diff.double().numpy())})
    yield Case("diff-turned", _file({f"{conv}.diff": diff.permute(3, 2, 1, 0)}), error="a difference of shape")
    yield Case("scaled-fp8", _file({**tensors, f"{stem}.lora_down.scale_weight": a[0, 0]}), error="no part of an")
    yield Case(
        "five-dimensions",
        _file({f"{conv}.lora_down.weight": c[..., None], f"{conv}.lora_up.weight": d}),
        error="no product",
    )
    yield Case("header-empty", _file(tensors, {"lora_alpha": ""}), {Q: _product(a, b, 1)})
    said = {"ss_network_dim": "4", "ss_network_alpha": "2.0"}
    yield Case("header-kohya", _file(tensors, said), {Q: _product(a, b, 0.5)})
    wrong = _file({**tensors, f"{stem}.dora_scale": _draw(11, 7)})
    yield Case("dora-of-another-size", wrong, error="do not fit together")


def corpus() -> list[Case]:
    """All of them, by distinct names."""
    cases = [*namings(), *dtypes(), *scales(), *methods(), *damages(), *oddities()]
    assert len({case.name for case in cases}) == len(cases)
    return cases


def main() -> None:
    """Write the files, and an index with what is expected of each."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    for case in corpus():
        (folder / f"{case.name}.safetensors").write_bytes(case.data)
        options = case.options.model_dump(mode="json", exclude_defaults=True)
        index[case.name] = {"layers": sorted(case.updates), "error": case.error, "options": options}
    (folder / "index.json").write_text(json.dumps(index, indent=1))


if __name__ == "__main__":
    main()
