"""A form that arrives in pieces: its words in memory, within limits; its one file straight into the blob store."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from benchmark.errors import GauntletError, InvalidInput, TooLarge
from store.blobs import BlobWriter

WHOLE_FORM = "form"
"""Under this name stand the errors that belong to no field."""
WRITE_BYTES = 1024 * 1024


class FormReader:
    """Reads a multipart form piece by piece.

    What is wrong with one part is noted under its field, and the reading goes on: whoever filled in the form gets all
    their words back together with the error. After an error of the file nothing of it remains.

    Args:
        boundary: what separates the parts.
        limits: the fields that may occur, with the bytes that each may hold.
        file_field: name of the one part that is a file.
        open_file: starts the blob that the file goes into.
    Attributes:
        values: the fields read so far.
        errors: what is wrong, by field.
        filename: name that the file had on its author's machine; empty where none was chosen.
        file: the complete file, not yet visible to anybody; None where there is none.
    """

    def __init__(
        self, boundary: bytes, limits: Mapping[str, int], file_field: str, open_file: Callable[[], BlobWriter]
    ) -> None:
        self.values: dict[str, str] = {}
        self.errors: dict[str, GauntletError] = {}
        self.filename = ""
        self.file: BlobWriter | None = None
        self._limits = limits
        self._file_field = file_field
        self._open_file = open_file
        self._seen: set[str] = set()
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._text = bytearray()
        self._writer: BlobWriter | None = None
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._take_content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body; after an error of the whole form, only skip them."""
        if WHOLE_FORM in self.errors or self._ended:
            return
        try:
            self._parser.write(data)
        except FormParserError as error:
            self._refuse_form(f"a body that breaks: {error}")

    def close(self) -> None:
        """Say that the body has ended."""
        if not self._ended and WHOLE_FORM not in self.errors:
            self._refuse_form("a form that ends before its last boundary")
        if self._writer is not None:
            self._writer.abort()

    def discard(self) -> None:
        """Discard the file, whatever became of it; harmless when it is committed."""
        for writer in (self._writer, self.file):
            if writer is not None:
                writer.abort()

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).strip().lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode(errors="replace")
        self._field, self._text = None, bytearray()
        if kind != b"form-data" or name not in {*self._limits, self._file_field}:
            self._refuse(WHOLE_FORM, f"a part named {name[:80]!r}", "only the fields of the form", "leave it out")
        elif name in self._seen:
            self._refuse(name, "more than one value", "one value", "send the field once")
            self._drop_file(name)
        elif name == self._file_field:
            self._begin_file(options)
        else:
            self._field = name
        self._seen.add(name)

    def _begin_file(self, options: Mapping[bytes, bytes]) -> None:
        self.filename = options.get(b"filename", b"").decode(errors="replace")
        if not self.filename:
            return  # what browsers send where no file was chosen
        try:
            self._writer = self._open_file()
        except GauntletError as error:
            self.errors.setdefault(self._file_field, error)

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        if self._writer is not None:
            try:
                self._writer.write(data[start:end])
            except GauntletError as error:
                self.errors.setdefault(self._file_field, error)
                self._writer = None
        elif self._field is not None:
            self._text += data[start:end]
            limit = self._limits[self._field]
            if len(self._text) > limit:
                self.errors[self._field] = TooLarge.because(
                    self._field,
                    found=f"more than {limit} bytes",
                    expected=f"at most {limit} bytes",
                    remedy="shorten the text",
                )
                self.values[self._field] = self._text[:limit].decode(errors="ignore")
                self._field = None

    def _end_part(self) -> None:
        if self._writer is not None:
            self.file, self._writer = self._writer, None
        elif self._field is not None:
            try:
                self.values[self._field] = self._text.decode().replace("\r\n", "\n")
            except UnicodeDecodeError:
                self._refuse(self._field, "bytes that are no UTF-8", "text in UTF-8", "send the text in UTF-8")
        self._field = None

    def _end(self) -> None:
        self._ended = True

    def _drop_file(self, name: str) -> None:
        if name == self._file_field and self.file is not None:
            self.file.abort()
            self.file = None

    def _refuse(self, field: str, found: str, expected: str, remedy: str) -> None:
        self.errors.setdefault(field, InvalidInput.because(field, found=found, expected=expected, remedy=remedy))

    def _refuse_form(self, found: str) -> None:
        self._refuse(WHOLE_FORM, found, "a complete multipart form", "send the form again")
        self.discard()
        self.file = self._writer = None


async def read_form(
    request: Request, limits: Mapping[str, int], file_field: str, open_file: Callable[[], BlobWriter]
) -> FormReader:
    """Read the request's body to its end; whoever calls commits the reader's file, and discards it in any case.

    Raises:
        InvalidInput: the body is no multipart form.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    # RFC 2046, section 5.1.1: 1 to 70 characters.
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise InvalidInput.because(
            "Content-Type",
            found=ascii(request.headers.get("content-type", "nothing"))[:80],
            expected="multipart/form-data with a boundary of 1 to 70 characters",
            remedy="send the form from its page",
        )
    reader = FormReader(boundary, limits, file_field, open_file)
    pending = bytearray()
    try:
        async for chunk in request.stream():
            pending += chunk
            if len(pending) >= WRITE_BYTES:
                await run_in_threadpool(reader.feed, bytes(pending))
                pending.clear()
        await run_in_threadpool(reader.feed, bytes(pending))
        reader.close()
    except BaseException:
        reader.discard()
        raise
    return reader
