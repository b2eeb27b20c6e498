"""A short run of generated requests against every route; `make fuzz` is the long one."""

from pathlib import Path

from app.settings import Settings
from tests.integration.api.conftest import running_server
from tests.integration.api.inputs import new_concept, new_lineage
from tests.schema_fuzz import assert_nothing_wrong, fuzz


def test_every_answer_is_as_documented(settings: Settings, tmp_path: Path) -> None:
    unhurried = settings.model_copy(update={"requests_per_second": 1e6})
    with running_server(unhurried, tmp_path) as server, server.client(server.admin_key) as client:
        new_concept(client, "rex")
        new_lineage(client)
        assert_nothing_wrong(fuzz(server.url, server.admin_key, tmp_path, examples=3, phases="examples,fuzzing"))
