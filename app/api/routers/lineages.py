"""Lineages: create, look, rename, delete."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.api.dependencies import Caller, PageWindow, Transaction
from app.api.documented import READ, READ_ONE, REMOVE, WRITE, problems
from app.api.once import OnlyOnce, created
from app.api.schemas.lineages import LineageBody, LineageChanges, LineagePage, NewLineageBody
from app.domain.quotas import Quota
from app.services import lineages
from app.services.context import Work
from app.services.idempotency import Answer
from app.services.quotas import insist_on_room

router = APIRouter(prefix="/v1/lineages", tags=["lineages"])


@router.post("", status_code=201, response_model=LineageBody, responses=problems(400, 401, 409, 413, 422, 503))
async def create_lineage(body: NewLineageBody, caller: Caller, once: OnlyOnce) -> Response:
    """Create a lineage. Its head is version 0, the base model itself."""

    async def act(work: Work) -> Answer:
        await insist_on_room(work, caller.id, {Quota.LINEAGES: 1})
        row = await lineages.create_lineage(
            work.session, caller.id, body.name, body.base_model, body.strategy, body.training
        )
        return created(LineageBody.of(row), f"/v1/lineages/{row[0].id}")

    return await once.run(act, body)


@router.get("", responses=READ)
async def list_lineages(caller: Caller, work: Transaction, window: PageWindow) -> LineagePage:
    """List your lineages."""
    page = (await lineages.list_lineages(work.session, caller.id, window)).map(LineageBody.of)
    return LineagePage(items=list(page.items), next_cursor=page.next_cursor)


@router.get("/{lineage_id}", responses=READ_ONE)
async def get_lineage(lineage_id: UUID, caller: Caller, work: Transaction) -> LineageBody:
    """Show a lineage."""
    return LineageBody.of(await lineages.get_lineage(work.session, caller.id, lineage_id))


@router.patch("/{lineage_id}", responses=WRITE)
async def rename_lineage(lineage_id: UUID, body: LineageChanges, caller: Caller, work: Transaction) -> LineageBody:
    """Rename a lineage. How it trains is fixed, so that its versions can be compared."""
    return LineageBody.of(await lineages.rename_lineage(work.session, caller.id, lineage_id, body.name))


@router.delete("/{lineage_id}", status_code=204, responses=REMOVE)
async def delete_lineage(lineage_id: UUID, caller: Caller, work: Transaction) -> None:
    """Delete a lineage with its versions and pictures, and cancel its jobs."""
    await lineages.delete_lineage(work.session, caller.id, lineage_id)
