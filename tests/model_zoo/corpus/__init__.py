"""Files that try something: made when a test wants them, for no such file should lie about in a repository."""

from __future__ import annotations

from tests.model_zoo.corpus import archives, code, formats, graphs, headers, sizes
from tests.model_zoo.corpus.case import Case

CASES: tuple[Case, ...] = (
    *code.CASES,
    *archives.CASES,
    *graphs.CASES,
    *sizes.CASES,
    *headers.CASES,
    *formats.CASES,
)
