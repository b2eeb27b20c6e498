"""What a file of another tool holds, told from its header alone: modules, methods, parts that fit, scales."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.adapter_files.fault_kinds import Faults
from app.adapter_files.header import FLOATS, SafetensorsHeader, TensorEntry
from app.adapter_files.scales import Scale, Scales
from app.adapter_files.tensor_names import Part, TensorName, is_text_side, other_method, parse_name
from app.domain.adapters import MAX_RANK, AdapterFormat, ImportOptions, Method, ScaleSource

DORA_PARTS = frozenset({Part.DORA_SCALE, Part.MAGNITUDE})
_HADA = frozenset({Part.HADA_W1_A, Part.HADA_W1_B, Part.HADA_W2_A, Part.HADA_W2_B})
_LOKR_W2 = frozenset({Part.LOKR_W2_A, Part.LOKR_W2_B})
# Each method's sets of parts, of which a module must have one, and what may come with it.
_REQUIRED: dict[Method, tuple[frozenset[Part], ...]] = {
    Method.LORA: (frozenset({Part.DOWN, Part.UP}),),
    Method.LOHA: (_HADA, _HADA | {Part.HADA_T1, Part.HADA_T2}),
    Method.LOKR: tuple(
        frozenset({*one, *two})
        for one in ({Part.LOKR_W1}, {Part.LOKR_W1_A, Part.LOKR_W1_B})
        for two in ({Part.LOKR_W2}, _LOKR_W2, _LOKR_W2 | {Part.LOKR_T2})
    ),
    Method.DIFF: (frozenset({Part.DIFF}),),
    Method.IA3: (frozenset({Part.IA3_WEIGHT, Part.IA3_ON_INPUT}), frozenset({Part.IA3_FACTOR})),
}
_OPTIONAL: dict[Method, frozenset[Part]] = {
    Method.LORA: frozenset({Part.MID}) | DORA_PARTS,
    Method.LOHA: DORA_PARTS,
    Method.LOKR: DORA_PARTS,
    Method.DIFF: frozenset({Part.DIFF_BIAS}),
}
# The tensor, and its axis, whose size is the module's rank.
_RANK_OF = (
    (Part.DOWN, 0),
    (Part.HADA_W1_B, 0),
    # Of a LoKr of two ranks ComfyUI divides by the second.
    (Part.LOKR_W2_B, 0),
    (Part.LOKR_W1_B, 0),
)


@dataclass(frozen=True)
class FileModule:
    """The tensors of one layer by their names in the file, its method and rank, and how its scale is found.

    `layer` is the layer's name without dots; `rank` is None where the method has none.
    """

    layer: str
    method: Method
    parts: Mapping[Part, str]
    rank: int | None
    scale: Scale

    @property
    def name(self) -> str:
        """A tensor's name, by which problems name the module."""
        return min(self.parts.values())


@dataclass(frozen=True)
class AdapterFile:
    """What a file holds for the denoiser, and how many tensors of text encoders were left out."""

    format: AdapterFormat
    modules: tuple[FileModule, ...]
    text_encoder_tensors: int
    empty_modules: int

    def methods(self) -> tuple[Method, ...]:
        """All methods in it; DoRA is one beside that which it is put upon."""
        found = {module.method for module in self.modules}
        is_dora = any(DORA_PARTS & module.parts.keys() for module in self.modules)
        return tuple(sorted(found | {Method.DORA} if is_dora else found))


def read_adapter(header: SafetensorsHeader, options: ImportOptions) -> AdapterFile:
    """The modules that a file's header names.

    Raises:
        InvalidAdapterError: the file is no adapter that is understood; one fault for each kind of fault.
    """
    reading = _Reading(header, options)
    for name in sorted(header.tensors):
        reading.sort_in(name)
    modules = tuple(reading.modules())
    faults = reading.faults
    if reading.text_encoder_tensors and not options.ignore_text_encoder:
        message = "tensors adapt text encoders, which are frozen here: ignore_text_encoder=true leaves them out"
        faults.add("text", "text_encoder", f"{reading.text_encoder_tensors:,} {message}")
    if not modules and not faults:
        faults.add("nothing", "file", "it holds no update of a denoiser")
    faults.insist_on_none()
    return AdapterFile(reading.format(), modules, reading.text_encoder_tensors, reading.empty)


class _Reading:
    """One reading of a header."""

    def __init__(self, header: SafetensorsHeader, options: ImportOptions) -> None:
        self._tensors = header.tensors
        self.faults = Faults()
        self._scales = Scales(header.metadata, options, self.faults)
        self._parts: dict[str, dict[Part, str]] = {}
        self._names: dict[str, TensorName] = {}
        self._formats: Counter[AdapterFormat] = Counter()
        self.text_encoder_tensors = 0
        self.empty = 0

    def format(self) -> AdapterFormat:
        """The one that most names are of."""
        return self._formats.most_common(1)[0][0]

    def sort_in(self, name: str) -> None:
        """Put a tensor to its module."""
        if is_text_side(name):
            self.text_encoder_tensors += 1
            return
        said = parse_name(name)
        if said is None:
            self._refuse(name)
            return
        if said.part not in (Part.ALPHA, Part.IA3_ON_INPUT) and (dtype := self._tensors[name].dtype) not in FLOATS:
            self.faults.add("dtype", name, f"its numbers are {dtype}; those of a factor are one of {', '.join(FLOATS)}")
        if said.part is Part.ALPHA and self._tensors[name].dtype == "BOOL":
            self.faults.add("truth", name, "its alpha is true or false, not a number")
        self._formats[said.format] += 1
        self._names.setdefault(said.layer, said)
        parts = self._parts.setdefault(said.layer, {})
        if said.part in parts:
            self.faults.add("twice", name, f"the same part of the same layer as {parts[said.part]}")
        parts[said.part] = name

    def _refuse(self, name: str) -> None:
        method = other_method(name)
        if method is None:
            self.faults.add("unknown", name, "no part of an adapter")
            return
        self.faults.headline = self.faults.headline or f"The file holds {method}, which cannot be imported."
        self.faults.add(method, name, f"it belongs to {method}, which cannot be imported")

    def modules(self) -> Iterator[FileModule]:
        """The modules whose parts go together, in sorted order."""
        for layer, parts in sorted(self._parts.items()):
            if self._is_empty(parts):
                self.empty += 1
                continue
            method = self._method(parts)
            if method is not None and (module := self._module(layer, method, parts)) is not None:
                yield module

    def _is_empty(self, parts: Mapping[Part, str]) -> bool:
        """Rank 0: tools write it for a layer that they leave alone."""
        tensors = [self._tensors[name] for part, name in parts.items() if part is not Part.ALPHA]
        return bool(tensors) and all(0 in tensor.shape for tensor in tensors)

    def _method(self, parts: Mapping[Part, str]) -> Method | None:
        first = min(parts.values())
        given = parts.keys() - {Part.ALPHA}
        if given == {Part.IA3_WEIGHT} or given == {Part.DIFF_BIAS}:
            message = "no part of an adapter" if Part.IA3_WEIGHT in given else "an update of a bias, not of a weight"
            self.faults.add(message, first, message)
            return None
        for method, sets in _REQUIRED.items():
            if any(required <= given <= required | _OPTIONAL.get(method, frozenset()) for required in sets):
                return method
        likely = self._likely(given)
        closest = min(_REQUIRED[likely], key=lambda required: len(required ^ given))
        missing, extra = closest - given, given - closest - _OPTIONAL.get(likely, frozenset())
        odd = f"no {' and no '.join(sorted(missing))}" if missing else f"{' and '.join(sorted(extra))} beside it"
        self.faults.subject = likely.value
        self.faults.add("parts", first, f"a {likely} of one layer with {odd}")
        return None

    def _likely(self, given: frozenset[Part] | set[Part]) -> Method:
        def shared(method: Method) -> int:
            return max(len(required & given) for required in _REQUIRED[method])

        return max(_REQUIRED, key=shared)

    def _module(self, layer: str, method: Method, parts: Mapping[Part, str]) -> FileModule | None:
        first = min(parts.values())
        entries = {part: self._tensors[name] for part, name in parts.items()}
        rank = next((entries[part].shape[axis] for part, axis in _RANK_OF if part in entries), None)
        if fault := _mismatch(method, entries):
            self.faults.add("shapes", first, fault)
            return None
        if rank is not None and rank > MAX_RANK:
            self.faults.add("too large", first, f"its rank is {rank:,}, and may be {MAX_RANK:,}")
            return None
        scale = self._scale(layer, method, parts, rank)
        return None if scale is None else FileModule(layer, method, parts, rank, scale)

    def _scale(self, layer: str, method: Method, parts: Mapping[Part, str], rank: int | None) -> Scale | None:
        if method in (Method.DIFF, Method.IA3):
            return Scale(ScaleSource.METHOD, scale=1.0)
        said, first = self._names[layer], min(parts.values())
        has_alpha = Part.ALPHA in parts
        # Of a whole LoKr tools take no scale, whatever its alpha; but peft does.
        if rank is None and said.says_scale_one:
            return Scale(ScaleSource.METHOD, scale=1.0)
        is_one = said.says_scale_one
        return self._scales.of_module(first, said.dotted, rank, has_alpha=has_alpha, is_one=is_one)


def _mismatch(method: Method, entries: Mapping[Part, TensorEntry]) -> str | None:
    """Why the parts make no update of one layer, if so."""
    alpha = entries.get(Part.ALPHA)
    if alpha is not None and math.prod(alpha.shape) != 1:
        return "its alpha is not one number"
    if any(0 in entry.shape for entry in entries.values()):
        return "some of its parts are empty"
    shapes = {part: entry.shape for part, entry in entries.items()}
    if method is Method.LORA:
        return _lora_mismatch(shapes)
    return None


def _lora_mismatch(shapes: Mapping[Part, tuple[int, ...]]) -> str | None:
    """r x in and out x r, or kernels r x in x h x w and out x r x 1 x 1; with a middle one of r x r x h x w."""
    down, up, mid = shapes[Part.DOWN], shapes[Part.UP], shapes.get(Part.MID)
    said = f"factors of shapes {list(down)} and {list(up)} have no product"
    if not all(len(shape) in (2, 4) for shape in (down, up)) or any(size != 1 for size in up[2:]):
        return said
    if mid is None:
        return None if down[0] == up[1] else said
    fits = len(mid) == 4 and mid[0] == up[1] and mid[1] == down[0] and all(size == 1 for size in down[2:])
    return None if fits else f"{said} through one of shape {list(mid)}"
