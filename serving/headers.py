"""What an image file says of itself in its first bytes, read without a decoder and without allocating its pixels.

Pillow answers the same for PNG and JPEG, but its WEBP plugin starts a decoder that allocates the canvas first.
"""

from __future__ import annotations

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}

# Recognised only to be refused by name: Pillow would read some of them, with much more code to attack.
_REFUSED = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%!PS", "EPS"),
    (b"%PDF", "PDF"),
    (b"8BPS", "PSD"),
    (b"SIMPLE  =", "FITS"),
    (b"\0\0\1\0", "ICO"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
)


def sniff(data: bytes) -> str | None:
    """ "PNG", "JPEG" or "WEBP" by the file's magic bytes, else None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def refused_format(data: bytes) -> str | None:
    """The name of a known image format that is not accepted, else None."""
    if data[4:8] == b"ftyp":
        return "HEIC or AVIF"
    head = data[:64].lstrip()
    return next((name for magic, name in _REFUSED if data.startswith(magic) or head.startswith(magic)), None)


def declared_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """(width, height) in pixels that the header of a `kind` file declares; None where it is cut or unusual."""
    if kind == "PNG":
        if len(data) < 24 or data[12:16] != b"IHDR":
            return None
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return _webp_size(data) if kind == "WEBP" else _jpeg_size(data)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Container format of RFC 9649: sizes sit in the first chunk, which is VP8X, VP8L or VP8."""
    if len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk the marker segments of ITU T.81 to the first start-of-frame."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # no length follows
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
