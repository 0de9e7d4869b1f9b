"""The one file of a multipart/form-data body, in memory: no temporary files, bounded parts and headers."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors import RequestError

MAX_PARTS = 8
MAX_HEADER_BYTES = 8192
MAX_BOUNDARY_BYTES = 70  # RFC 2046, section 5.1.1


@dataclass
class Part:
    """One part of the form: its raw headers by lower-case name, and its content."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)

    def disposition(self) -> dict[bytes, bytes]:
        """The options of Content-Disposition: `name`, and `filename` where the part is a file."""
        return parse_options_header(self.headers.get(b"content-disposition", b""))[1]

    def media_type(self) -> str | None:
        """The declared media type in lower case, None where the part declares none."""
        value = parse_options_header(self.headers.get(b"content-type", b""))[0]
        return value.decode("latin-1").lower() or None


class _Collector:
    """Gathers parts from the parser's callbacks and stops as soon as a bound is passed."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._name = bytearray()
        self._value = bytearray()
        self._header_bytes = 0

    def callbacks(self) -> dict[str, object]:
        """The functions under the names `MultipartParser` calls them by."""
        return {
            "on_part_begin": self._part,
            "on_part_data": lambda data, start, end: self.parts[-1].content.extend(data[start:end]),
            "on_header_field": lambda data, start, end: self._header(self._name, data[start:end]),
            "on_header_value": lambda data, start, end: self._header(self._value, data[start:end]),
            "on_header_end": self._header_end,
            "on_end": self._end,
        }

    def _part(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise RequestError("bad_multipart", f"The form has more than {MAX_PARTS} parts.")
        self.parts.append(Part())

    def _header(self, buffer: bytearray, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES * MAX_PARTS or len(buffer) + len(data) > MAX_HEADER_BYTES:
            raise RequestError("bad_multipart", f"A part header is longer than {MAX_HEADER_BYTES} bytes.")
        buffer.extend(data)

    def _header_end(self) -> None:
        self.parts[-1].headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.complete = True


def parse_form(body: bytes, content_type: str) -> list[Part]:
    """The parts of `body`; RequestError bad_multipart where it is not a complete form with a sane boundary."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise RequestError(
            "bad_multipart", f"A form needs a boundary of 1 to {MAX_BOUNDARY_BYTES} bytes in its Content-Type."
        )
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestError("bad_multipart", "The form does not follow multipart/form-data.") from error
    if not collector.complete:
        raise RequestError("bad_multipart", "The form ends before its closing boundary.")
    return collector.parts


def image_file(body: bytes, content_type: str) -> tuple[bytes, str | None]:
    """The content and declared media type of the file field `image`; every other form is refused (RequestError 400)."""
    if not body:
        raise RequestError("empty_body", "The form is empty; send one file in the field `image`.")
    parts = parse_form(body, content_type)
    files = [part for part in parts if part.disposition().get(b"name") == b"image"]
    if not files:
        raise RequestError("missing_field", "The form must have one file in the field `image`.")
    if len(files) > 1:
        raise RequestError("too_many_files", "The form has several fields `image`; send one image per request.")
    if len(parts) > 1:
        raise RequestError("unknown_field", "The form may only have the field `image`.")
    part = files[0]
    declared = part.media_type()
    if b"filename" not in part.disposition() and not (declared or "").startswith("image/"):
        raise RequestError(
            "bad_field_type", "The field `image` must be a file, not text; images are never fetched from an address."
        )
    return bytes(part.content), declared
