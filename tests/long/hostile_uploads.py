"""What the corpus of hostile uploads costs the API: `python -m tests.long.hostile_uploads`.

The API is a process of its own on real services. For each upload: how far its resident memory rose above where it
stood before the first (the kernel's own high-water mark, which misses nothing), the seconds until the answer, and the
processor seconds of the API, which a busy machine does not stretch.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from app.bootstrap import bootstrap
from tests.hostile_uploads import Hostile, corpus
from tests.long.api_process import api
from tests.services import fresh_settings, running_services

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Cost:
    """What one upload cost."""

    name: str
    status: int
    peak_mib: float
    seconds: float
    cpu_seconds: float


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def _forget_peak(process: psutil.Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _upload(client: httpx.Client, case: Hostile, name: str) -> httpx.Response:
    parts = [("images", (case.filename, case.data, "image/png"))]
    return client.post("/v1/concepts", data={"name": name, "kind": "style"}, files=parts)


def measure(process: psutil.Process, client: httpx.Client, cases: list[Hostile]) -> list[Cost]:
    """The cost of each upload, one after another."""
    plain = next(case for case in cases if case.name == "a 16-bit RGB PNG")
    _upload(client, plain, "warm-up")
    quiet = process.memory_info().rss
    costs = []
    for number, case in enumerate(cases):
        _forget_peak(process)
        cpu, started = sum(process.cpu_times()[:2]), time.perf_counter()
        answer = _upload(client, case, f"case-{number}")
        seconds = time.perf_counter() - started
        used = sum(process.cpu_times()[:2]) - cpu
        costs.append(Cost(case.name, answer.status_code, (_peak_bytes(process) - quiet) / _MIB, seconds, used))
    return costs


def main() -> None:
    """Measure and print."""
    cases = corpus()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with running_services(home / "stack") as addresses, fresh_settings(addresses, home / "home") as settings:
            key = bootstrap(settings)
            headers = {"Authorization": f"Bearer {key}"}
            with api(settings) as (process, url), httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                costs = measure(process, client, cases)
    print(f"{'upload':60} status   MiB  seconds  CPU s")
    for cost in sorted(costs, key=lambda cost: -cost.peak_mib):
        print(f"{cost.name:60} {cost.status:6} {cost.peak_mib:5.0f} {cost.seconds:8.2f} {cost.cpu_seconds:6.2f}")
    worst_mib, worst_seconds = max(cost.peak_mib for cost in costs), max(cost.seconds for cost in costs)
    worst_cpu = max(cost.cpu_seconds for cost in costs)
    print(
        f"{len(costs)} uploads; the worst: {worst_mib:.0f} MiB, {worst_seconds:.2f} s, {worst_cpu:.2f} s of processor"
    )


if __name__ == "__main__":
    main()
