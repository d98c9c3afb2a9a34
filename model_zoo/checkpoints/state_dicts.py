"""The file that ``torch.save`` writes of a state dict, read as hostile input, without torch and without unpickling it.

It is a zip archive with a pickle, which says what tensors there are, and with the bytes of each storage.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.header import shown
from model_zoo.checkpoints.pickles import SAVE_ALONE, check_pickle
from model_zoo.checkpoints.zip_archive import members_of, opened

MAX_PICKLE_BYTES = 4 * 1024 * 1024
"""Room for about thirty thousand tensors, those of an optimiser among them."""

_ORDER = b"little"
_MEMBER = re.compile(r"data\.pkl|data/[0-9]{1,9}")
_NOTES = frozenset(("version", "byteorder", ".data/serialization_id", ".format_version", ".storage_alignment"))
_MOST_BYTES = {"data.pkl": MAX_PICKLE_BYTES, **dict.fromkeys(_NOTES, 64)}


def check_state_dict(path: Path) -> None:
    """Check that a file is an archive of ``torch.save`` with a dictionary of dense tensors and plain values.

    Raises:
        HoldsObjects: it holds objects of classes, such as a whole module.
        InvalidCheckpoint: it is malformed, or holds what no state dict needs.
    """
    with opened(path) as archive:
        members = members_of(archive, path.stat().st_size, _belongs, "a pickle, its storages and nothing else")
        for name, most in _MOST_BYTES.items():
            if name in members and members[name].file_size > most:
                _refuse(name, found=f"{members[name].file_size} bytes", expected=f"at most {most}")
        if "data.pkl" not in members:
            _refuse("archive", found="no data.pkl", expected="the pickle of a state dict")
        pickled = archive.read(members["data.pkl"])
        order = archive.read(members["byteorder"]) if "byteorder" in members else _ORDER
    if order != _ORDER:
        _refuse("byteorder", found=shown(order), expected="little")
    sizes = {name.removeprefix("data/"): info.file_size for name, info in members.items() if name.startswith("data/")}
    check_pickle(pickled, sizes)


def _belongs(name: str) -> bool:
    return name in _NOTES or _MEMBER.fullmatch(name) is not None


def _refuse(field: str, *, found: str, expected: str) -> NoReturn:
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=SAVE_ALONE)
