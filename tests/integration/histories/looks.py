"""What users see: theirs if it is there, and nothing of anybody else's."""

import random
from dataclasses import dataclass

from app.db.pages import Window
from app.domain.errors import NotFoundError
from app.services.concepts import get_concept
from app.services.generations import get_generation
from app.services.jobs import get_job, list_jobs
from app.services.versions import list_versions
from tests.integration.histories.model import ModelJob, ModelUser
from tests.integration.histories.users import Picked, Users

_ALL = Window(200, None)


@dataclass(frozen=True)
class Looks:
    """Somebody looks at something; each look is a move."""

    users: Users

    def look(self, draw: random.Random) -> None:
        """At a lineage, a concept, the jobs, and one of them."""
        picked = self.users.pick(draw)
        user, concept = picked.user, picked.concept
        self._look_at_versions(picked)
        is_there = concept.user is user and not concept.is_deleted
        self.users.expect(
            None if is_there else NotFoundError, lambda work: get_concept(work.session, user.id, concept.id)
        )
        seen = self._look_at_jobs(user)
        if self.users.model.jobs:
            self._look_at_job(user, draw.choice(self.users.model.jobs), seen)

    def _look_at_versions(self, picked: Picked) -> None:
        lineage = picked.lineage
        page = self.users.expect(
            None if self.users.sees(picked) else NotFoundError,
            lambda work: list_versions(work.session, picked.user.id, lineage.id, _ALL),
        )
        if page is not None:
            line = lineage.head.line()
            assert {row[0].number: (row[1], row[3]) for row in page.items} == {
                number: (version.parent.number if version.parent else None, version in line)
                for number, version in self.users.model.shown(lineage).items()
            }

    def _look_at_jobs(self, user: ModelUser) -> list[ModelJob]:
        """All that the user has, each with its place in the queue."""
        model = self.users.model
        jobs = [job for job in model.jobs if job.lineage.user is user and not job.lineage.is_deleted]
        page = self.users.expect(None, lambda work: list_jobs(work.session, user.id, _ALL, None, None, None))
        assert page is not None
        assert {row[0].id: row[1] for row in page.items} == {job.id: model.position(job) for job in jobs}
        return jobs

    def _look_at_job(self, user: ModelUser, job: ModelJob, seen: list[ModelJob]) -> None:
        refusal = None if job in seen else NotFoundError
        self.users.expect(refusal, lambda work: get_job(work.session, user.id, job.id))
        if (drawn := job.generation) is not None:
            is_seen = job in seen and not drawn.is_deleted and not drawn.is_gone
            self.users.expect(
                None if is_seen else NotFoundError, lambda work: get_generation(work.session, user.id, drawn.id)
            )
