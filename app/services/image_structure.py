"""What a picture file costs before its first pixel: Pillow walks segments and chunks in Python, one step each.

A file of 16 MB can hold millions of them, or thousands of passes over one JPEG, so they are counted first. The walks
take the same steps as Pillow's own, and stop where its would; what they cannot follow is Pillow's to refuse.
"""

import struct
from typing import BinaryIO

# Phones write dozens; depth maps in extended XMP make hundreds. A PNG of 16 MB in IDATs of 4 KB has four thousand.
_MAX_STEPS = 5000
# Ten in libjpeg's own progressive script; optimisers go to twenty. Each decodes the whole picture again.
_MAX_SCANS = 40
# One segment of a JPEG. The tags of a larger one could each name the same megabytes.
MAX_EXIF_BYTES = 65_536

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_START_OF_SCAN = b"\xff\xda"
# Markers without a length: TEM, RST0 to RST7, SOI and EOI.
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})


def excess(file: BinaryIO) -> str | None:
    """Why nobody should open this file, or None; the position is at its start again."""
    signature = file.read(len(_PNG))
    try:
        if signature == _PNG:
            return _excess_of_png(file)
        if signature.startswith(_JPEG):
            file.seek(0)
            return _excess_of_jpeg(file.read())
        return None
    finally:
        file.seek(0)


def _excess_of_png(file: BinaryIO) -> str | None:
    for _ in range(_MAX_STEPS):
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IEND":
            return None
        (length,) = struct.unpack(">I", header[:4])
        file.seek(length + 4, 1)
    return f"made of more than {_MAX_STEPS:,} chunks"


def _excess_of_jpeg(data: bytes) -> str | None:
    # Within a scan 0xFF is always stuffed, so these two bytes are a marker, be it of an embedded thumbnail.
    if data.count(_START_OF_SCAN) > _MAX_SCANS:
        return f"made of more than {_MAX_SCANS} scans"
    at, exif_bytes = 2, 0
    for _ in range(_MAX_STEPS):
        if at + 4 > len(data) or data[at : at + 2] == _START_OF_SCAN:
            return None
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, 0xFF):
            at += 1
        elif marker in _BARE:
            at += 2
        else:
            (length,) = struct.unpack(">H", data[at + 2 : at + 4])
            exif_bytes += length if data[at + 4 : at + 8] == b"Exif" else 0
            if exif_bytes > MAX_EXIF_BYTES:
                return f"carrying more than {MAX_EXIF_BYTES:,} bytes of EXIF"
            at += 2 + length
    return f"made of more than {_MAX_STEPS:,} segments"


def code_points_of_png(file: BinaryIO) -> tuple[int, int] | None:
    """Primaries and transfer of a PNG's `cICP` chunk, which Pillow does not read; the position is at its start again.

    Its steps are those that `excess` has counted.
    """
    try:
        if file.read(len(_PNG)) != _PNG:
            return None
        while len(header := file.read(8)) == 8 and header[4:] not in (b"IDAT", b"IEND"):
            (length,) = struct.unpack(">I", header[:4])
            if header[4:] == b"cICP":
                data = file.read(2)
                return (data[0], data[1]) if len(data) == 2 else None
            file.seek(length + 4, 1)
        return None
    finally:
        file.seek(0)
