"""Palimpsest's version, by SemVer (semver.org). `pyproject.toml` alone states it; the installed package repeats it."""

from importlib.metadata import version

VERSION = version("palimpsest")
