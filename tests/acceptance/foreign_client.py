"""A client written from the HTTP surface of the design alone: httpx, and nothing of ours."""

import io
import time
from typing import Any

import httpx
from PIL import Image, ImageDraw

PATIENCE_SECONDS = 180.0
POLL_SECONDS = 0.1

Json = dict[str, Any]


def drawing(hue: int, corner: int) -> bytes:
    """A PNG that somebody may have drawn."""
    image = Image.new("RGB", (96, 96), (hue % 256, 200, 90))
    ImageDraw.Draw(image).ellipse((corner, corner, corner + 48, corner + 40), fill=(30, hue * 7 % 256, 120))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


class ForeignClient:
    """One user of the service."""

    def __init__(self, url: str, key: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def call(self, method: str, path: str, expect: int, **options: Any) -> httpx.Response:
        """One request, whose status must be the one that the design promises."""
        response = self.http.request(method, path, **options)
        assert response.status_code == expect, response.text
        return response

    def concept(self, name: str, count: int = 3) -> str:
        """Upload a concept of drawings; its id."""
        hue = sum(name.encode())
        files = [("images", (f"{n}.png", drawing(hue, 8 * n + 2), "image/png")) for n in range(count)]
        form = {"name": name, "kind": "object", "class_noun": "toy"}
        return str(self.call("POST", "/v1/concepts", 201, data=form, files=files).json()["id"])

    def lineage(self, strategy: str, **training: float) -> str:
        """A lineage over the tiny base; its id."""
        body = {"name": strategy, "base_model": "tiny-sd", "strategy": {"name": strategy}, "training": training}
        return str(self.call("POST", "/v1/lineages", 201, json=body).json()["id"])

    def train(self, lineage: str, concept: str) -> Json:
        """Queue the training of a concept; the job."""
        response = self.call("POST", f"/v1/lineages/{lineage}/versions", 202, json={"concept_id": concept})
        job: Json = response.json()
        assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
        return job

    def job(self, job_id: str) -> Json:
        """The job as it is now."""
        job: Json = self.call("GET", f"/v1/jobs/{job_id}", 200).json()
        return job

    def learn(self, lineage: str, concept: str) -> int:
        """Train a concept to the end; the number of the version."""
        return int(self.wait(self.train(lineage, concept)["id"], "succeeded")["result"]["version"])

    def wait(self, job_id: str, *statuses: str, patience_seconds: float = PATIENCE_SECONDS) -> Json:
        """Poll until the job has one of these statuses."""
        deadline = time.monotonic() + patience_seconds
        while (job := self.job(job_id))["status"] not in statuses:
            assert job["status"] not in ("failed", "canceled"), job
            assert time.monotonic() < deadline, job
            time.sleep(POLL_SECONDS)
        return job

    def wait_for_step(self, job_id: str, step: int) -> Json:
        """Poll until the job has done that many steps."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (job := self.job(job_id))["progress"]["step"] < step:
            assert job["status"] in ("queued", "running"), job
            assert time.monotonic() < deadline, job
            time.sleep(POLL_SECONDS)
        return job

    def pictures(self, lineage: str, version: int, prompt: str, seed: int = 5) -> list[bytes]:
        """Generate two pictures and download them."""
        body = {
            "lineage_id": lineage,
            "version": version,
            "prompt": prompt,
            "num_images": 2,
            "seed": seed,
            "steps": 4,
            "guidance_scale": 2.0,
        }
        job = self.call("POST", "/v1/generations", 202, json=body).json()
        generation = job["result"]["generation_id"]
        self.wait(job["id"], "succeeded")
        return [self.call("GET", f"/v1/generations/{generation}/images/{n}", 200).content for n in range(2)]

    def version(self, lineage: str, number: int) -> Json:
        """A version's body."""
        version: Json = self.call("GET", f"/v1/lineages/{lineage}/versions/{number}", 200).json()
        return version
