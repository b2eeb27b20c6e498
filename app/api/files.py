"""Answers that are stored objects. They never change, so their hash is their ETag.

Their routes end the transaction before they read from S3, so that a slow store holds no connection to Postgres.
"""

from fastapi import Request, Response

from app.db.tables import StoredObject
from app.services.context import Services
from app.services.objects import read_object

# A deleted picture must vanish at once: caches may keep it, but have to ask.
_CACHE = "private, no-cache"


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller says that it has this already (RFC 9110, section 13.1.2: the comparison is weak)."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


async def file_response(request: Request, services: Services, row: StoredObject) -> Response:
    """The object, or 304 when the caller has it."""
    headers = {"ETag": f'"{row.sha256}"', "Cache-Control": _CACHE}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(await read_object(services, row), headers=headers, media_type=row.content_type)
