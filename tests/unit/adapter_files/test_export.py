"""An export equals the accumulated update D of docs/strategies.md, computed here densely."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save
from safetensors.torch import load as load_torch

from app.adapter_files.card import Card, read_card
from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import A, B, Link
from app.domain.adapters import AdapterFormat, Origin, Precision
from app.domain.base_models import Family
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.errors import InvalidInputError, StorageError
from app.domain.strategies import MergeOptions, NaiveOptions, StrategyOptions

MERGE, NAIVE = MergeOptions(), NaiveOptions()
CARD = Card(
    origin=Origin(lineage_id="x", version=2, base_model="icons-64"),
    taught=(
        TaughtConcept(name="rex", kind=ConceptKind.OBJECT, class_noun="dog", token="zqa"),
        TaughtConcept(name="ink", kind=ConceptKind.STYLE, class_noun=None, token="zqb"),
    ),
)
SHAPES = {"down.0.to_q": (6, 5), "down.0.to_out.0": (4, 7)}

Update = dict[str, NDArray[np.float32]]


def task(seed: int, strategy: StrategyOptions, rank: int, scale: float, modules: Sequence[str]) -> tuple[Link, Update]:
    """A stored adapter, and the update `s B A` that it stands for."""
    draw = np.random.default_rng(seed)
    tensors: Update = {}
    update: Update = {}
    for name in modules:
        d_out, d_in = SHAPES[name]
        a = draw.standard_normal((rank, d_in)).astype(np.float32)
        b = draw.standard_normal((d_out, rank)).astype(np.float32)
        tensors |= {f"unet.{name}.lora_A.weight": a, f"unet.{name}.lora_B.weight": b}
        update[name] = np.float32(scale) * (b @ a)
    return Link(strategy, save(tensors, metadata={"scale": repr(scale), "format": "palimpsest-adapter-1"})), update


def accumulated(updates: Sequence[Update]) -> Update:
    total: Update = {}
    for update in updates:
        for name, delta in update.items():
            total[name] = total.get(name, np.zeros_like(delta)) + delta
    return total


def products(data: bytes, kind: AdapterFormat) -> Update:
    """What a consumer computes from an export."""
    tensors = load(data)
    if kind is AdapterFormat.DIFFUSERS:
        return {
            name: tensors[f"unet.{name}.lora_B.weight"] @ tensors[f"unet.{name}.lora_A.weight"]
            for name in SHAPES
            if f"unet.{name}.lora_A.weight" in tensors
        }
    found = {}
    for name in SHAPES:
        prefix = "lora_unet_" + name.replace(".", "_")
        down = tensors[f"{prefix}.lora_down.weight"]
        scale = float(tensors[f"{prefix}.alpha"]) / down.shape[0]
        found[name] = scale * (tensors[f"{prefix}.lora_up.weight"] @ down)
    return found


# The chain's strategies, and which of its updates D is the sum of.
CHAINS = [
    ([MERGE], [0]),
    ([MERGE, MERGE, MERGE], [0, 1, 2]),
    ([NAIVE], [0]),
    ([NAIVE, NAIVE, NAIVE], [2]),
    ([MERGE, MERGE, NAIVE, NAIVE], [0, 1, 3]),
    ([NAIVE, NAIVE, MERGE], [1, 2]),
    ([NAIVE, NAIVE, MERGE, NAIVE, NAIVE], [1, 2, 4]),
]


@pytest.mark.parametrize("kind", list(AdapterFormat))
@pytest.mark.parametrize(("chain", "kept"), CHAINS)
def test_an_export_is_the_accumulated_update(
    chain: Sequence[StrategyOptions], kept: Sequence[int], kind: AdapterFormat
) -> None:
    tasks = [
        task(seed, strategy, rank=2 + seed, scale=0.5 + seed, modules=list(SHAPES))
        for seed, strategy in enumerate(chain)
    ]
    data = export_adapter([link for link, _ in tasks], Export(kind))
    expected = accumulated([tasks[number][1] for number in kept])
    found = products(data, kind)
    assert found.keys() == expected.keys()
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=1e-4, atol=1e-4)


def test_tasks_may_adapt_different_modules() -> None:
    tasks = [task(0, MERGE, 2, 1.0, ["down.0.to_q"]), task(1, MERGE, 3, 1.0, ["down.0.to_out.0"])]
    found = products(export_adapter([link for link, _ in tasks], Export()), AdapterFormat.DIFFUSERS)
    for name, delta in accumulated([update for _, update in tasks]).items():
        np.testing.assert_allclose(found[name], delta, rtol=1e-5, atol=1e-5)


def test_the_same_chain_gives_the_same_bytes_and_says_what_it_is() -> None:
    links = [task(seed, MERGE, 2, 1.0, list(SHAPES))[0] for seed in range(2)]
    for kind in AdapterFormat:
        data = export_adapter(links, Export(kind, card=CARD))
        assert data == export_adapter(links, Export(kind, card=CARD))
        assert read_card(metadata(data)) == CARD
        assert metadata(data)["modelspec.trigger_phrase"] == "zqa dog, zqb style"
        assert "| rex | object | `zqa dog` | `a photo of zqa dog` |" in metadata(data)["modelcard"]


@pytest.mark.parametrize(
    ("family", "width", "version", "v2"),
    [
        (Family.SD, 768, "sd_v1", "False"),
        (Family.SD, 1024, "sd_v2", "True"),
        (Family.SD, 32, "icons-64", "False"),
        (Family.SDXL, 2048, "sdxl_base_v1-0", "False"),
    ],
)
def test_uis_find_a_kohya_file_under_its_base(family: Family, width: int, version: str, v2: str) -> None:
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    a, b = np.ones((2, width), np.float32), np.ones((4, 2), np.float32)
    link = Link(MERGE, save({f"unet.{name}{A}": a, f"unet.{name}{B}": b}, metadata={"scale": "1.0"}))
    data = export_adapter([link], Export(AdapterFormat.KOHYA, family, card=CARD, resolution=512))
    told = metadata(data)
    assert (told["ss_base_model_version"], told["ss_v2"]) == (version, v2)
    assert (told["ss_network_module"], told["ss_network_dim"], told["ss_network_alpha"]) == ("networks.lora", "2", "2")
    assert told["modelspec.resolution"] == "512x512"
    block = "input_blocks_4_1" if family is Family.SDXL else "down_blocks_1_attentions_0"
    assert f"lora_unet_{block}_transformer_blocks_0_attn2_to_k.alpha" in load(data)


def test_diffusers_gets_one_rank_as_kohya_does() -> None:
    """Older diffusers take the first module's rank for all scales."""
    tasks = [task(0, MERGE, 2, 1.0, ["down.0.to_q"]), task(1, MERGE, 3, 1.0, ["down.0.to_out.0"])]
    tensors = load(export_adapter([link for link, _ in tasks], Export()))
    assert {len(factor) for name, factor in tensors.items() if name.endswith(A)} == {3}


@pytest.mark.parametrize("kind", list(AdapterFormat))
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_an_export_in_half_precision_holds_the_nearest_numbers(kind: AdapterFormat, precision: Precision) -> None:
    """The oracle is torch's rounding. Alphas stay whole: bf16 has no 301."""
    links = [task(seed, MERGE, 301, 1.0, list(SHAPES))[0] for seed in range(1)]
    exact = load_torch(export_adapter(links, Export(kind)))
    halved = load_torch(export_adapter(links, Export(kind, precision=precision)))
    dtype = torch.float16 if precision is Precision.FP16 else torch.bfloat16
    for name, tensor in exact.items():
        wanted = tensor if tensor.ndim == 0 else tensor.to(dtype)
        assert halved[name].dtype == wanted.dtype
        assert torch.equal(halved[name], wanted)


def test_what_fp16_cannot_hold_is_refused() -> None:
    link = task(0, MERGE, 2, 1e6, list(SHAPES))[0]
    with pytest.raises(InvalidInputError, match="fp16"):
        export_adapter([link], Export(precision=Precision.FP16))
    export_adapter([link], Export(precision=Precision.BF16))


def metadata(data: bytes) -> dict[str, str]:
    header: dict[str, dict[str, str]] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]


def test_what_no_worker_wrote_is_refused() -> None:
    a = np.zeros((2, 5), np.float32)
    without_scale = save({"unet.x.lora_A.weight": a, "unet.x.lora_B.weight": a.T.copy()}, metadata={"format": "x"})
    without_pair = save({"unet.x.lora_A.weight": a}, metadata={"scale": "1.0"})
    for data in (without_scale, without_pair, b"", b"no safetensors at all"):
        with pytest.raises(StorageError):
            export_adapter([Link(MERGE, data)], Export())
