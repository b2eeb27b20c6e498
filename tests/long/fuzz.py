"""Generated requests against every route of `/openapi.json`: `python -m tests.long.fuzz [examples per route] [seeds]`.

Schemathesis asks as an admin, so that every route answers, and mostly about things that are there. A server error, a
status that is not documented, or an answer that is not what its schema says fails the run. Each seed is a run of its
own, on a new database, and is told as soon as it ends: 6 alone if none is given.
"""

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from app.bootstrap import bootstrap
from app.db.session import make_engine
from app.stack.addresses import Addresses
from tests.integration.api.inputs import write_base_models
from tests.integration.api.state import Server
from tests.long.api_process import api, unhurried
from tests.schema_fuzz import FuzzRun, furnish, fuzz
from tests.services import fresh_settings, running_services

_SETS = 30


def main() -> None:
    """Start everything, fuzz with each seed, and exit with 1 if a run did not end well."""
    examples, *seeds = map(int, sys.argv[1:] or ["300"])
    answers: dict[str, Counter[int]] = {}
    failed = []
    with tempfile.TemporaryDirectory() as name, running_services(Path(name) / "stack") as addresses:
        for seed in seeds or [6]:
            run = _run(addresses, Path(name) / str(seed), examples, seed)
            print(run.told, flush=True)
            failed += [seed] if run.returncode else []
            for operation, counts in run.answers.items():
                answers.setdefault(operation, Counter()).update(counts)
    _tell(answers)
    sys.exit(f"failed with seeds {failed}" if failed else 0)


def _run(addresses: Addresses, folder: Path, examples: int, seed: int) -> FuzzRun:
    folder.mkdir()
    with ExitStack() as stack:
        settings = unhurried(stack.enter_context(fresh_settings(addresses, folder / "home")))
        settings = settings.model_copy(update={"base_models_dir": write_base_models(folder)})
        key = bootstrap(settings)
        assert key is not None
        assert settings.database_url is not None
        engine = make_engine(settings.database_url)
        stack.callback(engine.dispose)
        _, url = stack.enter_context(api(settings))
        server = Server(url, key, settings, engine)
        client = stack.enter_context(server.client(key))
        return fuzz(server, furnish(server, client, _SETS), folder, examples, "examples,coverage,fuzzing", seed)


def _tell(answers: dict[str, Counter[int]]) -> None:
    statuses = sorted({status for counts in answers.values() for status in counts})
    print(f"{'operation':64} cases" + "".join(f"{status:6}" for status in statuses))
    for operation, counts in sorted(answers.items()):
        print(f"{operation:64}{counts.total():6}" + "".join(f"{counts[status]:6}" for status in statuses))
    print(f"{len(answers)} operations, {sum(counts.total() for counts in answers.values()):,} cases")


if __name__ == "__main__":
    main()
