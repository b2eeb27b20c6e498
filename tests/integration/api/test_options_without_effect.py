"""An option that would be accepted and change nothing is refused, by its name, wherever it can be given."""

import httpx
import pytest

from app.domain.seeds import MAX_SEED
from tests.integration.api.inputs import BASE, new_concept, new_lineage

CONSTANT_WARMUP: dict[str, object] = {"lr_warmup_steps": 5}
NO_FALL: dict[str, object] = {"lr_scheduler": "cosine_with_restarts", "lr_cycles": 2000}


def fields(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json()["errors"]]


def lineage_with(client: httpx.Client, **more: object) -> httpx.Response:
    return client.post("/v1/lineages", json={"name": "a lineage", "base_model": BASE, **more})


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"training": CONSTANT_WARMUP}, "training.lr_warmup_steps"),
        ({"training": NO_FALL}, "training.lr_cycles"),
        ({"strategy": {"name": "c_lora", "lam": 0}}, "strategy.lam"),
        ({"strategy": {"name": "ewc", "lam": 1e-9}}, "strategy.lam"),
        ({"strategy": {"name": "self_replay", "lam": 0, "mu": 0}}, "strategy.lam"),
        ({"strategy": {"name": "self_replay", "lam": 0, "latents_per_concept": 9}}, "strategy.latents_per_concept"),
        ({"strategy": {"name": "by_kind", "styles": {"name": "c_lora", "lam": 0}}}, "strategy.styles.lam"),
        ({"evaluation": {"options": {"steps": 3}}}, "evaluation.options"),
        ({"evaluation": {"gate": {"metric": "score", "max_loss": 2}}}, "evaluation.gate.max_loss"),
        (
            {"evaluation": {"after_training": True, "options": {"guidance_scale": 0.5}}},
            "evaluation.options.guidance_scale",
        ),
        (
            {"evaluation": {"after_training": True, "options": {"style_prompts": ["{concept} image"] * 2}}},
            "evaluation.options.style_prompts",
        ),
    ],
)
def test_a_lineage(client: httpx.Client, more: dict[str, object], field: str) -> None:
    assert fields(lineage_with(client, **more)) == [field]
    lineage = new_lineage(client)
    if "evaluation" in more:
        assert fields(client.patch(f"/v1/lineages/{lineage}", json=more)) == [field]
        return
    branch = {"name": "a branch", "from_version": 0, **more}
    assert fields(client.post(f"/v1/lineages/{lineage}/branches", json=branch)) == [field]


def test_every_fault_of_a_body_is_listed(client: httpx.Client) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    training = {"lr_warmup_steps": 5, "alpha": 1e-9, "adapted_modules": ["to_q", "to_q"]}
    answer = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept, "training": training})
    assert fields(answer) == ["training.alpha", "training.adapted_modules", "training.lr_warmup_steps"]
    assert "constant_with_warmup" in answer.json()["detail"]
    # What a version inherits counts with what it overrides.
    warm = lineage_with(client, training={"lr_scheduler": "linear", "lr_warmup_steps": 10}).json()["id"]
    answer = client.post(f"/v1/lineages/{warm}/versions", json={"concept_id": concept, "training": {"steps": 10}})
    assert fields(answer) == ["training.lr_warmup_steps"]


def test_a_generation(client: httpx.Client) -> None:
    asked: dict[str, object] = {"lineage_id": new_lineage(client), "prompt": "a cat"}
    refused: dict[str, dict[str, object]] = {
        "negative_prompt": {"guidance_scale": 1, "negative_prompt": "blurry"},
        "seed": {"seed": MAX_SEED, "num_images": 2},
        "guidance_scale": {"guidance_scale": 0.5},
    }
    for field, more in refused.items():
        assert fields(client.post("/v1/generations", json={**asked, **more})) == [field]
    assert client.post("/v1/generations", json={**asked, "seed": MAX_SEED}).status_code == 202
    assert client.post("/v1/generations", json={**asked, "guidance_scale": 1}).status_code == 202


def test_a_base_model(admin: httpx.Client) -> None:
    manifest = {"name": "odd", "family": "sd", "resolution": 64, "rare_tokens": ["zvx"]}
    refused: tuple[tuple[dict[str, object], str], ...] = (
        ({"default_guidance_scale": 0.0}, "manifest.default_guidance_scale"),
        ({"evaluation": {"guidance_scale": 0.5}}, "manifest.evaluation.guidance_scale"),
        ({"rare_tokens": ["zvx", "zvx"]}, "manifest.rare_tokens"),
        ({"training_defaults": CONSTANT_WARMUP}, "training.lr_warmup_steps"),
    )
    for more, field in refused:
        answer = admin.post("/v1/base-models", json={"source": "/nowhere", "manifest": {**manifest, **more}})
        assert fields(answer) == [field]
