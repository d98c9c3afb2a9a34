"""Everything that is public in one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from api.errors import responses
from api.services import Store
from store.database import Database
from store.dump import dump

MEDIA_TYPE = "application/x-ndjson"
CHUNK_BYTES = 256 * 1024

router = APIRouter(tags=["dump"])


@router.get(
    "/dump",
    response_class=StreamingResponse,
    responses=responses()
    | {
        200: {
            "description": "JSON, one object a line",
            "content": {
                MEDIA_TYPE: {"schema": {"type": "string"}, "example": '{"created_ms":1,"kind":"dump","version":1}\n'}
            },
        }
    },
)
def read_dump(store: Store) -> Response:
    """Download all boards, entries, their history and the summaries of the reports, all of one moment.

    Each line is one JSON object, whose `kind` says what it is: `dump`, `board`, `entry`, `history`, `report`, and at
    last `end` with the number of lines before it. Where the last line is not `end`, the download was cut off.
    """
    file, size = _written(store.db)
    headers = {"Content-Length": str(size), "Content-Disposition": 'attachment; filename="gauntlet-dump.jsonl"'}
    return StreamingResponse(_chunks(file), media_type=MEDIA_TYPE, headers=headers)


def _written(db: Database) -> tuple[IO[bytes], int]:
    """Write the dump to a file without a name: whoever reads it slowly then keeps no transaction open."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the answer's end closes it)
    try:
        size = sum(file.write(line) for line in dump(db))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, size


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
