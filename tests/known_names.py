"""A hook of schemathesis: puts names of things that are there into most generated requests.

Hardly any generated id names anything, so that without it most answers would be 404. The names come as JSON in the
environment: for each parameter, of a path or of a body, what may stand for it.
"""

import json
import os
import zlib
from typing import Any

import schemathesis
from schemathesis import HookContext

VARIABLE = "PALIMPSEST_FUZZ_NAMES"

_NAMES: dict[str, list[str]] = json.loads(os.environ.get(VARIABLE, "{}"))
# So many of ten requests name something that is there; of those that delete it, fewer, or all would soon be gone.
_OF_TEN = 8
_OF_TEN_DELETIONS = 1


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """The path with names that are there; None for a path without parameters."""
    if path_parameters is None:
        return None
    is_deletion = context.operation is not None and context.operation.method.upper() == "DELETE"
    return _named(path_parameters, _OF_TEN_DELETIONS if is_deletion else _OF_TEN)


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """The body, if it is one with fields, with names that are there."""
    return _named(body, _OF_TEN) if isinstance(body, dict) else body


def _named(values: dict[str, Any], of_ten: int) -> dict[str, Any]:
    """Chosen by what was generated, so that a run with the same seed is the same."""
    draw = zlib.crc32(repr(sorted(values.items(), key=repr)).encode(errors="surrogatepass"))
    if draw % 10 >= of_ten:
        return values
    # One draw for all names: the concept that goes with the lineage, most of the time.
    return {name: _pick(name, draw // 10, value) for name, value in values.items()}


def _pick(name: str, draw: int, otherwise: Any) -> Any:
    names = _NAMES.get(name)
    return names[draw % len(names)] if names else otherwise
