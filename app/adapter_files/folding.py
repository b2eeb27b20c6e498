"""From a chain of stored adapters to one pair of factors for each module.

Each stored adapter has the factors A (r x d_in) and B (d_out x r) of the modules it adapts, and a scale s beside them.
A sum of updates is one product of concatenated factors, exactly: `s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2]`. What
is to have a lower rank, or is no sum, becomes the best product of that rank there is (Eckart and Young, 1936).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from app.domain.chains import Term, surviving, surviving_terms
from app.domain.errors import Fault, InvalidInputError, StorageError
from app.domain.strategies import StrategyOptions

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]

# Of stored adapters, whatever the family of their base.
_PREFIX = "unet."
A, B = ".lora_A.weight", ".lora_B.weight"
_LENGTH_BYTES = 8

# Directions beside those that are wanted, and rounds, of the randomised search for them; it is taken for matrices that
# are larger by this factor.
_OVERSAMPLING = 16
_POWER_ITERATIONS = 4
_WORTH_IT = 3


@dataclass(frozen=True)
class Link:
    """One version of a chain: how it was learned, and its adapter's bytes."""

    strategy: StrategyOptions
    data: bytes


@dataclass(frozen=True)
class ArrayFactors:
    """The factors of one module, with the scale folded into `b`; a convolution's have its kernel's four dimensions."""

    a: Array
    b: Array

    def product(self) -> Matrix:
        """`B A`, d_out x d_in."""
        return _flat(self.b) @ _flat(self.a)


@dataclass(frozen=True)
class Folded:
    """A version's update as factors by module, and the energies `|D|_F^2` of all modules: what there is, what is kept.

    Both energies are 0 where nothing had to be left out.
    """

    modules: Mapping[str, ArrayFactors]
    energy: float = 0.0
    kept_energy: float = 0.0


def fold(chain: Sequence[Link], max_rank: int | None) -> Folded:
    """The chain's update: exactly, or with `max_rank` as the best update of at most that rank in each module.

    Raises:
        InvalidInputError: the update is no product of factors, and there is no `max_rank`.
        StorageError: an adapter is not of the format that workers write.
    """
    links = [chain[place] for place in surviving([link.strategy for link in chain])]
    adapters = [_read(link.data) for link in links]
    terms = surviving_terms([(link.strategy, adapter) for link, adapter in zip(links, adapters, strict=True)])
    if max_rank is not None:
        return _lowered(adapters, terms, max_rank)
    for own in terms.values():
        if selecting := [term for term in own if term.selects]:
            raise _needs_a_rank(links[selecting[0].place].strategy.name)
    return Folded({name: _concatenated(_parts(adapters, name, own)) for name, own in terms.items()})


def _needs_a_rank(strategy: str) -> InvalidInputError:
    return InvalidInputError(
        f"Strategy {strategy} selects between its update and the earlier ones, weight by weight. That makes an update "
        "of full rank, and an adapter file holds a low one. Give the rank of the nearest one as max_rank.",
        (Fault(field="max_rank", message=f"needed for a version that strategy {strategy} had a part in"),),
    )


def _parts(adapters: Sequence[Mapping[str, ArrayFactors]], name: str, terms: Sequence[Term]) -> list[ArrayFactors]:
    return [adapters[term.place][name] for term in terms]


def _read(data: bytes) -> dict[str, ArrayFactors]:
    try:
        tensors, scale = load(data), float(_metadata(data)["scale"])
        modules = sorted(key.removeprefix(_PREFIX).removesuffix(A) for key in tensors if key.endswith(A))
        return {
            name: ArrayFactors(tensors[_PREFIX + name + A], np.float32(scale) * tensors[_PREFIX + name + B])
            for name in modules
        }
    except (KeyError, ValueError, SafetensorError) as error:
        raise StorageError("A stored adapter is not of the format that workers write.") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The header's texts; safetensors reads them from files only, not from bytes."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    metadata: dict[str, str] = json.loads(data[_LENGTH_BYTES:end])["__metadata__"]
    return metadata


def _concatenated(parts: Sequence[ArrayFactors]) -> ArrayFactors:
    return ArrayFactors(np.concatenate([part.a for part in parts]), np.concatenate([part.b for part in parts], axis=1))


def _lowered(
    adapters: Sequence[Mapping[str, ArrayFactors]], terms: Mapping[str, Sequence[Term]], max_rank: int
) -> Folded:
    modules, energy, kept = {}, 0.0, 0.0
    for name, own in terms.items():
        parts = _parts(adapters, name, own)
        selects = [term.selects for term in own]
        best = _best(parts, selects, max_rank) if any(selects) else _best_of_sum(parts, max_rank)
        modules[name] = best.factors
        energy += best.energy
        kept += best.kept_energy
    return Folded(modules, energy, kept)


@dataclass(frozen=True)
class _Lowered:
    """One module's best factors of a rank, with the energies of what they stand for and of what they are."""

    factors: ArrayFactors
    energy: float
    kept_energy: float


def _best_of_sum(parts: Sequence[ArrayFactors], rank: int) -> _Lowered:
    """Of a sum of products, from small matrices alone."""
    whole = _concatenated(parts)
    q_a, r_a = np.linalg.qr(_flat(whole.a).T)
    q_b, r_b = np.linalg.qr(_flat(whole.b))
    left, values, right = np.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return _cut(_energy(values), (q_b @ left, values, right @ q_a.T), rank, whole)


def _best(parts: Sequence[ArrayFactors], selects: Sequence[bool], rank: int) -> _Lowered:
    """Of a matrix of full rank, which is replayed for it."""
    deltas = [(part.product(), chosen) for part, chosen in zip(parts, selects, strict=True)]

    def consolidated(old: Matrix, new: tuple[Matrix, bool]) -> Matrix:
        delta, is_selected = new
        return np.where(np.abs(delta) >= np.abs(old), delta, old) if is_selected else old + delta

    d = reduce(consolidated, deltas[1:], deltas[0][0])
    return _cut(_energy(d), _leading(d, rank), rank, parts[0])


def _leading(d: Matrix, rank: int) -> tuple[Matrix, Matrix, Matrix]:
    """The heaviest `rank` singular triplets of `d`, and some more.

    Of a large matrix all of them take a second, and SDXL has hundreds: there, by a randomised range finder with power
    iterations (Halko, Martinsson and Tropp 2011, algorithm 4.4). Its triplets are those of `d` within the range that it
    found, so the energy that they keep is exact, and what they miss is too.
    """
    width = rank + _OVERSAMPLING
    if _WORTH_IT * width > min(d.shape):
        return np.linalg.svd(d, full_matrices=False)
    # The same draw each time: an export is a function of its chain.
    q = np.linalg.qr(d @ np.random.default_rng(0).standard_normal((d.shape[1], width))).Q
    for _ in range(_POWER_ITERATIONS):
        q = np.linalg.qr(d @ np.linalg.qr(d.T @ q).Q).Q
    left, values, right = np.linalg.svd(q.T @ d, full_matrices=False)
    return q @ left, values, right


def _energy(matrix: Matrix) -> float:
    return float(np.square(matrix).sum())


def _cut(energy: float, triplets: tuple[Matrix, Matrix, Matrix], rank: int, like: ArrayFactors) -> _Lowered:
    """The heaviest `rank` triplets as factors of equal norms, in the dimensions of the layer of `like`."""
    left, values, right = (triplets[0][:, :rank], triplets[1][:rank], triplets[2][:rank])
    roots = np.sqrt(values)
    a = (roots[:, None] * right).reshape(-1, *like.a.shape[1:])
    b = (left * roots).reshape(like.b.shape[0], -1, *like.b.shape[2:])
    return _Lowered(ArrayFactors(a.astype(np.float32), b.astype(np.float32)), energy, _energy(values))


def _flat(factor: Array) -> Matrix:
    return factor.reshape(factor.shape[0], -1).astype(np.float64)
