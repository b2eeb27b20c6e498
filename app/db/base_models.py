"""What rows say of the weights of base models, for the front end and for workers."""

from collections.abc import Iterator, Sequence

from app.db.tables import BaseModelRow, Version


def taught_on(base: BaseModelRow, line: Sequence[Version]) -> Iterator[str]:
    """The fingerprints of the weights that versions were taught on, and of those that the base's name stands for."""
    if base.fingerprint is not None:
        yield base.fingerprint
    yield from (version.provenance.base_fingerprint for version in line if version.provenance is not None)
