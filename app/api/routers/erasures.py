"""Erasing concepts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api.dependencies import Caller
from app.api.documented import WRITE
from app.api.door import Door
from app.api.once import OnlyOnce, accepted, done
from app.api.schemas.erasures import ErasurePlanBody, NewErasureBody
from app.api.schemas.jobs import JobBody
from app.services import erasures
from app.services.context import Work
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1/lineages/{lineage_id}/erasures", tags=["lineages"], route_class=Door)


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses={200: {"model": ErasurePlanBody, "description": "What would be done (`dry_run`)."}, **WRITE},
)
async def erase_concept(
    lineage_id: UUID,
    body: NewErasureBody,
    caller: Caller,
    once: OnlyOnce,
    dry_run: Annotated[bool, Query(description="Only tell what would be made, redone and removed.")] = False,
) -> Response:
    """Erase a concept from this lineage and every branch that shares its history.

    A job makes new versions of those that hold it; the old ones answer 410 and everything made of them is purged.
    """

    async def act(work: Work) -> Answer:
        asked = (caller.id, lineage_id, body.concept_id, body.mode)
        if dry_run:
            return done(ErasurePlanBody.of(await erasures.plan_erasure(work.session, *asked)))
        row = await erasures.submit_erasure(work, *asked)
        return accepted(JobBody.of(row), f"/v1/jobs/{row[0].id}")

    return await once.run(act, body, str(dry_run))
