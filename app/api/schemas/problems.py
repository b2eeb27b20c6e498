"""Problem details, the body of every answer that is not a success (RFC 9457)."""

from pydantic import Field

from app.api.schemas.base import example
from app.domain.base import Value
from app.domain.errors import Fault


class Problem(Value):
    """What went wrong."""

    model_config = example(
        {
            "type": "urn:palimpsest:problem:invalid-input",
            "title": "The request is not valid",
            "status": 422,
            "detail": "One field is not valid.",
            "instance": "/v1/lineages",
            "errors": [{"field": "training.rank", "message": "Input should be greater than or equal to 1"}],
        }
    )

    type: str = Field(description="Names the kind of problem.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    errors: tuple[Fault, ...] = Field((), description="The offending fields or files.")
