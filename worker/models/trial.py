"""Load a base model and say why it does not load: `python -m worker.models.trial FAMILY SOURCE`."""

import sys

import torch

from app.domain.base_models import Family
from worker.models.base_model_errors import BaseModelError
from worker.models.loading import load_base


def main(family: str, source: str) -> int:
    """The exit status; a reason is the last line of standard error."""
    try:
        load_base(Family(family), source, torch.device("cpu"), torch.float32)
    except BaseModelError as error:
        sys.stderr.write(f"{' '.join(error.detail.split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
