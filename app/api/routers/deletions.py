"""Deletions: what was removed, told without keeping it."""

from uuid import UUID

from fastapi import APIRouter

from app.api.dependencies import Caller, PageWindow, Transaction
from app.api.documented import READ, READ_ONE
from app.api.door import Door
from app.api.schemas.deletions import DeletionBody, DeletionPage
from app.services import deletions

router = APIRouter(prefix="/v1/deletions", tags=["deletions"], route_class=Door)


@router.get("", responses=READ)
async def list_deletions(caller: Caller, work: Transaction, window: PageWindow) -> DeletionPage:
    """List what you have deleted."""
    page = (await deletions.list_deletions(work.session, caller.id, window)).map(DeletionBody.of)
    return DeletionPage(items=list(page.items), next_cursor=page.next_cursor)


@router.get("/{deletion_id}", responses=READ_ONE)
async def get_deletion(deletion_id: UUID, caller: Caller, work: Transaction) -> DeletionBody:
    """Tell how far a deletion is; its id is that of what was deleted. DELETE hides at once, the rest takes seconds."""
    return DeletionBody.of(await deletions.get_deletion(work.session, caller.id, deletion_id))
