"""Lineages: create, look, rename, branch, roll back, compare, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api.dependencies import Caller, PageWindow, Transaction
from app.api.documented import ERASED, READ, READ_ONE, REMOVE, WRITE, problems
from app.api.door import Door
from app.api.once import OnlyOnce, created, done
from app.api.schemas.branching import ComparisonBody, NewBranchBody, RollbackBody, VersionNumber
from app.api.schemas.lineages import LineageBody, LineageChanges, LineagePage, NewLineageBody
from app.domain.quotas import Quota
from app.services import branching, lineages
from app.services.context import Work
from app.services.idempotency import Answer
from app.services.quotas import insist_on_room

router = APIRouter(prefix="/v1/lineages", tags=["lineages"], route_class=Door)


@router.post("", status_code=201, response_model=LineageBody, responses=problems(400, 401, 409, 413, 422, 503))
async def create_lineage(body: NewLineageBody, caller: Caller, once: OnlyOnce) -> Response:
    """Create a lineage. Its head is version 0, the base model itself."""

    async def act(work: Work) -> Answer:
        await insist_on_room(work, caller.id, {Quota.LINEAGES: 1})
        row = await lineages.create_lineage(
            work.session,
            caller.id,
            body.name,
            body.base_model,
            body.strategy,
            body.training,
            body.evaluation,
            allow_changed_base=body.allow_changed_base,
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
async def change_lineage(lineage_id: UUID, body: LineageChanges, caller: Caller, work: Transaction) -> LineageBody:
    """Rename a lineage, or evaluate its new versions otherwise. How it trains is fixed, so that versions compare."""
    row = await lineages.change_lineage(
        work.session, caller.id, lineage_id, body.name, body.evaluation, allow_changed_base=body.allow_changed_base
    )
    return LineageBody.of(row)


@router.post("/{lineage_id}/branches", status_code=201, response_model=LineageBody, responses=WRITE | ERASED)
async def create_branch(lineage_id: UUID, body: NewBranchBody, caller: Caller, once: OnlyOnce) -> Response:
    """Branch a lineage: a new one that shares a version and all its ancestors, and trains on from there."""

    async def act(work: Work) -> Answer:
        row = await branching.branch_lineage(
            work, caller.id, lineage_id, body.from_version, body.name, body.strategy, body.training
        )
        return created(LineageBody.of(row), f"/v1/lineages/{row[0].id}")

    return await once.run(act, body)


@router.post("/{lineage_id}/rollback", response_model=LineageBody, responses=WRITE | ERASED)
async def roll_back(lineage_id: UUID, body: RollbackBody, caller: Caller, once: OnlyOnce) -> Response:
    """Move the head back to one of its ancestors. Nothing is deleted; training on forks the history."""

    async def act(work: Work) -> Answer:
        return done(LineageBody.of(await branching.roll_back(work.session, caller.id, lineage_id, body.to_version)))

    return await once.run(act, body)


@router.get("/{lineage_id}/compare", responses=READ_ONE | ERASED)
async def compare_versions(
    lineage_id: UUID,
    caller: Caller,
    work: Transaction,
    from_version: Annotated[VersionNumber, Query(alias="from")],
    to_version: Annotated[VersionNumber, Query(alias="to")],
) -> ComparisonBody:
    """Compare two versions: what one has learned and the other has not, and how they came about."""
    comparison = await branching.compare_versions(work.session, caller.id, lineage_id, from_version, to_version)
    return ComparisonBody.of(from_version, to_version, comparison)


@router.delete("/{lineage_id}", status_code=204, responses=REMOVE)
async def delete_lineage(lineage_id: UUID, caller: Caller, work: Transaction) -> None:
    """Delete a lineage with its pictures and the versions that no branch shares, and cancel its jobs."""
    await lineages.delete_lineage(work.session, caller.id, lineage_id)
