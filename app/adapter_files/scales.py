"""What tells the scale of an update: the form, the file's alphas, peft's configuration, the header, or convention."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import re2
from pydantic import ValidationError

from app.adapter_files.fault_kinds import Faults
from app.domain.adapters import ImportOptions, PeftConfig, ScaleSource

MAX_CONFIG_BYTES = 256 * 1024
# Patterns times modules that are matched: about two seconds.
_MAX_MATCHES = 1_500_000
_OF_DENOISER = ("unet.", "transformer.")
_HEADER_ENTRIES = ("lora_alpha", "network_alpha", "alpha", "ss_network_alpha")
# These start from the base's weights and change them; the factors belong to a base that nobody has.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class Scale:
    """How a module's scale is found: `scale` itself, or an alpha over the rank, or over its root (rsLoRA).

    The alpha is the value of the module's own tensor where neither is given.
    """

    source: ScaleSource
    scale: float | None = None
    alpha: float | None = None
    by_root: bool = False

    def of(self, rank: int | None, own_alpha: float | None) -> float:
        """The scale of a module of that rank; a method without a rank, such as a whole LoKr, takes no alpha."""
        if self.scale is not None:
            return self.scale
        alpha = own_alpha if self.alpha is None else self.alpha
        assert alpha is not None
        if rank is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.by_root else rank)


def read_config(data: bytes) -> PeftConfig:
    """The configuration in an `adapter_config.json`.

    Raises:
        InvalidAdapterError: it is none, or it asks for what cannot be imported.
    """
    faults = Faults()
    try:
        config = PeftConfig.model_validate(json.loads(data))
    except (ValidationError, ValueError, RecursionError):
        faults.add("config", "adapter_config", "not a configuration of peft")
        faults.insist_on_none()
        raise
    _check(config, "adapter_config", faults)
    faults.insist_on_none()
    return config


def _check(config: PeftConfig, field: str, faults: Faults) -> None:
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower().startswith(_CHANGE_THE_BASE):
        faults.add("init", field, f"its factors start by {start}, which changes the base; convert them with peft first")
    for patterns in (config.alpha_pattern, config.rank_pattern):
        for pattern in patterns:
            try:
                _compiled(pattern)
            except re2.error:
                faults.add("pattern", field, f"the pattern {pattern!r} is not understood")


class Scales:
    """What is told of scales, for all modules of one file."""

    def __init__(self, metadata: Mapping[str, str], options: ImportOptions, faults: Faults) -> None:
        self._options = options
        self._faults = faults
        self._header = _header_config(metadata, faults)
        self._entry = _header_entry(metadata, faults)
        self._configs = [
            (config, source)
            for config, source in ((options.config, ScaleSource.CONFIG), (self._header, ScaleSource.HEADER))
            if config is not None
        ]
        self._matchers = {source: _Matchers.of(config) for config, source in self._configs}
        self._matches_left = _MAX_MATCHES

    def of_module(
        self, name: str, dotted: str | None, rank: int | None, *, has_alpha: bool, is_one: bool
    ) -> Scale | None:
        """The scale of a module; None, and a fault is noted, where nothing tells it.

        `is_one`: by convention it is 1 where nothing is told.
        """
        own = Scale(ScaleSource.TENSOR) if has_alpha else None
        told = self._requested() or own or self._configured(name, dotted, rank) or self._entry
        if told is None and is_one:
            told = Scale(ScaleSource.CONVENTION, scale=1.0)
        if told is None:
            message = "nothing tells its scale: send adapter_config.json as adapter_config, or alpha, or scale"
            self._faults.add("scale", name, message)
        return told

    def _requested(self) -> Scale | None:
        if self._options.scale is not None:
            return Scale(ScaleSource.REQUEST, scale=self._options.scale)
        if self._options.alpha is None:
            return None
        by_root = any(config.use_rslora for config, _ in self._configs)
        return Scale(ScaleSource.REQUEST, alpha=self._options.alpha, by_root=by_root)

    def _configured(self, name: str, dotted: str | None, rank: int | None) -> Scale | None:
        for config, source in self._configs:
            found = self._by_config(config, source, name, dotted, rank)
            if found is not None:
                return found
        return None

    def _by_config(
        self, config: PeftConfig, source: ScaleSource, name: str, dotted: str | None, rank: int | None
    ) -> Scale | None:
        matchers = self._matchers[source]
        self._matches_left -= matchers.count
        if self._matches_left < 0:
            self._faults.add("patterns", source.value, "too many patterns for as many modules")
            return None
        if dotted is None and matchers.count:
            self._faults.add("patterns", name, "its name has no dots, so that no pattern can name it")
            return None
        expected = config.r if dotted is None else matchers.rank(dotted, config.r)
        if rank is not None and expected not in (None, rank):
            self._faults.add("rank", name, f"its rank is {rank}, and {expected} by the {source.value}")
        alpha = config.default_alpha() if dotted is None else matchers.alpha(dotted, config.default_alpha())
        if alpha is None or (rank is None and not expected):
            return None
        # A whole LoKr of peft's shows no rank, and is scaled by the rank that was asked for.
        scale = alpha / expected if rank is None and expected else None
        return Scale(source, scale=scale, alpha=alpha, by_root=config.use_rslora)


@dataclass(frozen=True)
class _Matchers:
    """Patterns as peft matches them (`re.match(rf"(.*\\.)?({key})$", name)`), by RE2, whose time is linear."""

    alphas: tuple[tuple[re2._Regexp, float], ...]
    ranks: tuple[tuple[re2._Regexp, int], ...]

    @classmethod
    def of(cls, config: PeftConfig) -> "_Matchers":
        try:
            alphas = tuple((_compiled(key), alpha) for key, alpha in config.alpha_pattern.items())
            return cls(alphas, tuple((_compiled(key), rank) for key, rank in config.rank_pattern.items()))
        except re2.error:
            # Noted as a fault already.
            return cls((), ())

    @property
    def count(self) -> int:
        return len(self.alphas) + len(self.ranks)

    def alpha(self, name: str, default: float | None) -> float | None:
        return next((alpha for pattern, alpha in self.alphas if pattern.fullmatch(name)), default)

    def rank(self, name: str, default: int | None) -> int | None:
        return next((rank for pattern, rank in self.ranks if pattern.fullmatch(name)), default)


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(rf"(?:.*\.)?(?:{pattern})", options)


def _header_config(metadata: Mapping[str, str], faults: Faults) -> PeftConfig | None:
    """What diffusers writes: peft's configuration of each component; `unet.save_lora_adapter` leaves out the name."""
    text = metadata.get("lora_adapter_metadata")
    if text is None:
        return None
    try:
        entries = json.loads(text)
        named = {key.partition(".")[2]: value for key, value in entries.items() if key.startswith(_OF_DENOISER)}
        plain = {key: value for key, value in entries.items() if "." not in key}
        config = PeftConfig.model_validate(named or plain)
    except (ValidationError, ValueError, AttributeError, RecursionError):
        faults.add("header", "lora_adapter_metadata", "not a configuration of peft")
        return None
    _check(config, "lora_adapter_metadata", faults)
    return config


def _header_entry(metadata: Mapping[str, str], faults: Faults) -> Scale | None:
    """A single alpha for all modules."""
    by_root = metadata.get("use_rslora", "").lower() in ("true", "1")
    for entry in _HEADER_ENTRIES:
        text = metadata.get(entry)
        if text is None or text.strip() in ("", "None") or (entry.startswith("ss_") and not _is_number(text)):
            continue
        if not _is_number(text) or not 0 < float(text) <= 1e6:
            faults.add("header", entry, "not a number that an alpha may be")
            return None
        return Scale(ScaleSource.HEADER, alpha=float(text), by_root=by_root)
    return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
