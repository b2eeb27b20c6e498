"""`python -m benchmarks.evaluation_time`: how long an evaluation takes through the API, on the embedded base.

A lineage of four versions at the base's own (reduced) sizes, then one version more, then the last once again with
nothing left to draw. On a stack of its own; writes the figures and `times.json` into the output folder. Beside the
wall time stands the processor time of all the stack's processes, which says what a busy machine has added.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import psutil
import typer

from demo.samples import Sample, load_samples
from demo.stack import running_stack

_SAMPLES = ("my-lion", "my-rocket", "my-guitar", "ink-drawing", "my-duck")
_VERSIONS = 4
_POLL_SECONDS = 0.5
_FIGURES = ("heatmap.png", "curve.png", "curve.svg", "sheet.png", "sheet.svg")


@dataclass(frozen=True)
class Timing:
    """One evaluation: by the client's clock, from the POST to the end of the job.

    `cpu_seconds`: of one core, by all of the stack's processes together.
    """

    versions: int
    seconds: float
    cpu_seconds: float
    pictures_drawn: int
    pictures_reused: int


@dataclass(frozen=True)
class Api:
    """The few calls that this needs."""

    http: httpx.Client

    def call(self, method: str, path: str, **content: Any) -> Any:
        """The JSON of the answer."""
        answer = self.http.request(method, path, **content)
        answer.raise_for_status()
        return answer.json()

    def concept(self, sample: Sample) -> str:
        """Uploads it; its id."""
        fields = {"name": sample.name, "kind": sample.kind}
        if sample.class_noun is not None:
            fields["class_noun"] = sample.class_noun
        files = [("images", (path.name, path.read_bytes())) for path in sample.images]
        return str(self.call("POST", "/v1/concepts", data=fields, files=files)["id"])

    def wait(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job, once it has ended well."""
        while job["status"] in ("queued", "running"):
            time.sleep(_POLL_SECONDS)
            job = self.call("GET", f"/v1/jobs/{job['id']}")
        if job["status"] != "succeeded":
            raise SystemExit(f"a job has {job['status']}: {job['error']}")
        return job

    def teach(self, lineage: str, sample: Sample) -> None:
        """Trains a version."""
        body = {"concept_id": self.concept(sample)}
        self.wait(self.call("POST", f"/v1/lineages/{lineage}/versions", json=body))

    def evaluate(self, lineage: str, versions: int) -> tuple[Timing, str]:
        """How long it takes, and the evaluation's path."""
        started_at, used = time.monotonic(), _cpu_seconds()
        job = self.wait(self.call("POST", f"/v1/lineages/{lineage}/evaluations", json={}))
        seconds, cpu_seconds = round(time.monotonic() - started_at, 1), round(_cpu_seconds() - used, 1)
        path = f"/v1/evaluations/{job['result']['evaluation_id']}"
        result = self.call("GET", path)["result"]
        return Timing(versions, seconds, cpu_seconds, result["pictures_drawn"], result["pictures_reused"]), path


def _cpu_seconds() -> float:
    """What the stack's processes, all begun by this one, have used so far."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return float(sum(used.user + used.system for used in times))


def main(
    output: Annotated[Path, typer.Option(help="Figures and times go there.")] = Path("evaluation-time"),
    steps: Annotated[int, typer.Option(help="Optimizer steps of each training; evaluating costs the same.")] = 100,
) -> None:
    """Measure, print, and keep the figures."""
    output.mkdir(parents=True, exist_ok=True)
    samples = load_samples(_SAMPLES)
    with TemporaryDirectory() as home, running_stack(Path(home)) as stack:
        headers = {"Authorization": f"Bearer {stack.admin_key}"}
        with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as http:
            times = _measure(Api(http), samples, steps, output)
    (output / "times.json").write_text(json.dumps([asdict(timing) for timing in times], indent=2) + "\n")


def _measure(api: Api, samples: tuple[Sample, ...], steps: int, output: Path) -> list[Timing]:
    body = {
        "name": "timed",
        "base_model": "icons-64",
        "strategy": {"name": "merge"},
        "training": {"steps": steps},
    }
    lineage = api.call("POST", "/v1/lineages", json=body)["id"]
    for sample in samples[:_VERSIONS]:
        api.teach(lineage, sample)
    times = [_told(api.evaluate(lineage, _VERSIONS))]
    api.teach(lineage, samples[_VERSIONS])
    times.append(_told(api.evaluate(lineage, _VERSIONS + 1)))
    timing, path = api.evaluate(lineage, _VERSIONS + 1)
    times.append(_told((timing, path)))
    for name in _FIGURES:
        (output / name).write_bytes(api.http.get(f"{path}/{name}").content)
    (output / "evaluation.json").write_text(json.dumps(api.call("GET", path), indent=2) + "\n")
    return times


def _told(measured: tuple[Timing, str]) -> Timing:
    timing = measured[0]
    print(
        f"{timing.versions} versions: {timing.seconds:.1f} s, {timing.cpu_seconds:.1f} s of one core"
        f" ({timing.pictures_drawn} pictures drawn, {timing.pictures_reused} reused)",
        flush=True,
    )
    return timing


if __name__ == "__main__":
    typer.run(main)
