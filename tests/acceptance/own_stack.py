"""A stack of one's own for a whole test file: a real `palimpsest up`, and one user of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.up import Up, running


def admin_of(up: Up) -> ForeignClient:
    """The administrator, by the key that `up` left in its home."""
    return ForeignClient(up.url(), (up.home / "admin.key").read_text().strip())


@contextmanager
def own_stack(folder: Path, **more: str) -> Iterator[tuple[Up, ForeignClient]]:
    """`up` in `folder / "home"`, over the base models in `folder / "bases"`, and a user who is no administrator.

    `more` are further settings, as environment variables.
    """
    # One thread: a second one only waits for the first in matrices this small.
    variables = {"PALIMPSEST_BASE_MODELS_DIR": str(folder / "bases"), "PALIMPSEST_TORCH_THREADS": "1"}
    with running(folder / "home", variables=variables | more) as up:
        key = admin_of(up).call("POST", "/v1/users", 201, json={"name": "ada"}).json()["key"]
        yield up, ForeignClient(up.url(), key)
