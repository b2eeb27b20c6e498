"""Generated requests against every route of `/openapi.json`, by schemathesis."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from tests import known_names
from tests.integration.api.belongings import own_everything
from tests.integration.api.state import Server

# No server error, no status or media type that is not documented, no body that is not as its schema says.
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_REPORT = "events.ndjson"
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class FuzzRun:
    """A run: whether nothing was wrong, what schemathesis told, and how often each operation answered what."""

    returncode: int
    told: str
    answers: dict[str, Counter[int]]


def furnish(server: Server, client: httpx.Client, sets: int) -> dict[str, list[str]]:
    """So many of everything that a user can own, and users; what may stand for each parameter."""
    owned = [asdict(own_everything(server, client, f"rex-{number}")) for number in range(sets)]
    names = {name: [names[name] for names in owned] for name in owned[0]}
    # Not the one who asks: they would soon have other quotas.
    users = [client.post("/v1/users", json={"name": f"user-{number}"}).json()["id"] for number in range(sets)]
    return {**names, "user_id": users}


def fuzz(
    server: Server, names: dict[str, list[str]], folder: Path, examples: int, phases: str, seed: int = 6
) -> FuzzRun:
    """Ask every route; `names` are what most requests name, and `folder` takes what schemathesis leaves behind."""
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--checks", _CHECKS, "--max-examples", str(examples), "--phases", phases, "--request-timeout", "60"]
    quiet = ["--no-color", "--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"]
    # Event streams end with their job, which nobody runs here.
    fixed = ["--seed", str(seed), "--no-shrink", "--exclude-path-regex", "/events$"]
    told = ["--header", f"Authorization: Bearer {server.admin_key}", "--report-ndjson-path", _REPORT]
    # A busy machine needs longer for it than schemathesis waits.
    (folder / "openapi.json").write_bytes(httpx.get(f"{server.url}/openapi.json", timeout=300).content)
    command = [str(program), "run", "openapi.json", "--url", server.url, *told, *options, *quiet, *fixed]
    hooks = {"SCHEMATHESIS_HOOKS": known_names.__name__, known_names.VARIABLE: json.dumps(names)}
    variables = {**os.environ, **hooks, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=folder, env=variables, check=False, capture_output=True, text=True)
    return FuzzRun(done.returncode, done.stdout + done.stderr, _answers(folder / _REPORT))


def _answers(report: Path) -> dict[str, Counter[int]]:
    answers: dict[str, Counter[int]] = {}
    for line in report.read_text().splitlines():
        scenario = json.loads(line).get("ScenarioFinished", {}).get("recorder")
        if scenario is not None:
            of_operation = answers.setdefault(scenario["label"], Counter())
            for interaction in scenario.get("interactions", {}).values():
                of_operation[interaction.get("response", {}).get("status_code", 0)] += 1
    return answers


def assert_nothing_wrong(run: FuzzRun) -> None:
    """Fails with what schemathesis tells."""
    assert run.returncode == 0, run.told[-10_000:]
