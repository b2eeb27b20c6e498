"""What a file's tensors mean for one layer: its update D, as factors where the method gives some, else as a matrix.

Formulas as the tools compute them: LyCORIS 3 (arXiv 2309.14859) and peft. All in fp32, kernels flattened.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.adapter_files.tensor_names import Part
from app.domain.adapters import Method

Parts = Mapping[Part, Tensor]


class PartsMismatchError(ValueError):
    """The parts make no update of this layer."""


@dataclass(frozen=True)
class Product:
    """`b a`: `a` is r x d_in, `b` is d_out x r."""

    a: Tensor
    b: Tensor

    def scaled(self, scale: float) -> "Product":
        """The same update, larger."""
        return Product(self.a, scale * self.b)

    def whole(self) -> Tensor:
        """The matrix, d_out x d_in."""
        return self.b @ self.a


def update_of(method: Method, parts: Parts, weight: Tensor, scale: float) -> Product | Tensor:
    """The update of a layer with that weight (fp32, in its own dimensions).

    Raises:
        PartsMismatchError: the parts are not of a layer of this shape.
    """
    try:
        update = _update(method, parts, weight, scale)
    except (RuntimeError, IndexError) as error:
        raise PartsMismatchError(f"a {method} whose parts do not fit together") from error
    d_out, d_in = weight.flatten(1).shape
    found = (update.b.shape[0], update.a.shape[1]) if isinstance(update, Product) else tuple(update.shape)
    if found != (d_out, d_in):
        raise PartsMismatchError(f"an update of {found[0]} x {found[1]} for a layer of {d_out} x {d_in}")
    return update


def _update(method: Method, parts: Parts, weight: Tensor, scale: float) -> Product | Tensor:
    plain = _plain_update(method, parts, weight, scale)
    if Part.DORA_SCALE not in parts and Part.MAGNITUDE not in parts:
        return plain
    return _decomposed(plain.whole() if isinstance(plain, Product) else plain, parts, weight)


def _plain_update(method: Method, parts: Parts, weight: Tensor, scale: float) -> Product | Tensor:
    match method:
        case Method.LORA | Method.DORA:
            return _lora(parts, weight).scaled(scale)
        case Method.LOHA:
            return _loha(parts).scaled(scale)
        case Method.LOKR:
            return scale * _lokr(parts)
        case Method.DIFF:
            return _diff(parts, weight)
        case Method.IA3:
            return _ia3(parts, weight)


def _lora(parts: Parts, weight: Tensor) -> Product:
    """`B A`; with a middle factor, a kernel between them, which joins A: A'[i] = sum_j mid[i, j] down[j]."""
    down, up = parts[Part.DOWN], parts[Part.UP].flatten(1)
    kernel = tuple(down.shape[2:])
    if Part.MID in parts:
        kernel = tuple(parts[Part.MID].shape[2:])
        down = torch.einsum("ijkl,jn->inkl", parts[Part.MID], down.flatten(1))
    if (kernel or (1, 1)) != (tuple(weight.shape[2:]) or (1, 1)):
        raise PartsMismatchError(f"a kernel of {_by(kernel)} for a layer with one of {_by(tuple(weight.shape[2:]))}")
    return Product(down.flatten(1), up)


def _by(kernel: tuple[int, ...]) -> str:
    return " x ".join(map(str, kernel or (1, 1)))


def _loha(parts: Parts) -> Product:
    """`(B1 A1) * (B2 A2)`, elementwise, is one product of rank r1 r2: of rows and of columns, each with each."""
    one = _hadamard_side(parts[Part.HADA_W1_A], parts[Part.HADA_W1_B], parts.get(Part.HADA_T1))
    two = _hadamard_side(parts[Part.HADA_W2_A], parts[Part.HADA_W2_B], parts.get(Part.HADA_T2))
    a = torch.einsum("in,jn->ijn", one.a, two.a).flatten(0, 1)
    b = torch.einsum("mi,mj->mij", one.b, two.b).flatten(1)
    return Product(a, b)


def _hadamard_side(w_a: Tensor, w_b: Tensor, core: Tensor | None) -> Product:
    if core is None:
        return Product(w_b.flatten(1), w_a.flatten(1))
    return Product(torch.einsum("ijkl,jn->inkl", core, w_b).flatten(1), w_a.T)


def _lokr(parts: Parts) -> Tensor:
    """The Kronecker product of two matrices, or of a matrix and a kernel; each may be a product itself."""
    w1 = parts[Part.LOKR_W1] if Part.LOKR_W1 in parts else parts[Part.LOKR_W1_A] @ parts[Part.LOKR_W1_B]
    if Part.LOKR_W2 in parts:
        w2 = parts[Part.LOKR_W2]
    elif Part.LOKR_T2 in parts:
        w2 = torch.einsum("ijkl,im,jn->mnkl", parts[Part.LOKR_T2], parts[Part.LOKR_W2_A], parts[Part.LOKR_W2_B])
    else:
        w2 = parts[Part.LOKR_W2_A].flatten(1) @ parts[Part.LOKR_W2_B].flatten(1)
    if w2.ndim == 4:
        w1 = w1[:, :, None, None]
    return torch.kron(w1.contiguous(), w2.contiguous()).flatten(1)


def _diff(parts: Parts, weight: Tensor) -> Tensor:
    if Part.DIFF_BIAS in parts and bool(parts[Part.DIFF_BIAS].any()):
        raise PartsMismatchError("it changes a bias, which a version does not hold")
    diff = parts[Part.DIFF]
    is_same = diff.shape == weight.shape or 2 in (diff.ndim, weight.ndim)
    if not is_same or diff.shape[0] != weight.shape[0] or diff.numel() != weight.numel():
        raise PartsMismatchError(f"a difference of shape {list(diff.shape)} for a layer of {list(weight.shape)}")
    return diff.reshape(weight.shape).flatten(1)


def _decomposed(delta: Tensor, parts: Parts, weight: Tensor) -> Tensor:
    """DoRA (arXiv 2402.09353): `m (W0 + D) / |W0 + D| - W0`, the norm of each output, in older files of each input.

    Of those the magnitudes are 1 x d_in; peft's are always of the outputs.
    """
    d_out, d_in = weight.shape[:2]
    merged = weight + delta.reshape(weight.shape)
    magnitude = parts[Part.MAGNITUDE] if Part.MAGNITUDE in parts else parts[Part.DORA_SCALE]
    of_input = Part.MAGNITUDE not in parts and magnitude.ndim > 1 and magnitude.shape[0] == 1 and d_out > 1
    rows = merged.transpose(0, 1) if of_input else merged
    ratio = magnitude.flatten() / rows.flatten(1).norm(dim=1)
    shape = (1, d_in) if of_input else (d_out, 1)
    decomposed: Tensor = merged * ratio.reshape(*shape, *(1 for _ in weight.shape[2:])) - weight
    return decomposed.flatten(1)


def _ia3(parts: Parts, weight: Tensor) -> Tensor:
    """`W0 w` for each output or each input; peft writes `1 + w`."""
    d_out, d_in = weight.shape[:2]
    if Part.IA3_FACTOR in parts:
        factor = parts[Part.IA3_FACTOR] - 1
        of_input = factor.ndim > 1 and factor.shape[0] == 1
        if of_input and weight.ndim == 4:
            # Of convolutions peft turns the output's factors round.
            if d_out == d_in:
                raise PartsMismatchError("an IA3 of a convolution, which leaves open whether it is of its input")
            of_input = factor.numel() == d_in
    else:
        factor, of_input = parts[Part.IA3_WEIGHT], bool(parts[Part.IA3_ON_INPUT].any())
    count = d_in if of_input else d_out
    if factor.numel() != count:
        raise PartsMismatchError(f"an IA3 of {factor.numel()} values for a layer of {d_out} x {d_in}")
    shape = (1, d_in) if of_input else (d_out, 1)
    return (weight * factor.reshape(*shape, *(1 for _ in weight.shape[2:]))).flatten(1)
