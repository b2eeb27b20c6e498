"""Fetch the icon sets and read their SVG bodies, keyed by Unicode code points so that names agree across sets.

Sources: the `@iconify-json/*` packages (https://iconify.design), pinned, each under its own licence (see NOTICE).
"""

import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class IconSet:
    """One pinned package. `noun` is how captions say it; `in_repository`: may its pictures be committed here?"""

    name: str
    version: str
    license: str
    noun: str
    in_repository: bool = True


_FLAT = IconSet("fluent-emoji-flat", "1.2.6", "MIT", "flat")
_NOTO = IconSet("noto", "1.2.9", "Apache-2.0", "noto")
_TWEMOJI = IconSet("twemoji", "1.2.5", "CC-BY-4.0", "twemoji")
_BLOB = IconSet("noto-v1", "1.2.5", "Apache-2.0", "blob")
_EMOJIONE = IconSet("emojione", "1.2.3", "CC-BY-4.0", "emojione")

# What the generator learns. Three draw the same shapes in other renderings, so that a set's noun means a style.
PRETRAINING_SETS = (
    IconSet("fluent-emoji", "1.2.7", "MIT", "fluent"),
    _FLAT,
    IconSet("fluent-emoji-high-contrast", "1.2.6", "MIT", "high contrast"),
    _NOTO,
    _TWEMOJI,
)
# Never seen by the generator: these are the styles that users' concepts are drawn from.
HELD_OUT_SETS = (
    IconSet("openmoji", "1.2.29", "CC-BY-SA-4.0", "openmoji", in_repository=False),
    IconSet("fxemoji", "1.2.2", "Apache-2.0", "fxemoji"),
    IconSet("streamline-emojis", "1.2.4", "CC-BY-4.0", "streamline"),
    _EMOJIONE,
    _BLOB,
)
# Whose names are the names here, and what `icons-64-what` and `icons-64-how` were trained on. They stay as they are:
# the committed split and the shipped encoders go by them.
NAMING_SETS = (_FLAT, _NOTO, _BLOB, _TWEMOJI, _EMOJIONE)


@dataclass(frozen=True)
class Icon:
    """`code_points`: lower-case hex joined by '-', without variation selectors; `name`: the set's own name for it."""

    code_points: str
    name: str
    svg: str


def fetch(icon_set: IconSet, folder: Path) -> Path:
    """Download the pinned package through the npm client, unless it lies there already."""
    archive = folder / f"iconify-json-{icon_set.name}-{icon_set.version}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        package = f"@iconify-json/{icon_set.name}@{icon_set.version}"
        subprocess.run(["npm", "pack", package, "--silent"], cwd=folder, check=True, capture_output=True)
    return archive


def read_sets(folder: Path, icon_sets: Sequence[IconSet] = PRETRAINING_SETS + HELD_OUT_SETS) -> dict[str, list[Icon]]:
    """The icons of each set by the set's name. A package without a code point table borrows the names of the others."""
    packages = {icon_set.name: _Package.read(fetch(icon_set, folder)) for icon_set in icon_sets}
    code_points: dict[str, str] = {}
    for package in packages.values():
        for points, name in package.chars.items():
            code_points.setdefault(_key(name), points)
    # An icon without a code point of its own has one through its other names.
    for package in packages.values():
        for alias, parent in package.aliases.items():
            known = code_points.get(_key(alias)) or code_points.get(_key(parent))
            if known:
                code_points.setdefault(_key(alias), known)
                code_points.setdefault(_key(parent), known)
    return {name: package.icons(code_points) for name, package in packages.items()}


@dataclass(frozen=True)
class _Package:
    """What an `@iconify-json` package holds: name -> SVG document, plain alias -> name, code points -> name."""

    svgs: dict[str, str]
    aliases: dict[str, str]
    chars: dict[str, str]

    @classmethod
    def read(cls, archive: Path) -> "_Package":
        with tarfile.open(archive) as package:
            chars = json.loads(_member(package, "package/chars.json"))
            data = json.loads(_member(package, "package/icons.json"))
        size = {"width": data.get("width", 16), "height": data.get("height", 16)}
        svgs = {name: _svg({**size, **icon}) for name, icon in data["icons"].items()}
        # A flipped or rotated alias is another picture: leave it out rather than draw it wrongly.
        aliases = {name: alias["parent"] for name, alias in data.get("aliases", {}).items() if set(alias) == {"parent"}}
        plain = {_strip(points): name for points, name in sorted(chars.items())}
        return cls(svgs, {a: p for a, p in aliases.items() if p in svgs}, plain)

    def icons(self, code_points: dict[str, str]) -> list[Icon]:
        named = {points: self.aliases.get(name, name) for points, name in self.chars.items()}
        if not named:
            named = {code_points[_key(name)]: name for name in sorted(self.svgs) if _key(name) in code_points}
        return [Icon(points, name, self.svgs[name]) for points, name in sorted(named.items()) if name in self.svgs]


def _strip(points: str) -> str:
    """Variation selectors say how to show a character, not which."""
    return "-".join(point for point in points.split("-") if point != "fe0f")


def _key(name: str) -> str:
    return name.replace("-", "")


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    assert file is not None, f"{name} is missing from {package.name!r}"
    return file.read()


def _svg(icon: Mapping[str, Any]) -> str:
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon['width']} {icon['height']}"
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {namespaces} viewBox="{box}">{icon["body"]}</svg>'
