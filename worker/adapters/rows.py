"""Row adapters: one forward pass of a denoiser whose rows belong to different states.

A *state* is what is added to the base: nothing, a version's accumulated update D, or factors in training. Each adapted
projection computes `x W0'` once for all rows and adds each row's own update, as S-LoRA (arXiv 2311.03285) does for
language models. So pictures of several versions share a pass, and so can trainings: gradients reach each state's own
factors. D stays low-rank terms wherever it is a sum of such, and is dense where it is not (`magnitude`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.adapters.accumulated import LineageState, projection_of
from worker.adapters.factors import Adapter
from worker.models.projections import Projection

# Singular values of a chain's update below this share of the largest are rounding errors of fp32.
_NEGLIGIBLE = 1e-7


@dataclass(frozen=True)
class LowRank:
    """The update `b @ a` of one projection: `a` is r x d_in, `b` is d_out x r, the scale folded into it."""

    a: Tensor
    b: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return self.b.shape[0], self.a.shape[1]

    def dense(self) -> Tensor:
        """The update as a matrix, d_out x d_in."""
        return self.b @ self.a


@dataclass(frozen=True)
class Dense:
    """An update of full rank: `delta` is d_out x d_in."""

    delta: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return self.delta.shape[0], self.delta.shape[1]

    def dense(self) -> Tensor:
        """The update as a matrix, d_out x d_in."""
        return self.delta


State = Mapping[str, LowRank | Dense]
"""The update of each module that a state changes, by path. The base's is empty."""


def state_of(lineage: LineageState) -> State:
    """The state of a version: low-rank where its D is a sum of adapters' terms, dense elsewhere. fp32 on the CPU."""
    return {
        name: Dense(delta) if (terms := lineage.terms.get(name)) is None else joined(name, terms)
        for name, delta in lineage.update.items()
    }


def joined(name: str, terms: Sequence[Adapter]) -> LowRank | Dense:
    """The sum of the adapters' terms in one module, exact up to rounding, in whichever form is cheaper to apply.

    Terms are laid side by side: `[s_1 B_1, ..] [A_1; ..]`. Where that rank exceeds what the shape can have, QR and the
    SVD of the small core bring it down to what is left.
    """
    a = torch.cat([term.modules[name].a for term in terms])
    b = torch.cat([term.scale * term.modules[name].b for term in terms], dim=1)
    whole = LowRank(a, b)
    if len(a) > min(whole.shape):
        whole = _compressed(whole)
    return whole if _is_cheaper(whole) else Dense(b @ a)


def _is_cheaper(update: LowRank) -> bool:
    outputs, inputs = update.shape
    return len(update.a) * (outputs + inputs) < outputs * inputs


def _compressed(update: LowRank) -> LowRank:
    """The same product with no more rank than it has: `b a = Q_b (R_b R_a') Q_a'`."""
    q_a, r_a = torch.linalg.qr(update.a.double().T)
    q_b, r_b = torch.linalg.qr(update.b.double())
    u, s, vh = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    kept = int((s > _NEGLIGIBLE * s.max()).sum())
    b, a = q_b @ (u[:, :kept] * s[:kept]), vh[:kept] @ q_a.T
    return LowRank(a.to(update.a.dtype), b.to(update.b.dtype))


@contextmanager
def rows(denoiser: nn.Module, states: Sequence[State], of_row: Sequence[int]) -> Iterator[None]:
    """Within it, row n of a batch computes with `W0 + D` of `states[of_row[n]]`.

    A batch may have a multiple of `len(of_row)` rows: guidance doubles it, and each copy has the same states in order.
    Nothing is written to the base. States that have no row cost nothing. Gradients reach the states' tensors.

    Raises:
        UpdateMismatchError: a module is missing, or an update has another shape; the base is then untouched.
    """
    used = sorted(set(of_row))
    by_module: dict[str, dict[int, LowRank | Dense]] = {}
    for index in used:
        for path, update in states[index].items():
            by_module.setdefault(path, {})[index] = update
    modules = {
        path: projection_of(denoiser, path, update.shape) for path, own in by_module.items() for update in own.values()
    }
    with ExitStack() as stack:
        for path, own in by_module.items():
            hook = _Hook(_parts(modules[path], own, of_row), len(of_row))
            stack.callback(modules[path].register_forward_hook(hook).remove)
        yield


class _Part(Protocol):
    """What some rows of one projection add to its output."""

    def added_to(self, output: Tensor, module: Projection, x: Tensor, rows: int) -> Tensor:
        """The output with it; `x` is the input of the whole batch, whose states repeat every `rows` rows."""


def _parts(module: Projection, own: Mapping[int, LowRank | Dense], of_row: Sequence[int]) -> list[_Part]:
    """Low-rank updates of a linear layer are stacked; each other state adds its update by itself."""
    device = module.weight.device
    own = {index: _moved(update, device) for index, update in own.items()}
    stacked = {
        index: update for index, update in own.items() if isinstance(update, LowRank) and isinstance(module, nn.Linear)
    }
    if len(stacked) == len(own) and (blocks := _blocks(stacked, of_row)) is not None:
        return [blocks]
    parts: list[_Part] = []
    if stacked:
        place_in_stack = {index: place for place, index in enumerate(stacked)}
        covered = [n for n, state in enumerate(of_row) if state in stacked]
        which = torch.tensor([place_in_stack[of_row[n]] for n in covered], device=device)
        parts.append(_Stacked(torch.tensor(covered, device=device), which, tuple(stacked.values())))
    for index in own.keys() - stacked.keys():
        places = torch.tensor([n for n, state in enumerate(of_row) if state == index], device=device)
        parts.append(_Single(places, own[index]))
    return parts


def _moved(update: LowRank | Dense, device: torch.device) -> LowRank | Dense:
    if isinstance(update, Dense):
        return Dense(update.delta.to(device))
    return LowRank(update.a.to(device), update.b.to(device))


@dataclass(frozen=True)
class _Hook:
    """A forward hook of one projection: its output and what each part adds to the rows that are its own."""

    parts: Sequence[_Part]
    rows: int

    def __call__(self, module: Projection, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (x,) = args
        if len(x) % self.rows:
            raise ValueError(f"a batch of {len(x)} rows for states of {self.rows}")
        for part in self.parts:
            output = part.added_to(output, module, x, self.rows)
        return output


def _stack(updates: Sequence[LowRank]) -> tuple[Tensor, Tensor]:
    """Padded to one rank r: a is S x r x d_in, b is S x d_out x r."""
    rank = max(len(update.a) for update in updates)
    a = torch.stack([F.pad(update.a, (0, 0, 0, rank - len(update.a))) for update in updates])
    b = torch.stack([F.pad(update.b, (0, rank - update.b.shape[1])) for update in updates])
    return a, b


def _blocks(updates: Mapping[int, LowRank], of_row: Sequence[int]) -> "_Blocks | None":
    """None where something is in training, and where rows do not stand state by state, as many of each."""
    in_order = list(dict.fromkeys(of_row))
    each = len(of_row) // len(in_order)
    is_even = list(of_row) == [state for state in in_order for _ in range(each)]
    is_trained = any(update.a.requires_grad or update.b.requires_grad for update in updates.values())
    if is_trained or not is_even or set(in_order) != set(updates):
        return None
    return _Blocks(*_stack([updates[state] for state in in_order]))


@dataclass(frozen=True)
class _Blocks:
    """Fixed low-rank updates of a linear layer for rows in blocks, a state each: none is picked, products are large.

    `a` is S x r x d_in, `b` is S x d_out x r.
    """

    a: Tensor
    b: Tensor

    # Part of what every part is called with: only `_Single` needs the layer, for convolutions.
    def added_to(self, output: Tensor, module: Projection, x: Tensor, rows: int) -> Tensor:  # noqa: ARG002
        copies = len(x) // rows
        blocks = x.reshape(copies * len(self.a), -1, x.shape[-1]).float()
        narrow = torch.bmm(blocks, self.a.repeat(copies, 1, 1).mT)
        delta = torch.bmm(narrow, self.b.repeat(copies, 1, 1).mT)
        return output + delta.view(output.shape).to(output.dtype)


@dataclass(frozen=True)
class _Picked(ABC):
    """What is added to some rows alone: they are picked from the batch, and their part is put back."""

    places: Tensor

    def added_to(self, output: Tensor, module: Projection, x: Tensor, rows: int) -> Tensor:
        copies = len(x) // rows
        places = torch.cat([self.places + copy * rows for copy in range(copies)])
        delta = self.delta(module, x.index_select(0, places).float(), copies)
        return output.index_add(0, places, delta.to(output.dtype))

    @abstractmethod
    def delta(self, module: Projection, x: Tensor, copies: int) -> Tensor:
        """What those rows add, of the shape of their output; `x` is their input, `copies` times over."""


@dataclass(frozen=True)
class _Stacked(_Picked):
    """Low-rank updates of several states in one linear layer, padded to one rank: two batched products."""

    which: Tensor
    updates: Sequence[LowRank]

    def delta(self, module: Projection, x: Tensor, copies: int) -> Tensor:  # noqa: ARG002
        which = self.which.repeat(copies)
        # Stacked in each pass: what is in training changes between passes, and gradients have to go through.
        a, b = _stack(self.updates)
        flat = x.reshape(len(x), -1, x.shape[-1])
        added = torch.bmm(torch.bmm(flat, a[which].mT), b[which].mT)
        return added.reshape(*x.shape[:-1], -1)


@dataclass(frozen=True)
class _Single(_Picked):
    """One state's update: dense, or of a convolution."""

    update: LowRank | Dense

    def delta(self, module: Projection, x: Tensor, copies: int) -> Tensor:  # noqa: ARG002
        if isinstance(module, nn.Linear):
            return F.linear(x, self.update.dense())
        if isinstance(self.update, Dense) or module.groups != 1:
            return _convolved(module, x, self.update.dense().view_as(module.weight))
        narrow = _convolved(module, x, self.update.a.view(-1, *module.weight.shape[1:]))
        return F.conv2d(narrow, self.update.b[:, :, None, None])


def _convolved(module: nn.Conv2d, x: Tensor, kernel: Tensor) -> Tensor:
    """The convolution that the module does, with another kernel and no bias."""
    if module.padding_mode != "zeros":
        x = F.pad(x, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        return F.conv2d(x, kernel, None, module.stride, 0, module.dilation, module.groups)
    return F.conv2d(x, kernel, None, module.stride, module.padding, module.dilation, module.groups)
