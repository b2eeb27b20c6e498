"""Every strategy on both families, over HTTP: three concepts in a lineage, and a picture from each version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.foreign_client import ForeignClient, Json
from tests.acceptance.own_stack import own_stack
from tests.tiny_sdxl import write_tiny_sdxl

_ICONS = Path(__file__).parents[2] / "base_models" / "icons-64"
_NAMES = ("dog", "ink", "bell")
_KINDS = ("object", "style", "object")
_TRAINING = {"rank": 2, "steps": 2, "batch_size": 1}
# What strategies draw before they train, as little of it as there may be.
_BRIEF_REPLAY = {"latents_per_concept": 1, "neutral_latents": 1, "sampling_steps": 1, "replay_batch_size": 1}
_BRIEFLY: dict[str, Json] = {
    "self_replay": _BRIEF_REPLAY,
    "by_kind": {"objects": {"name": "self_replay", **_BRIEF_REPLAY}},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignClient]:
    """A user with three concepts on a stack of its own, over the embedded base and a tiny SDXL."""
    folder = tmp_path_factory.mktemp("every-strategy")
    write_tiny_sdxl(folder / "bases" / "tiny-sdxl")
    (folder / "bases" / "icons-64").symlink_to(_ICONS)
    with own_stack(folder) as (_, user):
        yield user


@pytest.mark.parametrize("base_model", ["icons-64", "tiny-sdxl"])
def test_three_concepts_are_learned_and_drawn_under_every_strategy(client: ForeignClient, base_model: str) -> None:
    concepts = [
        client.concept(f"{name}-{base_model}", count=2, kind=kind) for name, kind in zip(_NAMES, _KINDS, strict=True)
    ]
    strategies = [item["name"] for item in client.call("GET", "/v1/strategies", 200).json()["items"]]
    assert len(strategies) == len(set(strategies)) >= 4
    lineages = {name: _lineage(client, base_model, name) for name in strategies}
    # All are queued before the first is waited for: a worker is never idle.
    jobs = {name: [client.train(lineage, concept) for concept in concepts] for name, lineage in lineages.items()}
    for name, trainings in jobs.items():
        done = [client.wait(job["id"], "succeeded") for job in trainings]
        assert [job["result"]["version"] for job in done] == [1, 2, 3], name
    drawings = {
        name: [_draw(client, lineage, number, base_model) for number in range(4)] for name, lineage in lineages.items()
    }
    for name, generations in drawings.items():
        for number, generation in enumerate(generations):
            client.wait(generation["id"], "succeeded")
            made = client.call("GET", f"/v1/generations/{generation['result']['generation_id']}", 200).json()
            assert (made["version"], len(made["images"])) == (number, 1), name


def _lineage(client: ForeignClient, base_model: str, name: str) -> str:
    strategy = {"name": name, **_BRIEFLY.get(name, {})}
    body = {"name": name, "base_model": base_model, "strategy": strategy, "training": _TRAINING}
    return str(client.call("POST", "/v1/lineages", 201, json=body).json()["id"])


def _draw(client: ForeignClient, lineage: str, number: int, base_model: str) -> Json:
    prompt = f"a photo of <{_NAMES[number - 1]}-{base_model}>" if number else "a photo of a toy"
    body = {"lineage_id": lineage, "version": number, "prompt": prompt, "num_images": 1, "steps": 1}
    job: Json = client.call("POST", "/v1/generations", 202, json=body).json()
    return job
