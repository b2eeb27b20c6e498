"""The public API, as far as the demo uses it."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

from demo.bodies import (
    BaseModels,
    Body,
    Concept,
    CreatedUser,
    Generation,
    Job,
    Lineage,
    Manifest,
    Strategies,
    Version,
)
from demo.errors import DemoError

B = TypeVar("B", bound=Body)

_TIMEOUT_SECONDS = 60.0
_CONNECTION_RETRIES = 5


class Client:
    """One user's view of a running Palimpsest."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT_SECONDS,
            # The supervisor restarts an API that crashed; a connection that it did not accept was not acted on.
            transport=httpx.HTTPTransport(retries=_CONNECTION_RETRIES),
            trust_env=False,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def create_user(self, name: str) -> CreatedUser:
        """A new user; for admins."""
        return self._send(CreatedUser, "POST", "/v1/users", json={"name": name})

    def delete_user(self, user_id: str) -> None:
        """Delete a user with all that is theirs; for admins."""
        self._answer("DELETE", f"/v1/users/{user_id}")

    def create_concept(self, name: str, kind: str, class_noun: str | None, images: Sequence[Path]) -> Concept:
        """Upload an image set."""
        fields = {"name": name, "kind": kind} | ({} if class_noun is None else {"class_noun": class_noun})
        with ExitStack() as opened:
            files = [("images", (path.name, opened.enter_context(path.open("rb")))) for path in images]
            return self._send(Concept, "POST", "/v1/concepts", data=fields, files=files)

    def create_lineage(self, name: str, base_model: str, strategy: str, training: Mapping[str, int]) -> Lineage:
        """An empty lineage: version 0 is the base."""
        body = {"name": name, "base_model": base_model, "strategy": {"name": strategy}, "training": training}
        return self._send(Lineage, "POST", "/v1/lineages", json=body)

    def manifest(self, base_model: str) -> Manifest:
        """What is known of a base model, by the name that a lineage has."""
        bases = self._send(BaseModels, "GET", "/v1/base-models").items
        return next(base.manifest for base in bases if base.name == base_model)

    def strategy_summary(self, name: str) -> str:
        """What a strategy does, in one sentence."""
        strategies = self._send(Strategies, "GET", "/v1/strategies").items
        return next(strategy.summary for strategy in strategies if strategy.name == name)

    def train(self, lineage_id: str, concept_id: str) -> Job:
        """Teach the lineage one more concept."""
        return self._send(Job, "POST", f"/v1/lineages/{lineage_id}/versions", json={"concept_id": concept_id})

    def version(self, lineage_id: str, number: int) -> Version:
        """One version."""
        return self._send(Version, "GET", f"/v1/lineages/{lineage_id}/versions/{number}")

    def generate(
        self, lineage_id: str, version: int, prompt: str, num_images: int, seed: int, width: int | None = None
    ) -> Job:
        """Draw pictures from a version, with the base model's own sampling options; in its own size but for `width`."""
        body: dict[str, Any] = {
            "lineage_id": lineage_id,
            "version": version,
            "prompt": prompt,
            "num_images": num_images,
            "seed": seed,
        } | ({} if width is None else {"width": width})
        return self._send(Job, "POST", "/v1/generations", json=body)

    def generation(self, generation_id: str) -> Generation:
        """One generation."""
        return self._send(Generation, "GET", f"/v1/generations/{generation_id}")

    def picture(self, image: Generation.Image) -> bytes:
        """A picture's PNG."""
        return self._answer("GET", image.url).content

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._send(Job, "GET", f"/v1/jobs/{job_id}")

    def _send(self, body: type[B], method: str, path: str, **content: Any) -> B:
        return body.model_validate_json(self._answer(method, path, **content).content)

    def _answer(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            raise DemoError(f"{method} {path}: {error}") from error
        if answer.is_error:
            raise DemoError(f"{method} {path} was answered {answer.status_code}: {_reason(answer)}")
        return answer


def _reason(answer: httpx.Response) -> str:
    """What the problem document (RFC 9457) says, or the beginning of whatever came instead."""
    try:
        problem = answer.json()
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return answer.text[:200]
