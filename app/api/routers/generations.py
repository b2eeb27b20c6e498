"""Generations: ask for pictures, and fetch them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from app.api.dependencies import Caller, PageWindow, ServicesOfProcess, Transaction
from app.api.documented import ERASED, READ, READ_ONE, REMOVE, WRITE, binary
from app.api.door import Door
from app.api.files import file_response
from app.api.once import OnlyOnce, accepted
from app.api.schemas.generations import GenerationBody, GenerationPage, NewGenerationBody
from app.api.schemas.jobs import JobBody
from app.services import generations
from app.services.context import Work, open_work
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1/generations", tags=["generations"], route_class=Door)

Position = Annotated[int, Path(ge=0, le=2**31 - 1, description="Counted from 0.")]


@router.post("", status_code=202, response_model=JobBody, responses=WRITE | ERASED)
async def create_generation(body: NewGenerationBody, caller: Caller, once: OnlyOnce) -> Response:
    """Queue pictures. The job's `result.generation_id` is there from the start."""

    async def act(work: Work) -> Answer:
        row = await generations.submit_generation(work, caller.id, body.asked())
        return accepted(JobBody.of(row), f"/v1/jobs/{row[0].id}")

    return await once.run(act, body)


@router.get("", responses=READ)
async def list_generations(caller: Caller, work: Transaction, window: PageWindow) -> GenerationPage:
    """List your generations."""
    page = (await generations.list_generations(work.session, caller.id, window)).map(GenerationBody.of)
    return GenerationPage(items=list(page.items), next_cursor=page.next_cursor)


@router.get("/{generation_id}", responses=READ_ONE)
async def get_generation(generation_id: UUID, caller: Caller, work: Transaction) -> GenerationBody:
    """Show a generation; `images` fills as its job draws."""
    return GenerationBody.of(await generations.get_generation(work.session, caller.id, generation_id))


@router.delete("/{generation_id}", status_code=204, responses=REMOVE)
async def delete_generation(generation_id: UUID, caller: Caller, work: Transaction) -> None:
    """Delete a generation and its pictures, and cancel its job."""
    await generations.delete_generation(work.session, caller.id, generation_id)


@router.get(
    "/{generation_id}/images/{position}",
    response_class=Response,
    responses=READ_ONE | binary("image/png", "The picture; its metadata tells how it was made."),
)
async def get_generation_image(
    generation_id: UUID,
    position: Position,
    request: Request,
    caller: Caller,
    services: ServicesOfProcess,
) -> Response:
    """Download one picture. 404 until it is drawn."""
    async with open_work(services, caller.id) as work:
        row = await generations.get_picture(work.session, caller.id, generation_id, position)
    return await file_response(request, services, caller.id, row)
