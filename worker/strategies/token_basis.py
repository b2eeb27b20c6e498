"""A basis of the directions that prompts' tokens point in, the most needed first."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.models.base import TextInputs

# What is left of a token of norm 1, relative to it, that counts as nothing.
_RESIDUAL = 1e-6


@dataclass(frozen=True)
class TokenBasis:
    """M: `q` (d_in x k) with orthonormal columns, in fp64, and the largest residual of a token of norm 1 beside it."""

    q: Tensor
    residual: float


def token_basis(texts: TextInputs, room: int) -> TokenBasis:
    """The span of all tokens as far as there is room for it: the start token first, then words, then padding.

    Each token counts at norm 1: a start token is many times as long as the others, and would drown them. A residual
    under 1e-6 counts as zero, and is told as zero.
    """
    tokens, spoken = texts.tokens.double().cpu(), texts.is_spoken.cpu()
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    q = torch.zeros((tokens.shape[-1], 0), dtype=torch.float64)
    for tier in (unit[:, 0], unit[spoken], unit[~spoken]):
        q = _extended(q, tier, room)
    residual = float(_beside(unit.flatten(0, 1), q).norm(dim=1).max())
    return TokenBasis(q, residual if residual > _RESIDUAL else 0.0)


def _extended(q: Tensor, tokens: Tensor, room: int) -> Tensor:
    """`q` with further columns until no token (n x d_in) is left over, or no room; the most left over comes first."""
    rest = _beside(tokens, q)
    while len(rest) and q.shape[1] < room:
        norms = rest.norm(dim=1)
        worst = int(norms.argmax())
        if norms[worst] <= _RESIDUAL:
            break
        # Once more, or rounding adds up.
        direction = _beside(rest[worst : worst + 1] / norms[worst], q)[0]
        direction = direction / direction.norm()
        q = torch.cat([q, direction[:, None]], dim=1)
        rest = rest - torch.outer(rest @ direction, direction)
    return q


def _beside(tokens: Tensor, q: Tensor) -> Tensor:
    """The tokens less what lies in the span of `q`."""
    return tokens - (tokens @ q) @ q.T
