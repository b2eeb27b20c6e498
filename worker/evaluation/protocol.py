"""What is drawn for a cell of the matrix: the same prompts and the same noises for every version."""

import hashlib
import json
from dataclasses import asdict, dataclass

from app.domain.concepts import TaughtConcept
from app.domain.evaluations import EvaluationProtocol
from worker.models.base import Sampling


@dataclass(frozen=True)
class Shot:
    """One picture that is wanted: how it is drawn, and the seed of its noise."""

    sampling: Sampling
    seed: int

    def key(self, version_key: str) -> str:
        """The sha256 of all that the picture is a function of; `version_key` is the version's."""
        about = {"version": version_key, "seed": self.seed, **asdict(self.sampling)}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def shots(protocol: EvaluationProtocol, taught: TaughtConcept, resolution: int) -> tuple[Shot, ...]:
    """The pictures of a cell: prompt after prompt, and for each prompt sample after sample."""
    return tuple(
        Shot(
            Sampling(
                prompt=prompt,
                negative_prompt=None,
                steps=protocol.steps,
                guidance_scale=protocol.guidance_scale,
                width=resolution,
                height=resolution,
            ),
            protocol.seed + sample,
        )
        for prompt in protocol.prompts(taught)
        for sample in range(protocol.samples_per_prompt)
    )
