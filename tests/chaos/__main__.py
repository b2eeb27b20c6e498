"""The long run: `python -m tests.chaos [seed] [jobs] [faults] [steps]`, by default as docs/reliability.md shows it."""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.harness import run
from tests.chaos.report import Plan

_SEED, _JOBS, _FAULTS, _STEPS = 20_261_125, 1_000, 208, 16


def main() -> int:
    """Run, print the table and every violation; the exit status is 1 if there is one."""
    given = [int(word) for word in sys.argv[1:]]
    seed, jobs, faults, steps = given + [_SEED, _JOBS, _FAULTS, _STEPS][len(given) :]
    plan = Plan(seed=seed, jobs=jobs, faults=faults, train_steps=steps)
    _say(str(asdict(plan)))
    with tempfile.TemporaryDirectory(prefix="palimpsest-chaos-") as folder:
        outcome = run(plan, Path(folder) / "home", _say)
    _say(outcome.table())
    for what, found in outcome.violations.items():
        for line in found:
            _say(f"{what}: {line}")
    return 0 if outcome.is_clean() else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
