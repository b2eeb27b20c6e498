"""A real server on a port of its own, driven over HTTP like any client would."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from app.bootstrap import bootstrap
from app.db.session import make_engine
from app.main import create_app
from app.settings import Settings
from app.stack.waiting import becomes_true
from tests.integration.api.inputs import write_base_models
from tests.integration.api.state import Server

PATIENCE_SECONDS = 60.0


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The application's address while it runs in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        becomes_true(lambda: server.started or not thread.is_alive(), PATIENCE_SECONDS)
        assert server.started, "the server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        listener.close()


@contextmanager
def running_server(settings: Settings, folder: Path) -> Iterator[Server]:
    """A bootstrapped server with base models of its own."""
    settings = settings.model_copy(update={"base_models_dir": write_base_models(folder)})
    admin_key = bootstrap(settings)
    assert admin_key is not None
    assert settings.database_url is not None
    engine = make_engine(settings.database_url)
    with serving(settings) as url:
        yield Server(url, admin_key, settings, engine)
    engine.dispose()


@pytest.fixture(scope="module")
def server(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the tests of a module share; one user may ask it faster than by default."""
    unhurried = module_settings.model_copy(update={"requests_per_second": 1e6})
    with running_server(unhurried, tmp_path_factory.mktemp("bases")) as running:
        yield running


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    """A client with the admin's key."""
    with server.client(server.admin_key) as client:
        yield client


@pytest.fixture
def new_client(server: Server, admin: httpx.Client) -> Iterator[Callable[[], httpx.Client]]:
    """Makes clients, each with a user of its own."""
    with ExitStack() as stack:

        def make() -> httpx.Client:
            answer = admin.post("/v1/users", json={"name": server.unique("user")})
            assert answer.status_code == 201, answer.text
            return stack.enter_context(server.client(answer.json()["key"]))

        yield make


@pytest.fixture
def client(new_client: Callable[[], httpx.Client]) -> httpx.Client:
    """A client with a fresh user."""
    return new_client()
