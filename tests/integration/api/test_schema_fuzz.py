"""A short run of generated requests against every route; `make fuzz` is the long one."""

from pathlib import Path

from app.main import create_app
from app.settings import Settings
from tests.integration.api.conftest import running_server
from tests.schema_fuzz import assert_nothing_wrong, furnish, fuzz

_PATHS = create_app(Settings()).openapi()["paths"]
OPERATIONS = [f"{method} {path}" for path, methods in _PATHS.items() for method in methods]


def test_every_answer_is_as_documented(settings: Settings, tmp_path: Path) -> None:
    unhurried = settings.model_copy(update={"requests_per_second": 1e6})
    with running_server(unhurried, tmp_path) as server, server.client(server.admin_key) as client:
        run = fuzz(server, furnish(server, client, sets=6), tmp_path, examples=3, phases="examples,fuzzing")
        assert_nothing_wrong(run)
        assert sorted(operation.lower() for operation in run.answers) == sorted(OPERATIONS)
        # Requests reach things that are there, rather than be told that they name nothing.
        found = {name for name, answers in run.answers.items() if any(status < 400 for status in answers)}
        assert len(found) > len(OPERATIONS) / 2
