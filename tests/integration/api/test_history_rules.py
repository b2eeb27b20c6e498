"""Any order of branching, training, moving heads, deleting and purging, against a model of a few lines."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.db.session import transaction
from app.db.tables import Concept, Version
from app.domain.concepts import ConceptKind
from sweeper.purging import purge, tombs
from tests.integration.api.inputs import new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import start, teach

CHOICE = st.integers(0, 10**6)
STEPS = 12


@dataclass(eq=False)
class ModelVersion:
    """A version as the rules have it."""

    number: int
    parent: "ModelVersion | None"

    def ancestry(self) -> set["ModelVersion"]:
        """It and all its ancestors."""
        return {self} | (self.parent.ancestry() if self.parent else set())


@dataclass(eq=False)
class ModelLineage:
    """A lineage as the rules have it: all that it shows, under which numbers, and what is held."""

    id: str
    head: ModelVersion
    shows: dict[int, ModelVersion]
    held: set[int] = field(default_factory=set)
    numbers_given: int = 0

    def publish(self, parent: ModelVersion) -> None:
        """A version trained on that parent."""
        self.numbers_given += 1
        version = ModelVersion(self.numbers_given, parent)
        self.shows[version.number] = version
        if parent is self.head:
            self.head = version
        else:
            self.held.add(version.number)


class Histories(RuleBasedStateMachine):
    """The model and the service side by side. `server` and `new_client` are set by the test."""

    server: Server
    new_client: Callable[[], httpx.Client]

    def __init__(self) -> None:
        super().__init__()
        # Another user each time: one alone would ask more often than a key may.
        self.client = type(self).new_client()
        self.concepts = _concepts(self.server, UUID(self.client.get("/v1/me").json()["user"]["id"]))
        base = ModelVersion(0, None)
        self.lineages = [ModelLineage(new_lineage(self.client), base, {0: base})]

    def _pick(self, choice: int) -> tuple[ModelLineage, ModelVersion]:
        """A lineage and a version that it shows."""
        lineage = self.lineages[choice % len(self.lineages)]
        numbers = sorted(lineage.shows)
        return lineage, lineage.shows[numbers[choice // len(self.lineages) % len(numbers)]]

    def _submit(self, lineage: ModelLineage) -> dict[str, str]:
        body = {"concept_id": self.concepts.pop()}
        answer = self.client.post(f"/v1/lineages/{lineage.id}/versions", json=body)
        assert answer.status_code == 202, answer.text
        job: dict[str, str] = answer.json()
        return job

    def _roll_back(self, lineage: ModelLineage, version: ModelVersion) -> None:
        path = f"/v1/lineages/{lineage.id}/rollback"
        answer = self.client.post(path, json={"to_version": version.number})
        is_behind = version is not lineage.head and version in lineage.head.ancestry()
        assert answer.status_code == (200 if is_behind else 409)
        if is_behind:
            lineage.head = version

    @rule(choice=CHOICE)
    def train(self, choice: int) -> None:
        """On top of the head."""
        lineage, _ = self._pick(choice)
        teach(self.server, self._submit(lineage), seed=1)
        lineage.publish(lineage.head)

    @rule(choice=CHOICE)
    def train_while_the_head_moves(self, choice: int) -> None:
        """The version is held, unless the head could not go there."""
        lineage, version = self._pick(choice)
        job, parent = self._submit(lineage), lineage.head
        start(self.server, job["id"])
        self._roll_back(lineage, version)
        teach(self.server, job, seed=1)
        lineage.publish(parent)

    @rule(choice=CHOICE)
    def roll_back(self, choice: int) -> None:
        """To any version."""
        self._roll_back(*self._pick(choice))

    @rule(choice=CHOICE)
    def promote(self, choice: int) -> None:
        """Any version."""
        lineage, version = self._pick(choice)
        answer = self.client.post(f"/v1/lineages/{lineage.id}/versions/{version.number}/promote")
        is_aside = version not in lineage.head.ancestry()
        assert answer.status_code == (200 if is_aside else 409)
        if is_aside:
            lineage.head = version
            lineage.held.discard(version.number)

    @rule(choice=CHOICE)
    def branch(self, choice: int) -> None:
        """From any version, held ones and the base included."""
        original, fork = self._pick(choice)
        body = {"from_version": fork.number, "name": "branch"}
        answer = self.client.post(f"/v1/lineages/{original.id}/branches", json=body)
        assert answer.status_code == 201
        shows = {version.number: version for version in fork.ancestry()}
        self.lineages.append(ModelLineage(answer.json()["id"], fork, shows, numbers_given=fork.number))

    @precondition(lambda self: len(self.lineages) > 1)
    @rule(choice=CHOICE)
    def delete_and_purge(self, choice: int) -> None:
        """What others reach must stay, and nothing else."""
        lineage, _ = self._pick(choice)
        self._delete(lineage)

    def _delete(self, lineage: ModelLineage) -> None:
        assert self.client.delete(f"/v1/lineages/{lineage.id}").status_code == 204
        self.lineages.remove(lineage)
        with transaction(self.server.engine) as session:
            for tomb in tombs(session):
                purge(session, tomb)
            assert session.query(Version).count() == len(
                {version for other in self.lineages for version in other.shows.values()}
            )

    @invariant()
    def histories_are_as_in_the_model(self) -> None:
        """Numbers, parents, what is held, and the path to the head, which names the head."""
        for lineage in self.lineages:
            shown = [
                (item["version"], item["parent"], item["on_head_path"], item["status"])
                for item in self.client.get(f"/v1/lineages/{lineage.id}/versions").json()["items"]
            ]
            assert sorted(shown) == [
                (
                    number,
                    version.parent.number if version.parent else None,
                    version in lineage.head.ancestry(),
                    "held" if number in lineage.held else "live",
                )
                for number, version in sorted(lineage.shows.items())
            ]

    def teardown(self) -> None:
        """Leave nothing for the next run."""
        for lineage in list(self.lineages):
            self._delete(lineage)


def test_histories_keep_their_rules(server: Server, new_client: Callable[[], httpx.Client]) -> None:
    Histories.server, Histories.new_client = server, staticmethod(new_client)
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=8, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def _concepts(server: Server, user_id: UUID) -> list[str]:
    """Concepts without images, which nobody looks at here."""
    with transaction(server.engine) as session:
        rows = [
            Concept(user_id=user_id, name=f"c{number}", kind=ConceptKind.STYLE, class_noun=None)
            for number in range(STEPS)
        ]
        session.add_all(rows)
        session.flush()
        return [str(row.id) for row in rows]
