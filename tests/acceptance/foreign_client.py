"""A client written from the HTTP surface of the design alone: httpx, and nothing of ours but the patience."""

import io
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image, ImageDraw

from app.stack.waiting import becomes_true

PATIENCE_SECONDS = 300.0
ENDED = ("succeeded", "failed", "canceled")

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

    def concept(self, name: str, count: int = 3, kind: str = "object") -> str:
        """Upload a concept of drawings, a toy or a style; its id."""
        hue = sum(name.encode())
        files = [("images", (f"{n}.png", drawing(hue, 8 * n + 2), "image/png")) for n in range(count)]
        form = {"name": name, "kind": kind} | ({"class_noun": "toy"} if kind == "object" else {})
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

    def wait(self, job_id: str, *statuses: str) -> Json:
        """Poll until the job has one of these statuses."""
        return self._poll(job_id, lambda job: job["status"] in statuses)

    def wait_for_step(self, job_id: str, step: int) -> Json:
        """Poll until the job has done that many steps."""
        return self._poll(job_id, lambda job: job["progress"]["step"] >= step)

    def _poll(self, job_id: str, is_there: Callable[[Json], bool]) -> Json:
        """Poll until the job is there, or has ended without ever being it."""
        jobs: list[Json] = []

        def settled() -> bool:
            jobs.append(self.job(job_id))
            return is_there(jobs[-1]) or jobs[-1]["status"] in ENDED

        becomes_true(settled, PATIENCE_SECONDS)
        assert is_there(jobs[-1]), jobs[-1]
        return jobs[-1]

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
