"""From another tool's file to an adapter of this base: names resolved, updates computed, ranks and sizes bounded."""

import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.adapter_files.fault_kinds import Faults
from app.adapter_files.header import read_header
from app.adapter_files.reading import AdapterFile, FileModule, read_adapter
from app.adapter_files.stability import Layout, stability_name
from app.adapter_files.tensor_names import Part
from app.domain.adapters import ImportOptions, ScaleSource, UsedScale
from app.domain.errors import InvalidAdapterError
from worker.adapters.factors import Adapter, Factors
from worker.adapters.methods import PartsMismatchError, Product, update_of
from worker.adapters.tensor_file import TensorFileError, unpack
from worker.models.projections import Projection

MAX_BYTES = 2 * 1024**3
"""Of an import's factors: more than any LoRA of SDXL has, and less than its whole update."""
# An update that outweighs its layer by so much leaves nothing of the base, and overflows in some precision.
_MAX_TIMES_OF_LAYER = 1000.0
_MAX_USED_SCALES = 20


@dataclass(frozen=True)
class Imported:
    """The adapter, at scale 1, what the file was, which scales were used, and what a cut of ranks left out.

    `relative_error` is `|D - BA|_F / |D|_F` over all modules; 0 where nothing was cut.
    """

    adapter: Adapter
    file: AdapterFile
    scales: tuple[UsedScale, ...]
    relative_error: float


def import_adapter(data: bytes, denoiser: nn.Module, options: ImportOptions) -> Imported:
    """The adapter in a file of another tool: `B A` of each module is the update that the file means for it.

    Raises:
        InvalidAdapterError: the file is no adapter, or not of this base; one fault for each kind of fault.
    """
    file = read_adapter(read_header(io.BytesIO(data), len(data)), options)
    reading = _Computing(file, _tensors(data), denoiser, options)
    modules = dict(sorted(reading.modules()))
    if modules and reading.cut.energy == 0:
        reading.faults.add("zero", "file", "its update is zero everywhere, so that it would change nothing")
    reading.faults.insist_on_none()
    scales = tuple(
        UsedScale(scale=scale, source=source, modules=count)
        for (scale, source), count in reading.scales.most_common(_MAX_USED_SCALES)
    )
    return Imported(Adapter(1.0, modules), file, scales, reading.cut.relative_error())


def _tensors(data: bytes) -> Mapping[str, Tensor]:
    try:
        return unpack(data)[0]
    except TensorFileError as error:
        raise InvalidAdapterError(f"The file cannot be imported: {error}.") from error


def layer_paths(denoiser: nn.Module) -> dict[str, str]:
    """Each layer's path by its names in files, with `_` for dots: diffusers' own, and Stability's."""
    layers = [path for path, module in denoiser.named_modules() if isinstance(module, Projection)]
    layout = _layout(denoiser)
    others = {other: path for path in layers if layout is not None and (other := stability_name(layout, path))}
    # Old files of diffusers leave out the number.
    shortened = {path.removesuffix(".0"): path for path in layers if path.endswith(".to_out.0")}
    names = {**others, **shortened, **{path: path for path in layers}}
    return {name.replace(".", "_"): path for name, path in names.items()}


def _layout(denoiser: nn.Module) -> Layout | None:
    config = getattr(denoiser, "config", None)
    layers: object = getattr(config, "layers_per_block", None)
    if not isinstance(layers, int):
        return None
    blocks = getattr(denoiser, "up_blocks", ())
    return Layout(layers, frozenset(n for n, block in enumerate(blocks) if hasattr(block, "attentions")))


@dataclass(frozen=True)
class _Cut:
    """Energies `|D|_F^2` over all modules, before ranks are cut and after."""

    energy: float = 0.0
    kept: float = 0.0

    def relative_error(self) -> float:
        return math.sqrt(max(1 - self.kept / self.energy, 0.0)) if self.energy > 0 else 0.0


class _Computing:
    """One reading of a file's tensors."""

    def __init__(
        self, file: AdapterFile, tensors: Mapping[str, Tensor], denoiser: nn.Module, options: ImportOptions
    ) -> None:
        self._file = file
        self._tensors = tensors
        self._denoiser = denoiser
        self._options = options
        self._bytes = 0
        self.faults = Faults(subject=" and ".join(file.methods()))
        self.scales: Counter[tuple[float, ScaleSource]] = Counter()
        self.cut = _Cut()

    def modules(self) -> Iterator[tuple[str, Factors]]:
        """The factors by the layers' paths, of all that fit."""
        paths = layer_paths(self._denoiser)
        seen: set[str] = set()
        for module in self._file.modules:
            path = paths.get(module.layer)
            if path is None:
                self.faults.add("layer", module.name, "the base model has no such linear or convolutional layer")
            elif path in seen:
                self.faults.add("again", module.name, f"{path} has an update under another name already")
            elif (factors := self._factors(module, path)) is not None:
                yield path, factors
            seen.update([] if path is None else [path])

    def _factors(self, module: FileModule, path: str) -> Factors | None:
        layer = self._denoiser.get_submodule(path)
        assert isinstance(layer, Projection)
        weight = layer.weight.detach().to("cpu", torch.float32)
        parts = {part: self._tensors[name].to(torch.float32) for part, name in module.parts.items()}
        scale = self._scale(module, parts)
        if scale is None:
            return None
        try:
            update = update_of(module.method, parts, weight, scale * self._options.strength)
        except PartsMismatchError as error:
            self.faults.add("fit", module.name, str(error))
            return None
        if fault := _too_large(update, weight):
            self.faults.add("numbers", module.name, fault)
            return None
        self.scales[(scale, module.scale.source)] += 1
        return self._kept(module, update, layer)

    def _scale(self, module: FileModule, parts: Mapping[Part, Tensor]) -> float | None:
        alpha = float(parts[Part.ALPHA]) if Part.ALPHA in parts else None
        scale = module.scale.of(module.rank, alpha)
        if scale != 0 and math.isfinite(scale):
            return scale
        message = f"its alpha is {alpha}; send alpha or scale to say what it should be"
        self.faults.add("alpha", module.name, message)
        return None

    def _kept(self, module: FileModule, update: Product | Tensor, layer: Projection) -> Factors | None:
        factors, energy, kept = self._cut_to_rank(update)
        self.cut = _Cut(self.cut.energy + energy, self.cut.kept + kept)
        self._bytes += 4 * (factors.a.numel() + factors.b.numel())
        if self._bytes > MAX_BYTES:
            self.faults.add("size", module.name, f"with it the factors exceed {MAX_BYTES:,} bytes: send max_rank")
            return None
        return Factors(factors.a.contiguous(), factors.b.contiguous(), _kernel(layer))

    def _cut_to_rank(self, update: Product | Tensor) -> tuple[Product, float, float]:
        """With the energies of the update and of what is kept."""
        if isinstance(update, Product) and update.a.shape[0] > min(update.b.shape[0], update.a.shape[1]):
            update = update.whole()
        limit = self._options.max_rank
        rank = update.a.shape[0] if isinstance(update, Product) else min(update.shape)
        if limit is None or rank <= limit:
            energy = _norm(update) ** 2
            return update if isinstance(update, Product) else _exact_factors(update), energy, energy
        return _best(update, limit)


def _exact_factors(update: Tensor) -> Product:
    """A matrix as a product of itself and a unit matrix."""
    d_out, d_in = update.shape
    return Product(torch.eye(d_in), update) if d_in <= d_out else Product(update, torch.eye(d_out))


def _best(update: Product | Tensor, rank: int) -> tuple[Product, float, float]:
    """The nearest product of that rank (Eckart and Young, 1936), and the energies of the update and of what is kept."""
    if isinstance(update, Product):
        q_a, r_a = torch.linalg.qr(update.a.T.double())
        q_b, r_b = torch.linalg.qr(update.b.double())
        left, values, right = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
        left, right = q_b @ left, right @ q_a.T
    else:
        left, values, right = torch.linalg.svd(update.double(), full_matrices=False)
    roots = values[:rank].sqrt()
    best = Product((roots[:, None] * right[:rank]).float(), (left[:, :rank] * roots).float())
    return best, float(values.square().sum()), float(values[:rank].square().sum())


def _too_large(update: Product | Tensor, weight: Tensor) -> str | None:
    """Why the numbers of an update cannot be used, if so."""
    parts = (update.a, update.b) if isinstance(update, Product) else (update,)
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        return "a value is infinite or not a number"
    norm = _norm(update)
    # The layer's own norm only where it matters: of a large base it takes seconds.
    if norm > _MAX_TIMES_OF_LAYER and norm > _MAX_TIMES_OF_LAYER * (own := max(float(weight.double().norm()), 1.0)):
        return f"its update has {norm / own:.3g} times the weight of its layer; is its scale right?"
    return None


def _norm(update: Product | Tensor) -> float:
    """`|D|_F`, of a product from its small Gram matrices."""
    if not isinstance(update, Product):
        return float(update.double().norm())
    a, b = update.a.double(), update.b.double()
    return math.sqrt(max(float(((a @ a.T) * (b.T @ b)).sum()), 0.0))


def _kernel(layer: Projection) -> tuple[int, int] | None:
    return (layer.weight.shape[2], layer.weight.shape[3]) if isinstance(layer, nn.Conv2d) else None
