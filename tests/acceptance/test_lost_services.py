"""Parts of the stack die; nothing is lost. Real processes and real kills."""

import os
import signal
from pathlib import Path

from tests.acceptance.own_stack import admin_of
from tests.acceptance.up import running
from tests.tiny_pipelines import write_tiny_sd

TRAINING = {"rank": 2, "steps": 300, "batch_size": 1}


def variables(folder: Path, **more: str) -> dict[str, str]:
    write_tiny_sd(folder / "bases" / "tiny-sd")
    # One thread: a second one only waits for the first in matrices this small.
    own = {"PALIMPSEST_CHECKPOINT_INTERVAL_SECONDS": "1", "PALIMPSEST_TORCH_THREADS": "1"}
    return {"PALIMPSEST_BASE_MODELS_DIR": str(folder / "bases")} | own | more


def test_a_killed_worker_s_job_goes_on_in_another_to_the_same_adapter(tmp_path: Path) -> None:
    # A shorter lease than the default: less to wait for.
    hasty = variables(tmp_path, PALIMPSEST_HEARTBEAT_SECONDS="0.1", PALIMPSEST_LEASE_SECONDS="10")
    with running(tmp_path / "home", variables=hasty) as up:
        client = admin_of(up)
        concept = client.concept("dog")
        undisturbed, disturbed = (client.lineage("merge", **TRAINING) for _ in range(2))
        client.wait(client.train(undisturbed, concept)["id"], "succeeded")

        job = client.train(disturbed, concept)
        seen = client.wait_for_step(job["id"], 50)
        assert seen["status"] == "running", "it ended before anything could be killed"
        killed = up.pids()["worker"]
        os.kill(killed, signal.SIGKILL)
        client.wait(job["id"], "succeeded")

        assert up.pids()["worker"] != killed
        assert client.job(job["id"])["attempt"] == 2
        shas = {client.version(lineage, 1)["adapter"]["sha256"] for lineage in (undisturbed, disturbed)}
        assert len(shas) == 1


def test_a_worker_that_is_told_to_stop_hands_its_job_back(tmp_path: Path) -> None:
    """With a lease of an hour, nothing but a hand-back lets another worker have the job."""
    patient = variables(tmp_path, PALIMPSEST_HEARTBEAT_SECONDS="0.1", PALIMPSEST_LEASE_SECONDS="3600")
    with running(tmp_path / "home", variables=patient) as up:
        client = admin_of(up)
        lineage = client.lineage("merge", **TRAINING)
        job = client.train(lineage, client.concept("dog"))
        client.wait_for_step(job["id"], 20)
        os.kill(up.pids()["worker"], signal.SIGTERM)
        assert client.wait(job["id"], "succeeded")["attempt"] == 2


def test_with_the_broker_down_a_post_is_accepted_and_the_job_runs_once_it_is_back(tmp_path: Path) -> None:
    with running(tmp_path / "home", variables=variables(tmp_path, PALIMPSEST_REWAKE_AFTER_SECONDS="1")) as up:
        client = admin_of(up)
        lineage = client.lineage("merge", rank=2, steps=2, batch_size=1)
        first = client.concept("dog")
        client.wait(client.train(lineage, first)["id"], "succeeded")
        redis = up.pids()["redis"]
        os.kill(redis, signal.SIGSTOP)
        try:
            job = client.train(lineage, client.concept("vase"))
            assert job["status"] == "queued"
        finally:
            os.kill(redis, signal.SIGKILL)
        client.wait(job["id"], "succeeded")
