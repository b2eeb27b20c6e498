"""Bodies of what there is to choose from: strategies and base models; and of health."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from app.api.schemas.base import PageBody, Text, example, page_example
from app.api.schemas.examples import EARLIER, SHA256
from app.db.tables import BaseModelRow
from app.domain.base import Value
from app.domain.base_models import BaseModelManifest
from app.domain.strategies import MergeOptions
from app.domain.strategies_by_kind import DEFAULT_STRATEGY, FOLLOWED, FollowedOptions
from app.services.taught_bases import is_retired
from app.version import VERSION


class StrategyBody(Value):
    """What a lineage may follow: a continual strategy, with the JSON Schema of its options."""

    model_config = example(
        {
            "name": "merge",
            "summary": MergeOptions.info.summary,
            "source": MergeOptions.info.source,
            "cost": MergeOptions.info.cost,
            "default": False,
            "options_schema": MergeOptions.model_json_schema(),
        }
    )

    name: str
    summary: str
    source: str
    cost: str
    default: bool = Field(description="Whether lineages follow it that name none.")
    options_schema: Mapping[str, JsonValue]

    @classmethod
    def of(cls, name: str, options: type[FollowedOptions]) -> "StrategyBody":
        """The body of a strategy's options."""
        info = options.info
        schema = options.model_json_schema()
        return cls(
            name=name,
            summary=info.summary,
            source=info.source,
            cost=info.cost,
            default=name == DEFAULT_STRATEGY.name,
            options_schema=schema,
        )


class StrategyPage(PageBody[StrategyBody]):
    """All strategies."""

    model_config = page_example(StrategyBody)

    @classmethod
    def of_all(cls) -> "StrategyPage":
        """The strategies that this version of Palimpsest has."""
        return cls(items=[StrategyBody.of(name, options) for name, options in FOLLOWED.items()], next_cursor=None)


def _without_nul(manifest: BaseModelManifest) -> BaseModelManifest:
    if "\\u0000" in manifest.model_dump_json():
        raise ValueError("must not contain the character U+0000")
    return manifest


class NewBaseModelBody(Value):
    """A base model to register."""

    model_config = example(
        {
            "source": "/srv/models/icons-64",
            "manifest": {"name": "icons-64", "family": "sd", "resolution": 64, "rare_tokens": ["zvx", "qpw"]},
        }
    )

    source: Text = Field(
        min_length=1,
        max_length=1000,
        description="The folder or checkpoint of the pipeline, as workers see it, or its hub id.",
    )
    manifest: Annotated[BaseModelManifest, AfterValidator(_without_nul)]


class BaseModelBody(Value):
    """A base model that lineages can stand on."""

    model_config = example(
        {
            "name": "icons-64.3",
            "alias": "icons-64",
            "fingerprint": SHA256,
            "retired": False,
            "manifest": BaseModelManifest.model_validate(
                {"name": "icons-64", "family": "sd", "resolution": 64, "rare_tokens": ["zvx", "qpw"]}
            ).model_dump(mode="json"),
            "created_at": EARLIER,
        }
    )

    name: str
    alias: str | None = Field(description="Another name, which the newest version of this base model has.")
    fingerprint: str | None = Field(description="Of the weights that were found last; null before a worker has looked.")
    retired: bool = Field(description="Whether the weights that the name stands for have been replaced.")
    manifest: BaseModelManifest
    created_at: datetime

    @classmethod
    def of(cls, row: BaseModelRow) -> "BaseModelBody":
        """The body of a row; where the weights are is nobody's business."""
        return cls(
            name=row.name,
            alias=row.alias,
            fingerprint=row.found_fingerprint,
            retired=is_retired(row),
            manifest=row.manifest,
            created_at=row.created_at,
        )


class BaseModelPage(PageBody[BaseModelBody]):
    """All base models."""

    model_config = page_example(BaseModelBody)


class LiveBody(Value):
    """This process answers, and runs this version of Palimpsest."""

    model_config = example({"status": "ok", "version": VERSION})

    status: Literal["ok"] = "ok"
    version: str = VERSION


class ReadyBody(Value):
    """Requests can be answered. Degraded: jobs are accepted, but wait until the broker is back."""

    model_config = example({"status": "ready", "version": VERSION, "postgres": True, "storage": True, "broker": True})

    status: Literal["ready", "degraded"]
    version: str = VERSION
    postgres: bool
    storage: bool
    broker: bool
