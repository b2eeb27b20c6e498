"""Every route, asked by everybody: its owner, another user, and with no key, a wrong, a revoked or a read-only one.

A new route needs one line in `ROUTES`: who may ask it, and what its body is. A route that names something of a user
in its path takes that name from `belongings.Names`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto

import httpx
import pytest
from sqlalchemy import Engine, event

from app.db.looks import Look, Looks, Ts
from app.main import create_app
from app.settings import Settings
from tests.integration.api.belongings import Bodies, Names, own_everything
from tests.integration.api.inputs import BASE, files, image
from tests.integration.api.state import Server
from tests.integration.api.worker_side import adapter_bytes, random_factors


class For(Enum):
    """Who gets what from a route."""

    OWNER = auto()
    """Names something of a user: every other caller gets the answer for what never was."""
    EACH = auto()
    """Lists or makes what is one's own, so that everybody gets something else."""
    ADMIN = auto()
    """403 for everybody else, whether it exists or not."""
    ANYBODY = auto()
    """Needs no key, and tells nothing about anybody."""


@dataclass(frozen=True)
class Route:
    """An entry of the matrix."""

    whose: For
    body: Bodies | None = None
    query: str = ""


OWNER, EACH, ADMIN, ANYBODY = (Route(whose) for whose in For)

ROUTES: dict[str, Route] = {
    "post /v1/concepts": EACH,
    "get /v1/concepts": EACH,
    "get /v1/concepts/{concept_id}": OWNER,
    "delete /v1/concepts/{concept_id}": OWNER,
    "get /v1/concepts/{concept_id}/images/{position}": OWNER,
    "post /v1/lineages": Route(For.EACH, lambda _: {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}}),
    "get /v1/lineages": EACH,
    "get /v1/lineages/{lineage_id}": OWNER,
    "patch /v1/lineages/{lineage_id}": Route(For.OWNER, lambda _: {"name": "mine"}),
    "delete /v1/lineages/{lineage_id}": OWNER,
    "post /v1/lineages/{lineage_id}/versions": Route(For.OWNER, lambda names: {"concept_id": names.concept_id}),
    "get /v1/lineages/{lineage_id}/versions": OWNER,
    "get /v1/lineages/{lineage_id}/versions/{number}": OWNER,
    "get /v1/lineages/{lineage_id}/versions/{number}/adapter": OWNER,
    "post /v1/lineages/{lineage_id}/versions/{number}/promote": OWNER,
    "post /v1/lineages/{lineage_id}/versions/{number}/reproduce": OWNER,
    "post /v1/lineages/{lineage_id}/import": OWNER,
    "post /v1/lineages/{lineage_id}/erasures": Route(
        For.OWNER, lambda names: {"concept_id": names.concept_id, "mode": "refold"}, query="?dry_run=true"
    ),
    "post /v1/lineages/{lineage_id}/branches": Route(For.OWNER, lambda _: {"from_version": 9, "name": "mine"}),
    "post /v1/lineages/{lineage_id}/rollback": Route(For.OWNER, lambda _: {"to_version": 9}),
    "get /v1/lineages/{lineage_id}/compare": Route(For.OWNER, query="?from=0&to=1"),
    "post /v1/generations": Route(For.OWNER, lambda names: {"lineage_id": names.lineage_id, "prompt": "a cat"}),
    "get /v1/generations": EACH,
    "get /v1/generations/{generation_id}": OWNER,
    "delete /v1/generations/{generation_id}": OWNER,
    "get /v1/generations/{generation_id}/images/{position}": OWNER,
    "post /v1/lineages/{lineage_id}/evaluations": OWNER,
    "get /v1/evaluations": EACH,
    "get /v1/evaluations/{evaluation_id}": OWNER,
    "get /v1/evaluations/{evaluation_id}.csv": OWNER,
    "get /v1/evaluations/{evaluation_id}/{file}": OWNER,
    "delete /v1/evaluations/{evaluation_id}": OWNER,
    "get /v1/deletions": EACH,
    "get /v1/deletions/{deletion_id}": OWNER,
    "get /v1/jobs": EACH,
    "get /v1/jobs/{job_id}": OWNER,
    "post /v1/jobs/{job_id}/cancel": OWNER,
    "get /v1/strategies": EACH,
    "get /v1/base-models": EACH,
    "post /v1/base-models": ADMIN,
    "delete /v1/base-models/{name}": ADMIN,
    "post /v1/users": Route(For.ADMIN, lambda _: {"name": "eve"}),
    "get /v1/users": ADMIN,
    "put /v1/users/{user_id}/quotas": Route(For.ADMIN, lambda _: {"lineages": 5}),
    "delete /v1/users/{user_id}": ADMIN,
    "post /v1/keys": Route(For.EACH, lambda _: {"name": "laptop"}),
    "get /v1/keys": EACH,
    "delete /v1/keys/{key_id}": OWNER,
    "get /v1/me": EACH,
    "get /health/live": ANYBODY,
    "get /health/ready": ANYBODY,
}

_PATHS = create_app(Settings()).openapi()["paths"]
OPERATIONS = [f"{method} {path}" for path, methods in _PATHS.items() for method in methods]
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_OF_ITS_OWN = ("date", "x-request-id")


def routes(*kinds: For) -> list[str]:
    """The routes of these kinds that the application has."""
    return [name for name in OPERATIONS if name in ROUTES and ROUTES[name].whose in kinds]


KEYED = routes(For.OWNER, For.EACH, For.ADMIN)


def test_every_route_has_an_entry() -> None:
    missing, gone = set(OPERATIONS) - set(ROUTES), set(ROUTES) - set(OPERATIONS)
    assert not missing, f"say in ROUTES of {__file__} who may ask {sorted(missing)}"
    assert not gone, f"take {sorted(gone)} out of ROUTES of {__file__}"


@dataclass(frozen=True)
class Cast:
    """Everybody who asks, and what belongs to the first of them."""

    owner: httpx.Client
    stranger: httpx.Client
    nobody: httpx.Client
    wrong: httpx.Client
    revoked: httpx.Client
    reader: httpx.Client
    admins_writer: httpx.Client
    admins_reader: httpx.Client
    theirs: Names
    strangers: Names


@pytest.fixture(scope="module")
def cast(server: Server) -> Iterator[Cast]:
    """Two users with one of everything each. Nobody's attempts may change it, so one serves for all."""
    with ExitStack() as stack:

        def client(key: str | None) -> httpx.Client:
            return stack.enter_context(server.client(key))

        def user(name: str) -> httpx.Client:
            return client(client(server.admin_key).post("/v1/users", json={"name": name}).json()["key"])

        owner, stranger = user("owner"), user("stranger")
        revoked = owner.post("/v1/keys", json={"name": "revoked"}).json()
        owner.delete(f"/v1/keys/{revoked['id']}")
        theirs, strangers = own_everything(server, owner), own_everything(server, stranger)
        admin = client(server.admin_key)
        scoped = [(owner, "read"), (admin, "write"), (admin, "read")]
        reader, admins_writer, admins_reader = (client(smaller_key(of, scope)) for of, scope in scoped)
        keyless = (client(None), client("pal_wrong"), client(revoked["key"]))
        yield Cast(owner, stranger, *keyless, reader, admins_writer, admins_reader, theirs, strangers)


def smaller_key(client: httpx.Client, scope: str) -> str:
    """Another key of the same user."""
    key: str = client.post("/v1/keys", json={"name": scope, "scope": scope}).json()["key"]
    return key


def ask(client: httpx.Client, route: str, path: Names, body: Names) -> httpx.Response:
    """The answer to a route about these names."""
    method, template = route.split()
    if route == "post /v1/concepts":
        fields = {"name": f"new-{path.concept_id}", "kind": "style"}
        return client.post(path.path(template), data=fields, files=files(image()))
    if route == "post /v1/lineages/{lineage_id}/import":
        lora = adapter_bytes(random_factors(1, 2), 1.0)
        return client.post(path.path(template), files={"file": ("a.safetensors", lora)})
    make = ROUTES[route].body
    return client.request(method, path.path(template) + ROUTES[route].query, json=None if make is None else make(body))


def shape(answer: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """An answer, byte by byte but for the ids in it, and its headers."""
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_ITS_OWN}
    return answer.status_code, _ID.sub("(id)", answer.text), headers


@contextmanager
def statements() -> Iterator[list[str]]:
    """What this process sends to Postgres meanwhile, without its parameters.

    Not how often a key is used: that is told now and then, whatever is asked.
    """
    sent: list[str] = []
    look = Looks.one

    def note(*about: object) -> None:
        if not str(about[2]).startswith("UPDATE api_keys SET last_used_at"):
            sent.append(str(about[2]))

    async def noted_look(looks: Looks, asked: Look[*Ts], **parameters: object) -> tuple[*Ts] | None:
        sent.append(asked.sql)
        return await look(looks, asked, **parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Looks, "one", noted_look)
            yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def ask_counted(client: httpx.Client, route: str, path: Names, body: Names) -> tuple[httpx.Response, list[str]]:
    """The answer, and the statements that it took; the server is a thread of this process."""
    with statements() as sent:
        answer = ask(client, route, path, body)
    return answer, sent


@pytest.mark.parametrize("route", routes(For.OWNER))
def test_another_user_learns_as_much_as_of_what_never_was(cast: Cast, route: str) -> None:
    unheard_of = Names.unheard_of()
    foreign = ask(cast.stranger, route, cast.theirs, cast.theirs)
    assert foreign.status_code == 404
    assert shape(foreign) == shape(ask(cast.stranger, route, unheard_of, unheard_of))
    if ROUTES[route].body is not None and "{" in route:
        # Nor does one's own path with a foreign id in the body help.
        mixed = ask(cast.stranger, route, cast.strangers, cast.theirs)
        assert shape(mixed) == shape(ask(cast.stranger, route, cast.strangers, unheard_of))


@pytest.mark.parametrize("route", routes(For.OWNER))
def test_an_answer_about_a_foreign_id_takes_the_steps_of_one_about_what_never_was(cast: Cast, route: str) -> None:
    """So that its time tells nothing either: the same statements in the same order, and so as many ways to Postgres."""
    unheard_of = Names.unheard_of()
    pairs = [(cast.theirs, cast.theirs), (unheard_of, unheard_of)]
    if ROUTES[route].body is not None and "{" in route:
        pairs += [(cast.strangers, cast.theirs), (cast.strangers, unheard_of)]
    taken = [ask_counted(cast.stranger, route, path, body)[1] for path, body in pairs]
    assert taken[0]
    assert taken[0] == taken[1]
    assert taken[2:3] == taken[3:]


@pytest.mark.parametrize("route", [route for route in routes(For.EACH) if route.startswith("get")])
def test_no_list_and_no_count_shows_what_another_user_has(cast: Cast, route: str) -> None:
    shown = ask(cast.stranger, route, cast.strangers, cast.strangers)
    assert shown.status_code == 200
    assert not [id_ for id_ in cast.theirs.ids() if id_ in shown.text]


@pytest.mark.parametrize("route", [route for route in routes(For.OWNER) if not route.startswith("delete")])
def test_its_owner_is_let_in(cast: Cast, route: str) -> None:
    assert ask(cast.owner, route, cast.theirs, cast.theirs).status_code not in (401, 403, 404, 405)


@pytest.mark.parametrize("route", routes(For.ADMIN))
@pytest.mark.parametrize("who", ["stranger", "admins_writer", "admins_reader"])
def test_only_admins_with_a_key_of_that_scope(cast: Cast, route: str, who: str) -> None:
    client: httpx.Client = getattr(cast, who)
    answers = [ask(client, route, names, names) for names in (cast.theirs, Names.unheard_of())]
    assert {answer.status_code for answer in answers} == {403}
    assert shape(answers[0]) == shape(answers[1])


@pytest.mark.parametrize("route", KEYED)
def test_without_a_valid_key_nothing_is_answered(cast: Cast, route: str) -> None:
    answers = [ask(client, route, cast.theirs, cast.theirs) for client in (cast.nobody, cast.wrong, cast.revoked)]
    assert {answer.status_code for answer in answers} == {401}
    assert shape(answers[1]) == shape(answers[2])


@pytest.mark.parametrize("route", [route for route in KEYED if not route.startswith("get")])
def test_a_read_only_key_changes_nothing(server: Server, cast: Cast, route: str) -> None:
    before = server.contents()
    answers = [ask(cast.reader, route, names, names) for names in (cast.theirs, Names.unheard_of())]
    assert {answer.status_code for answer in answers} == {403}
    assert shape(answers[0]) == shape(answers[1])
    assert server.contents() == before


@pytest.mark.parametrize("route", [route for route in routes(For.OWNER, For.EACH) if route.startswith("get")])
def test_a_read_only_key_reads(cast: Cast, route: str) -> None:
    assert ask(cast.reader, route, cast.theirs, cast.theirs).status_code == 200


def test_nobody_elses_jobs_count_in_ones_queue(new_client: Callable[[], httpx.Client]) -> None:
    clients = [new_client() for _ in range(2)]
    body = {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}}
    for client in clients:
        lineage = client.post("/v1/lineages", json=body).json()["id"]
        asked = {"lineage_id": lineage, "prompt": "a cat"}
        positions = [client.post("/v1/generations", json=asked).json()["queue_position"] for _ in range(3)]
        assert positions == [0, 1, 2]
