"""Generated requests against every route of `/openapi.json`, by schemathesis."""

import subprocess
import sys
from pathlib import Path

# No server error, no status or media type that is not documented, no body that is not as its schema says.
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def fuzz(url: str, key: str, folder: Path, examples: int, phases: str) -> subprocess.CompletedProcess[str]:
    """The run, whose exit status is 0 when nothing is wrong; `folder` takes what schemathesis leaves behind."""
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--checks", _CHECKS, "--max-examples", str(examples), "--phases", phases, "--request-timeout", "60"]
    quiet = ["--no-color", "--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"]
    # Event streams end with their job, which nobody runs here.
    fixed = ["--seed", "6", "--no-shrink", "--exclude-path-regex", "/events$"]
    header = ["--header", f"Authorization: Bearer {key}"]
    command = [str(program), "run", f"{url}/openapi.json", *header, *options, *quiet, *fixed]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def assert_nothing_wrong(run: subprocess.CompletedProcess[str]) -> None:
    """Fails with what schemathesis tells."""
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
