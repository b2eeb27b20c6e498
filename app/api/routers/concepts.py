"""Concepts: upload, look, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from app.api.dependencies import Caller, PageWindow, ServicesOfProcess, Transaction
from app.api.documented import READ, READ_ONE, REMOVE, binary, problems
from app.api.door import Door
from app.api.files import file_response
from app.api.once import OnlyOnce, created
from app.api.schemas.concepts import ConceptBody, ConceptPage, NewConceptFields
from app.api.uploads import FileLimits, file_form
from app.domain.concepts import MAX_IMAGES_PER_CONCEPT
from app.services import concepts
from app.services.concepts import NewConcept
from app.services.context import Work, open_work
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1/concepts", tags=["concepts"], route_class=Door)

Position = Annotated[int, Path(ge=0, le=2**31 - 1, description="Counted from 0.")]

# The route reads its form itself, once it knows the caller; so FastAPI does not see the fields.
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "kind", "images"],
                    "properties": {
                        "name": {
                            "type": "string",
                            "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$",
                            "maxLength": 64,
                            "description": "Unique among your concepts; prompts name it as `<name>`.",
                        },
                        "kind": {"type": "string", "enum": ["object", "style"]},
                        "class_noun": {
                            "type": "string",
                            "maxLength": 64,
                            "description": "What the object is, such as `dog`. For objects only.",
                        },
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_IMAGES_PER_CONCEPT,
                            "items": {"type": "string", "format": "binary"},
                            "description": "PNG, JPEG, WebP, AVIF or HEIC, still.",
                        },
                    },
                },
                "example": {"name": "rex", "kind": "object", "class_noun": "dog", "images": ["(bytes of rex-1.png)"]},
                "encoding": {"images": {"contentType": "image/png, image/jpeg, image/webp, image/avif, image/heic"}},
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=ConceptBody,
    responses=problems(400, 401, 409, 413, 422, 503),
    openapi_extra=_FORM,
)
async def create_concept(request: Request, caller: Caller, services: ServicesOfProcess, once: OnlyOnce) -> Response:
    """Upload a concept: a name, what it is, and 1 to 50 images."""
    settings = services.settings
    limits = FileLimits("images", MAX_IMAGES_PER_CONCEPT, settings.max_image_bytes, settings.max_body_bytes)
    async with services.gates.forms.turn(caller.id):
        if not await once.is_repeated():
            await concepts.insist_on_room_for_one(services, caller.id)
        async with file_form(request, limits) as form:
            fields = form.read_as(NewConceptFields)
            hashes = await form.hashes()
            if (kept := await once.kept(fields, *hashes)) is not None:
                return kept
            new = NewConcept(fields.name, fields.kind, fields.class_noun)
            async with concepts.stored_pictures(services, caller.id, new, form.uploads) as pictures:

                async def act(work: Work) -> Answer:
                    details = await concepts.create_concept(work, caller.id, new, pictures)
                    return created(ConceptBody.of(details), f"/v1/concepts/{details.concept.id}")

                return await once.run(act, fields, *hashes)


@router.get("", responses=READ)
async def list_concepts(caller: Caller, work: Transaction, window: PageWindow) -> ConceptPage:
    """List your concepts."""
    page = (await concepts.list_concepts(work.session, caller.id, window)).map(ConceptBody.of)
    return ConceptPage(items=list(page.items), next_cursor=page.next_cursor)


@router.get("/{concept_id}", responses=READ_ONE)
async def get_concept(concept_id: UUID, caller: Caller, work: Transaction) -> ConceptBody:
    """Show a concept."""
    return ConceptBody.of(await concepts.get_concept(work.session, caller.id, concept_id))


@router.delete("/{concept_id}", status_code=204, responses=REMOVE)
async def delete_concept(concept_id: UUID, caller: Caller, work: Transaction) -> None:
    """Delete a concept and cancel the jobs that train it. Versions that have learned it stay."""
    await concepts.delete_concept(work.session, caller.id, concept_id)


@router.get(
    "/{concept_id}/images/{position}",
    response_class=Response,
    responses=READ_ONE | binary("image/png", "The image as it is stored."),
)
async def get_concept_image(
    concept_id: UUID,
    position: Position,
    request: Request,
    caller: Caller,
    services: ServicesOfProcess,
) -> Response:
    """Download one image of a concept."""
    async with open_work(services, caller.id) as work:
        row = await concepts.get_concept_image(work.session, caller.id, concept_id, position)
    return await file_response(request, services, caller.id, row)
