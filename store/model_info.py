"""RobustBench's files of model information: one JSON object a model, at <data set>/<threat model>/<id>.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from benchmark.errors import ErrorDetail, InvalidInput, NotFound
from benchmark.threat_models import Board, ThreatModel, official_board
from store.admission import LONGEST, NAME, check_url, cleaned_text
from store.reference import entry_values
from store.views import BoardRow, ExtraData

LARGEST_BYTES = 100_000
"""Of one file; real ones have about a thousand."""
LARGEST_ERROR = 10_000.0
LONGEST_FOOTNOTE = 1_000
NEAR = 0.05
"""How far a budget may be from its board's: some papers have used 0.031 for 8/255."""
_UNKNOWN_VENUE = "N/A"


def _number(value: object) -> object:
    """Read a number as these files hold it: as text, which is empty or "null" where nothing is known."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return float(text) if text not in {"", "null"} else None
        except ValueError:
            return value
    return value


_AS_TEXT = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["56.10"]}, mode="serialization"
)
"""How the numbers are written, see `write_info`."""
_Hundredths = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Percent = Annotated[_Hundredths | None, BeforeValidator(_number), _AS_TEXT]
_Error = Annotated[float, Field(ge=0, le=LARGEST_ERROR, allow_inf_nan=False)]
Error = Annotated[_Error | None, BeforeValidator(_number), _AS_TEXT]


class ModelInfo(BaseModel):
    """What such a file says. Accuracies are in percent; in the files they are texts."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    link: str
    name: str
    """The paper's title."""
    authors: str
    additional_data: bool | None
    number_forward_passes: Annotated[int, Field(ge=1, le=2**31 - 1)] | None
    dataset: str
    venue: str
    architecture: str
    eps: str | None
    clean_acc: Annotated[_Hundredths, BeforeValidator(_number), _AS_TEXT]
    reported: Percent = None
    autoattack_acc: Percent = None
    external: Percent = None
    corruptions_acc: Percent = None
    corruptions_mce: Error = None
    corruptions_acc_3d: Percent = None
    corruptions_mce_3d: Error = None
    footnote: str | None = None
    unreliable: bool | None = None


@dataclass(frozen=True)
class InfoFile:
    """A file as it lies in its folder, which tells the board and the entry.

    Args:
        place: where it lies, for people.
        dataset: the folder above the threat model's.
        threat_model: the folder that it lies in.
        model_id: its name without the ending.
        content: all of it.
    """

    place: str
    dataset: str
    threat_model: str
    model_id: str
    content: bytes


@dataclass(frozen=True)
class ReadInfo:
    """A file that was understood.

    Args:
        values: the columns of the entry.
        remark: what is odd about it; empty where nothing is.
    """

    values: Mapping[str, object]
    remark: str


def read_info(file: InfoFile) -> ReadInfo:
    """Return the entry that a file describes.

    Raises:
        InvalidInput: the file breaks a rule, which the error's detail names.
        NotFound: there is no such board.
    """
    board = official_board(file.dataset, file.threat_model)
    if not NAME.fullmatch(file.model_id):
        expected = "1 to 80 letters, digits, spaces or . _ + -, the first a letter or digit"
        raise _refused("file name", ascii(file.model_id)[:100], expected, "rename the file")
    info = _parsed(file.content)
    texts = {
        "title": _text("name", info.name, LONGEST["title"]),
        "authors": _text("authors", info.authors, LONGEST["authors"]),
        "venue": _text("venue", info.venue, LONGEST["venue"]),
        "architecture": _text("architecture", info.architecture, 100),
        "link": _link(info.link),
    }
    robust = ("autoattack_robust_accuracy", info.autoattack_acc)
    if not board.attacked:
        robust = ("corruption_accuracy", info.corruptions_acc)
    if robust[1] is None:
        name = "autoattack_acc" if board.attacked else "corruptions_acc"
        raise _refused(name, "nothing", "an accuracy in percent, as text", "add it")
    record = texts | {
        "dataset": board.dataset,
        "threat_model": board.threat_model,
        "id": file.model_id,
        "epsilon": _epsilon(board, info.eps),
        "extra_data": bool(info.additional_data),
        "forward_passes": info.number_forward_passes,
        "standard_accuracy": info.clean_acc,
        "claimed_robust_accuracy": info.reported,
        robust[0]: robust[1],
        "external_robust_accuracy": info.external,
        "flagged_unreliable": info.unreliable,
        "mce": info.corruptions_mce,
        "corruption_accuracy_3d": info.corruptions_acc_3d,
        "mce_3d": info.corruptions_mce_3d,
    }
    values = entry_values(record, {})
    del values["zoo_id"]  # of which these files say nothing
    if info.additional_data is None:
        values["extra_data"] = ExtraData.UNKNOWN
    if footnote := _text("footnote", info.footnote or "", LONGEST_FOOTNOTE):
        values["footnote"] = footnote
    odd = info.dataset != board.dataset
    remark = f"the file says dataset {ascii(info.dataset)[:40]}; its folder was believed" if odd else ""
    return ReadInfo(values, remark)


def write_info(row: BoardRow, board: Board) -> bytes:
    """Return an entry as such a file, in one order of the fields; what is unknown is null or left out.

    Args:
        row: the entry.
        board: its board.
    """
    fields: dict[str, object] = {
        "link": row.link,
        "name": row.title,
        "authors": row.authors,
        "additional_data": None if row.extra_data is ExtraData.UNKNOWN else row.extra_data is not ExtraData.NONE,
        "number_forward_passes": row.forward_passes,
        "dataset": board.dataset,
        "venue": row.venue or _UNKNOWN_VENUE,
        "architecture": row.architecture,
        "eps": row.epsilon,
        "clean_acc": _percent(row.standard_accuracy),
        "reported": _percent(row.claimed_robust_accuracy),
    }
    robust, best = row.robust_accuracy, row.best_known_robust_accuracy
    external = best if best is not None and robust is not None and best < robust else None
    optional: dict[str, object] = {
        "autoattack_acc": _percent(robust) if board.attacked else None,
        "external": _percent(external) if board.attacked else None,
        "corruptions_acc": None if board.attacked else _percent(robust),
        "corruptions_mce": _decimals(row.mce),
        "corruptions_acc_3d": _percent(row.corruption_accuracy_3d),
        "corruptions_mce_3d": _decimals(row.mce_3d),
        "footnote": row.footnote or None,
        "unreliable": row.potentially_unreliable,
    }
    fields |= {name: value for name, value in optional.items() if value is not None}
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _parsed(content: bytes) -> ModelInfo:
    if len(content) > LARGEST_BYTES:
        raise _refused("file", f"{len(content)} bytes", f"at most {LARGEST_BYTES}", "look what the file is")
    try:
        decoded = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refused("file", f"no JSON: {error}"[:200], "one JSON object in UTF-8", "write it as JSON") from None
    try:
        return ModelInfo.model_validate(decoded)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else "file"
        missing = problem["type"] == "missing"
        found = "nothing" if missing else ascii(problem["input"])[:80]
        expected = {"missing": "a value", "extra_forbidden": "no field of this name"}.get(
            problem["type"], problem["msg"].removeprefix("Input should be ")
        )
        raise _refused(field, found, expected, f"correct {field}") from None


def _text(field: str, text: str, longest: int) -> str:
    return cleaned_text(field, text, longest)


def _link(link: str) -> str:
    secure = link.strip().replace("http://", "https://", 1)
    try:
        check_url(secure)
    except InvalidInput:
        raise _refused("link", ascii(link)[:100], "an address that begins with https://", "link the paper") from None
    return secure


def _epsilon(board: Board, eps: str | None) -> str | None:
    """Return the budget as the file writes it, which is about the board's; where nobody attacks, whatever it says."""
    if board.epsilon is None:
        return _text("eps", eps, 40) if eps else None
    try:
        near = math.isclose(ThreatModel("Linf", eps or "").epsilon, board.epsilon, rel_tol=NEAR)
    except InvalidInput:
        near = False
    if eps is None or not near:
        raise _refused("eps", ascii(eps)[:40], f"{board.epsilon}, the budget of {board.name}", "choose another board")
    return eps


def _percent(accuracy: float | None) -> str | None:
    return None if accuracy is None else _decimals(100 * accuracy)


def _decimals(value: float | None) -> str | None:
    """Write a number with two decimals, or with up to four where it has them."""
    if value is None:
        return None
    whole, _, decimals = f"{value:.4f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def _refused(field: str, found: str, expected: str, remedy: str) -> InvalidInput:
    return InvalidInput.because(field, found=found, expected=expected, remedy=remedy)


def problem_of(file: InfoFile) -> ErrorDetail | ReadInfo:
    """Return what a file says, or what is wrong with it; the field of the latter names the file too."""
    try:
        return read_info(file)
    except (InvalidInput, NotFound) as error:
        detail = error.detail or ErrorDetail("file", error.message, "a sound file", "correct it")
        return ErrorDetail(f"{file.place}: {detail.field}", detail.found, detail.expected, detail.remedy)
