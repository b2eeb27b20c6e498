"""The API's answers as far as the demo reads them; a client of its own, so it knows nothing of `app.api`."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, JsonValue


class Body(BaseModel):
    """An answer's body. Fields that the demo does not read may come and go."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CreatedUser(Body):
    """A user with the first key."""

    id: str
    key: str


class Concept(Body):
    """An uploaded concept."""

    id: str
    name: str


class Canvas(Body):
    """The sides that pictures may have."""

    max_side: int


class Manifest(Body):
    """What is known of a base model."""

    resolution: int
    canvas: Canvas | None = None

    @property
    def wide(self) -> int | None:
        """The width of a picture with room for two things, if the base draws such pictures."""
        width = 2 * self.resolution
        return width if self.canvas is not None and self.canvas.max_side >= width else None


class BaseModelBody(Body):
    """A base model."""

    name: str
    manifest: Manifest


class BaseModels(Body):
    """All that there are."""

    items: tuple[BaseModelBody, ...]


class Strategy(Body):
    """A continual strategy."""

    name: str
    summary: str = ""


class Strategies(Body):
    """All that there are."""

    items: tuple[Strategy, ...]


class Lineage(Body):
    """A lineage with its strategy and the training options that it was given."""

    id: str
    name: str
    base_model: str
    strategy: Strategy
    training: dict[str, JsonValue]


class Progress(Body):
    """How far a job is."""

    step: int
    total_steps: int
    eta_seconds: float | None
    loss: float | None


class Fault(Body):
    """Why a job failed."""

    title: str
    detail: str


class JobResult(Body):
    """What a job makes: a version or a generation."""

    version: int | None = None
    generation_id: str | None = None


class Job(Body):
    """A job."""

    id: str
    kind: str
    status: str
    phase: str | None
    progress: Progress
    queue_position: int | None
    error: Fault | None
    result: JobResult | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in {"succeeded", "failed", "canceled"}

    @property
    def seconds(self) -> float:
        """From the start to the end; 0 unless both are there."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.started_at).total_seconds()


class Adapter(Body):
    """What a version's own task has learned, as it is stored."""

    sha256: str
    size_bytes: int


class Provenance(Body):
    """What a version is a function of, as far as the report shows it."""

    base_fingerprint: str
    parent_adapter_sha256: str | None
    instance_prompt: str
    final_loss: float
    training_seconds: float
    machine: dict[str, JsonValue]


class Version(Body):
    """A version. Version 0 is the base: it has neither adapter nor provenance."""

    version: int
    parent: int | None
    adapter: Adapter | None
    provenance: Provenance | None


class Generation(Body):
    """A generation and where its pictures are."""

    class Image(Body):
        """One picture."""

        url: str

    id: str
    version: int
    prompt: str
    resolved_prompt: str
    seed: int
    steps: int
    guidance_scale: float
    images: tuple[Image, ...] = ()
