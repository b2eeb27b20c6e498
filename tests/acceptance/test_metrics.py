"""What every process of a real `up` tells Prometheus after real work; and the board and the alerts ask for that."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from app.stack.ports import free_port, is_free
from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.own_stack import own_stack
from tests.acceptance.up import eventually
from tests.tiny_pipelines import write_tiny_sd

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PROCESSES = ("api", "sweeper", "worker")
SERVERS = {"http_server_request_duration_seconds"}

# The names of the design. What is not built yet has no metric: event_streams, webhook_deliveries_total,
# oldest_undelivered_webhook_seconds, trainings_together, rows_per_batch.
NAMES = {
    "upload_rejections_total",
    "refusals_total",
    "wakeups_total",
    "dependency_up",
    "db_pool_connections",
    "jobs",
    "claimable_jobs",
    "oldest_claimable_seconds",
    "workers",
    "leases_expired_total",
    "last_sweep_timestamp_seconds",
    "strays_removed_total",
    "oldest_open_deletion_seconds",
    "stored_bytes",
    "jobs_finished_total",
    "job_wait_seconds",
    "job_run_seconds",
    "training_step_seconds",
    "training_steps_repeated_total",
    "picture_seconds",
    "base_load_seconds",
    "update_cache_total",
    "s3_request_seconds",
    "lease_margin_seconds",
    "leases_lost_total",
    "hangs_total",
    "gpu_memory_bytes",
    "gate_verdicts_total",
    "self_retention",
    "reproductions_total",
    "build_info",
}
LABELS = {
    *("method", "route", "status", "reason", "limit", "queue", "result", "service", "state", "kind", "base_model"),
    *("error", "strategy", "source", "operation", "verdict", "same", "version", "le"),
}
# Without their rows or their hardware these have no labels yet.
UNSEEN = {
    "palimpsest_gpu_memory_bytes",
    "palimpsest_leases_expired_total",
    # A model this small learns too little for a share of it to be measured.
    "palimpsest_self_retention_bucket",
}
# Prometheus's own.
OF_TARGETS = {"instance", "job"}

Seen = dict[str, set[str]]


def three_ports() -> int:
    """The first of three free ports in a row."""
    while True:
        first = free_port()
        if all(is_free(port) for port in range(first, first + 3)):
            return first


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What each process tells once there was something of everything."""
    folder, first = tmp_path_factory.mktemp("metrics"), three_ports()
    write_tiny_sd(folder / "bases" / "tiny-sd")
    more = {
        "PALIMPSEST_METRICS_PORT": str(first),
        "PALIMPSEST_HEARTBEAT_SECONDS": "0.05",
        "PALIMPSEST_COUNT_BYTES_INTERVAL_SECONDS": "0",
        "PALIMPSEST_QUOTAS": '{"lineages": 2}',
    }
    with own_stack(folder, **more) as (_, client):
        work(client)
        texts = dict.fromkeys(PROCESSES, "")

        def are_told() -> bool:
            for number, name in enumerate(PROCESSES):
                texts[name] = httpx.get(f"http://127.0.0.1:{first + number}/metrics").text
            counted = 'palimpsest_jobs{kind="train",status="queued"} 0.0' in texts["sweeper"]
            return counted and 'palimpsest_stored_bytes{kind="adapters"}' in texts["sweeper"]

        eventually(are_told)
        yield texts


def work(client: ForeignClient) -> None:
    """Something of everything: a training under a gate, an evaluation, pictures, refusals, paths that are none."""
    first = client.concept("dog")
    lineage = client.lineage("merge", rank=2, steps=60, batch_size=1)
    client.learn(lineage, first)
    cheap = {"samples_per_prompt": 1, "steps": 2, "object_prompts": ["a photo of {concept}"]}
    policy = {"gate": {"metric": "score", "max_loss": 1.99}, "options": cheap}
    client.call("PATCH", f"/v1/lineages/{lineage}", 200, json={"evaluation": policy})
    client.learn(lineage, client.concept("vase"))
    client.pictures(lineage, 1, "a photo of <dog>")
    again = client.call("POST", f"/v1/lineages/{lineage}/versions/1/reproduce", 202)
    client.wait(again.json()["id"], "succeeded")
    client.lineage("naive", rank=2)
    body = {"name": "one more", "base_model": "tiny-sd"}
    client.call("POST", "/v1/lineages", 429, json=body)
    bad = [("images", ("no.png", b"no picture", "image/png"))]
    client.call("POST", "/v1/concepts", 422, data={"name": "bad", "kind": "style"}, files=bad)
    client.call("GET", "/v1/secret-of-somebody", 404)


def names_and_labels(text: str) -> Seen:
    """Each sample's name with its labels; of a metric without a sample its name alone."""
    seen: Seen = {}
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        for suffix in suffixes:
            seen.setdefault(family.name + suffix, set())
        for sample in family.samples:
            seen.setdefault(sample.name, set()).update(sample.labels)
    return seen


def everything(told: dict[str, str]) -> Seen:
    seen: Seen = {}
    for text in told.values():
        for name, labels in names_and_labels(text).items():
            seen.setdefault(name, set()).update(labels)
    return seen


def test_the_names_are_those_of_the_design(told: dict[str, str]) -> None:
    families = {
        re.sub(r"_(bucket|count|sum|created)$", "", name) for name in everything(told) if not name.endswith("_created")
    }
    ours = {name for name in families if not name.startswith(("python_", "process_"))}
    assert ours == {f"palimpsest_{name}" for name in NAMES} | SERVERS


def test_no_label_is_a_user_s_and_every_route_is_a_template(told: dict[str, str]) -> None:
    for text in told.values():
        for family in text_string_to_metric_families(text):
            if family.name.startswith(("python_", "process_")):
                continue
            for sample in family.samples:
                assert set(sample.labels) <= LABELS
                for value in sample.labels.values():
                    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", value), sample
                    assert "secret-of-somebody" not in value
    routes = set(re.findall(r'route="([^"]+)"', told["api"]))
    assert {"unmatched", "/v1/jobs/{job_id}", "/v1/lineages/{lineage_id}/versions"} <= routes


def test_only_the_sweeper_counts_rows(told: dict[str, str]) -> None:
    for name in ("jobs", "claimable_jobs", "stored_bytes", "workers", "oldest_open_deletion_seconds"):
        assert f"palimpsest_{name}" in names_and_labels(told["sweeper"])
        assert f"palimpsest_{name}" not in names_and_labels(told["api"])
        assert f"palimpsest_{name}" not in names_and_labels(told["worker"])


@pytest.mark.parametrize(
    "sample",
    [
        ("api", r'palimpsest_refusals_total\{limit="lineages"\} 1\.0'),
        ("api", r'palimpsest_upload_rejections_total\{reason="invalid-image"\} 1\.0'),
        ("api", r'palimpsest_dependency_up\{service="storage"\} 1\.0'),
        ("api", r'palimpsest_wakeups_total\{queue="train",result="sent"\} [1-9]'),
        ("worker", r'palimpsest_jobs_finished_total\{error="",kind="train",status="succeeded"\} 2\.0'),
        ("worker", r'palimpsest_job_wait_seconds_count\{kind="generate"\} 1\.0'),
        ("worker", r'palimpsest_training_step_seconds_count\{base_model="tiny-sd",strategy="merge"\} [1-9]'),
        ("worker", r'palimpsest_picture_seconds_count\{base_model="tiny-sd"\} 2\.0'),
        ("worker", r"palimpsest_base_load_seconds_count 1\.0"),
        ("worker", r"palimpsest_lease_margin_seconds_count [1-9]"),
        ("worker", r'palimpsest_gate_verdicts_total\{strategy="merge",verdict="passed"\} 1\.0'),
        ("worker", r'palimpsest_reproductions_total\{same="yes"\} 1\.0'),
        ("worker", r'palimpsest_s3_request_seconds_count\{operation="get",result="ok"\} [1-9]'),
        ("sweeper", r'palimpsest_stored_bytes\{kind="adapters"\} [1-9]'),
        ("sweeper", r"palimpsest_last_sweep_timestamp_seconds [1-9]"),
    ],
)
def test_what_was_done_was_counted(told: dict[str, str], sample: tuple[str, str]) -> None:
    process, pattern = sample
    assert re.search(f"^{pattern}", told[process], re.MULTILINE), pattern


def expressions() -> dict[str, str]:
    """Every expression of the board and of the alerts, by where it stands."""
    board: dict[str, Any] = json.loads((DEPLOY / "grafana" / "palimpsest.json").read_text(encoding="utf-8"))
    alerts: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", [])
    }
    return found | {rule["alert"]: rule["expr"] for group in alerts["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("place", expressions())
def test_the_board_and_the_alerts_ask_for_what_is_told(told: dict[str, str], place: str) -> None:
    expression, seen = expressions()[place], everything(told)
    asked = re.findall(r"\b((?:palimpsest|http)_\w+)(?:\{([^}]*)\})?", expression)
    assert asked, "no metric"
    for name, selector in asked:
        assert name in seen, name
        if name not in UNSEEN:
            assert set(re.findall(r"(\w+)\s*=", selector)) <= seen[name], (name, selector)
    grouped = {word.strip() for words in re.findall(r"\bby \(([^)]*)\)", expression) for word in words.split(",")}
    of_asked = set().union(*(seen[name] for name, _ in asked)) | OF_TARGETS
    if not {name for name, _ in asked} & UNSEEN:
        assert grouped <= of_asked, grouped - of_asked


def test_every_metric_is_on_the_board_or_in_an_alert(told: dict[str, str]) -> None:
    together = " ".join(expressions().values())
    for name in NAMES:
        assert f"palimpsest_{name}" in together, name


def test_a_threshold_within_a_histogram_is_one_of_its_buckets(told: dict[str, str]) -> None:
    buckets = set(re.findall(r'palimpsest_job_wait_seconds_bucket\{kind="generate",le="([^"]+)"\}', told["worker"]))
    assert set(re.findall(r'le="([^"]+)"', " ".join(expressions().values()))) <= buckets
