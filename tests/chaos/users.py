"""Users: they submit jobs over HTTP until each has had its share, and write down all that the API told them."""

import math
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.acceptance.foreign_client import drawing

_PAUSE_SECONDS = 0.25
_OUTSTANDING = 4
_CONCEPTS = 5
_TERMINAL = frozenset({"succeeded", "failed", "canceled"})
_TRYING_HELPS = frozenset({409, 429, 500, 502, 503, 504})


@dataclass
class Accepted:
    """A job that the API has accepted, and the statuses that it told, without repetitions."""

    kind: str
    statuses: list[str] = field(default_factory=list)

    def is_over(self) -> bool:
        """Whether a terminal status was told."""
        return bool(self.statuses) and self.statuses[-1] in _TERMINAL

    def note(self, status: str) -> None:
        """The API tells this status."""
        if not self.statuses or self.statuses[-1] != status:
            self.statuses.append(status)

    def changed(self) -> bool:
        """Whether a status followed a terminal one."""
        return any(status in _TERMINAL for status in self.statuses[:-1])


class User(threading.Thread):
    """One user with `share` jobs to submit; `accepted` by job id, `refused`: what should not have been.

    It submits what it is allowed to, in parts. Set `no_more` for it to submit nothing more and wait for what it has;
    `end` for it not even to wait.
    """

    def __init__(self, url: str, key: str, seed: int, share: int, train_steps: int) -> None:
        super().__init__(name=f"user-{seed}", daemon=True)
        self.accepted: dict[str, Accepted] = {}
        self.refused: list[str] = []
        self.allowed = 0
        self.no_more = threading.Event()
        self.end = threading.Event()
        self._rng = random.Random(seed)
        self._share = share
        self._train_steps = train_steps
        self._lineages: list[tuple[str, int]] = []
        self._concepts: list[str] = []
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def prepare(self) -> None:
        """Upload the concepts, before any fault."""
        self._concepts = [self._concept(number) for number in range(_CONCEPTS)]

    def run(self) -> None:
        """Submit and look, until all that was accepted is over."""
        try:
            while not self.end.is_set() and not self._is_done():
                if self._may_submit():
                    self._submit()
                self._look()
                self.end.wait(_PAUSE_SECONDS)
        except Exception as error:
            self.refused.append(f"{self.name}: {type(error).__name__}: {error}")

    def look_again(self) -> None:
        """Ask once more for every job; all are over by now."""
        for job_id, job in self.accepted.items():
            job.note(self._call("GET", f"/v1/jobs/{job_id}")["status"])

    def _is_done(self) -> bool:
        return not self._wants_more() and not self._outstanding()

    def _may_submit(self) -> bool:
        is_allowed = len(self.accepted) < self.allowed and len(self._outstanding()) < _OUTSTANDING
        return is_allowed and self._wants_more()

    def allow(self, part: float) -> None:
        """Let it submit that part of its share."""
        self.allowed = math.ceil(part * self._share)

    def _wants_more(self) -> bool:
        return len(self.accepted) < self._share and not self.no_more.is_set()

    def _outstanding(self) -> list[str]:
        return [job_id for job_id, job in self.accepted.items() if not job.is_over()]

    def _look(self) -> None:
        """At what is not over, and at one of those that are."""
        over = [job_id for job_id, job in self.accepted.items() if job.is_over()]
        for job_id in [*self._outstanding(), *self._rng.sample(over, min(1, len(over)))]:
            self.accepted[job_id].note(self._call("GET", f"/v1/jobs/{job_id}")["status"])

    def _submit(self) -> None:
        dice = self._rng.random()
        if not self._lineages or dice < 0.3:
            self._train()
        else:
            self._generate()
        if dice > 0.97:
            self._call("POST", f"/v1/jobs/{list(self.accepted)[-1]}/cancel")

    def _train(self) -> None:
        number = self._rng.randrange(len(self._lineages) + 1)
        if number == len(self._lineages) or self._lineages[number][1] == _CONCEPTS:
            number = len(self._lineages)
            training = {"rank": 2, "steps": self._train_steps, "batch_size": 1}
            body = {"name": f"line-{number}", "base_model": "tiny-sd", "strategy": {"name": "merge"}}
            self._lineages.append((self._call("POST", "/v1/lineages", json=body | {"training": training})["id"], 0))
        lineage, taught = self._lineages[number]
        self._lineages[number] = (lineage, taught + 1)
        job = self._call("POST", f"/v1/lineages/{lineage}/versions", json={"concept_id": self._concepts[taught]})
        self.accepted[job["id"]] = Accepted("train")

    def _generate(self) -> None:
        lineage, _ = self._rng.choice(self._lineages)
        body = {"lineage_id": lineage, "prompt": "a photo of a cup", "num_images": 1, "steps": 4, "seed": 3}
        self.accepted[self._call("POST", "/v1/generations", json=body)["id"]] = Accepted("generate")

    def _concept(self, number: int) -> str:
        files = [("images", ("a.png", drawing(50 * number, 20), "image/png"))]
        form = {"name": f"thing-{number}", "kind": "object", "class_noun": "toy"}
        return str(self._call("POST", "/v1/concepts", data=form, files=files)["id"])

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Until it is answered: a POST is sent again under the same key, so that it acts once."""
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" and not path.endswith("/cancel") else {}
        while True:
            try:
                response = self._http.request(method, path, headers=headers, **options)
            except httpx.TransportError:
                response = None
            if response is not None and response.is_success:
                answer: dict[str, Any] = response.json()
                return answer
            if response is not None and path.endswith("/cancel") and response.status_code == 409:
                return {}
            if response is not None and response.status_code not in _TRYING_HELPS:
                raise AssertionError(f"{method} {path}: {response.status_code} {response.text}")
            time.sleep(_PAUSE_SECONDS)
