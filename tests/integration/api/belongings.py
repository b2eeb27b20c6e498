"""One of everything that a user can own, and its owner."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from uuid import uuid4

import httpx

from tests.integration.api.inputs import BASE, new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import publish_evaluation, publish_pictures, teach


@dataclass(frozen=True)
class Names:
    """What the routes' path parameters are called, and ids for bodies; `number` 1 has learned `concept_id`."""

    user_id: str
    key_id: str
    concept_id: str
    lineage_id: str
    job_id: str
    generation_id: str
    evaluation_id: str
    deletion_id: str
    number: str = "1"
    position: str = "0"
    file: str = "heatmap.png"
    name: str = BASE

    @classmethod
    def unheard_of(cls) -> "Names":
        """Ids that nobody has."""
        return cls(*(str(uuid4()) for _ in range(8)))

    def path(self, template: str) -> str:
        """A route's path with these names in it."""
        return template.format_map(asdict(self))

    def ids(self) -> list[str]:
        """Everything that nobody else may ever see."""
        jobs = [self.job_id, self.generation_id, self.evaluation_id, self.deletion_id]
        return [self.user_id, self.key_id, self.concept_id, self.lineage_id, *jobs]


def own_everything(server: Server, owner: httpx.Client, name: str = "rex") -> Names:
    """Makes one of everything; `name` is the concept's."""
    concept, lineage = new_concept(owner, name), new_lineage(owner)
    train = owner.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept}).json()
    teach(server, train, seed=1)
    generate = owner.post("/v1/generations", json={"lineage_id": lineage, "prompt": f"<{name}>"}).json()
    publish_pictures(server, generate["id"], 1)
    evaluate = owner.post(f"/v1/lineages/{lineage}/evaluations", json={}).json()
    publish_evaluation(server, evaluate)
    deleted = new_lineage(owner)
    owner.delete(f"/v1/lineages/{deleted}")
    key = owner.post("/v1/keys", json={"name": "spare"}).json()["id"]
    user = owner.get("/v1/me").json()["user"]["id"]
    return Names(
        user,
        key,
        concept,
        lineage,
        train["id"],
        generate["result"]["generation_id"],
        evaluate["result"]["evaluation_id"],
        deleted,
    )


Bodies = Callable[[Names], dict[str, object]]
