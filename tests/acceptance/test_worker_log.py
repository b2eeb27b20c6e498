"""Prompts and class nouns go through a whole stack, whose output has none of them: a worker's, and everybody else's."""

from collections.abc import Iterator

import pytest

from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.own_stack import own_stack
from tests.acceptance.up import Up
from tests.integration.worker.world import picture
from tests.tiny_pipelines import write_tiny_sd

PLANTED = ("xylophania", "quetzalnoun", "vermilionish", "plumbagoname")
# Far longer than what a text encoder reads at once, for all that a library may say of what it cuts.
LONG = f"<plumbagoname> of {PLANTED[0]} " + "and a red cup " * 60 + PLANTED[0]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Up, ForeignClient]]:
    folder = tmp_path_factory.mktemp("worker-log")
    write_tiny_sd(folder / "bases" / "tiny-sd")
    with own_stack(folder) as running:
        yield running


def test_no_output_repeats_a_prompt_or_a_class_noun(stack: tuple[Up, ForeignClient]) -> None:
    up, client = stack
    files = [("images", (f"{n}.png", picture(n), "image/png")) for n in range(2)]
    fields = {"name": "plumbagoname", "kind": "object", "class_noun": " ".join([PLANTED[1]] * 5)}
    concept = client.call("POST", "/v1/concepts", 201, data=fields, files=files).json()["id"]
    # Replay draws latents for the concepts' prompts, and encodes neutral ones beside them.
    strategy = {"name": "self_replay", "latents_per_concept": 1, "neutral_latents": 1, "sampling_steps": 1}
    lineage = client.call(
        "POST",
        "/v1/lineages",
        201,
        json={"name": "line", "base_model": "tiny-sd", "strategy": strategy, "training": {"steps": 2}},
    ).json()["id"]
    client.learn(lineage, concept)
    drawing = {"lineage_id": lineage, "prompt": LONG, "negative_prompt": f"{PLANTED[2]} " * 80, "steps": 1}
    client.wait(client.call("POST", "/v1/generations", 202, json=drawing).json()["id"], "succeeded")
    evaluation = {"options": {"steps": 1, "object_prompts": [f"{PLANTED[2]} {{concept}} " + "a cup " * 40]}}
    job = client.call("POST", f"/v1/lineages/{lineage}/evaluations", 202, json=evaluation).json()
    client.wait(job["id"], "succeeded")

    outputs = [up.log, *(up.home / "logs").rglob("*")]
    texts = {path: path.read_text(errors="replace") for path in outputs if path.is_file()}
    assert any("worker" in path.name and "succeeded" in text for path, text in texts.items())
    ours = {path: text for path, text in texts.items() if "postgres" not in path.name}
    found = [(path.name, word) for path, text in ours.items() for word in PLANTED if word in text]
    assert found == []
