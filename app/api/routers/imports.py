"""Importing adapters that were trained elsewhere."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import JsonValue

from app.api.body import body_of
from app.api.dependencies import Caller, ServicesOfProcess
from app.api.documented import WRITE
from app.api.door import Door
from app.api.once import OnlyOnce, accepted
from app.api.schemas.imports import ImportFields
from app.api.schemas.jobs import JobBody
from app.api.uploads import FileLimits, file_form
from app.domain.adapters import MAX_RANK
from app.services import imports
from app.services.context import Work
from app.services.idempotency import Answer
from app.services.imports import NewImport
from app.settings import MIB

router = APIRouter(prefix="/v1/lineages/{lineage_id}", tags=["versions"], route_class=Door)

_TEXT_FILES = frozenset({"adapter_config"})
# The route reads its form itself, once it knows the caller; so FastAPI does not see the fields.
_FORM: dict[str, JsonValue] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A LoRA, or LoHa, LoKr, DoRA, IA3 or full difference, as safetensors.",
                        },
                        "adapter_config": {
                            "type": "string",
                            "format": "binary",
                            "description": "peft's adapter_config.json, which tells the scale of its files.",
                        },
                        "alpha": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "maximum": 1e6,
                            "description": "Scale each update by alpha / rank, whatever the file says.",
                        },
                        "scale": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "maximum": 1e6,
                            "description": "Scale each update by this, whatever the file says.",
                        },
                        "strength": {
                            "type": "number",
                            "minimum": -10,
                            "maximum": 10,
                            "default": 1,
                            "description": "Multiplies the whole update; not 0.",
                        },
                        "max_rank": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": MAX_RANK,
                            "description": "Cut each update to this rank; provenance says what was left out.",
                        },
                        "name": {
                            "type": "string",
                            "maxLength": 64,
                            "description": "Prompts name what it has learned as `<name>`.",
                        },
                        "kind": {"type": "string", "enum": ["object", "style"]},
                        "class_noun": {"type": "string", "maxLength": 64, "description": "For objects only."},
                        "token": {
                            "type": "string",
                            "maxLength": 200,
                            "description": "The words that the adapter was trained with.",
                        },
                    },
                },
                "example": {
                    "file": "(bytes of rex.safetensors)",
                    "name": "rex",
                    "kind": "object",
                    "class_noun": "dog",
                    "token": "sks",
                },
            }
        },
    }
}


@router.post("/import", status_code=202, response_model=JobBody, responses=WRITE, openapi_extra=_FORM)
async def import_adapter(
    lineage_id: UUID,
    request: Request,
    caller: Caller,
    services: ServicesOfProcess,
    once: OnlyOnce,
    ignore_text_encoder: Annotated[
        bool, Query(description="Leave out what the file has for text encoders, rather than refuse it.")
    ] = False,
) -> Response:
    """Import an adapter that was trained elsewhere: queue the job that makes the lineage's next version of it.

    The file's header is checked at once (422). Names and shapes are checked against the base model by the job, whose
    `error.errors` has one entry for each kind of fault.
    """
    most = services.settings.max_adapter_bytes
    limits = FileLimits("file", 1, most, most + 2 * MIB, _TEXT_FILES)
    async with services.gates.adapters.turn(caller.id):
        if not await once.is_repeated():
            await imports.insist_on_room_for_one(services, caller.id, lineage_id, body_of(request).expected_bytes)
        async with file_form(request, limits) as form:
            fields = form.read_as(ImportFields)
            options = fields.options(ignore_text_encoder=ignore_text_encoder)
            marks = (*await form.hashes(), str(ignore_text_encoder))
            if (kept := await once.kept(fields, *marks)) is not None:
                return kept
            new = NewImport(form.uploads[0], fields.taught(), options)
            async with imports.stored_file(services, caller.id, new) as stored:

                async def act(work: Work) -> Answer:
                    job = await imports.submit_import(work, caller.id, lineage_id, new, stored)
                    return accepted(JobBody.of(job), f"/v1/jobs/{job[0].id}")

                return await once.run(act, fields, *marks)
