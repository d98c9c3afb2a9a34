"""What parent and child say to each other: one JSON object a line. The parent takes every line for hostile.

Files travel through the scratch directory under names that are fixed here, so that no message carries a path.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from benchmark.analysis.results import Analysis
from benchmark.report import Check, Evidence

MAX_LINE_BYTES = 1024 * 1024
NAMESPACES = ("ipc", "mnt", "net", "pid", "user", "uts")
"""Kinds of namespaces, by their names in /proc/self/ns."""
MODEL_FILE = "model.safetensors"
RESUME_FILE = "resume.safetensors"
SNAPSHOT_FILE = "snapshot-{}.safetensors"
SOURCE_FILE = "source-{}"
"""Another model, whose examples are tried on this one."""
REPORT_FILE = "report.json"
EXAMPLES_FILE = "x_adv.safetensors"
SECOND_FILE = "x_second.safetensors"
JUDGED_FILE = "examples-{}"
"""Examples that are to be judged."""
VERDICTS_FILE = "verdicts-{}.json"
"""What was found of them."""
GALLERY_FILE = "gallery.json"
"""A few of them, to look at."""
STUDY_FILE = "study.json"
"""What an analysis has found."""

_PATH = re.compile(r"(?<![\w./])(?:/[\w.+@-]+){2,}/?")
_CODE = re.compile(r"[a-z][a-z0-9_]*")


def presentable(text: str) -> str:
    """Make a child's text fit for pages and logs: no control or bidirectional marks, and no paths of the machine."""
    return _PATH.sub("…", "".join(char if char.isprintable() else " " for char in text))


def _presentable_check(check: Check) -> Check:
    if not _CODE.fullmatch(check.code):
        raise ValueError("a check's code is made of lower-case letters, digits and underscores")
    return check.model_copy(update={"message": presentable(check.message), "remedy": presentable(check.remedy)})


def _presentable_evidence(evidence: Evidence) -> Evidence:
    _presentable_check(evidence)
    words = {name: presentable(getattr(evidence, name)) for name in ("message", "remedy", "meaning")}
    return evidence.model_copy(
        update={**words, "numbers": {presentable(name): value for name, value in evidence.numbers.items()}}
    )


Text = Annotated[str, Field(max_length=1_000), AfterValidator(presentable)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Confinement(_Line):
    """What a child gives up before it does anything else."""

    parent: int | None
    """Process id of the parent, which the child is not to outlive; None where it cannot see the parent, and the first
    process of its namespace sees to that."""
    device: str
    """Where to compute: "cpu" or a CUDA device."""
    walls: bool
    """Whether to take from it all files but the program's and its scratch directory's, the network and new processes,
    besides the limits that always hold."""
    memory_bytes: Count
    """Memory that it may ask for on the processor."""
    cpu_s: Count
    """Seconds of computing, of all threads together, after which it is ended."""
    readable: tuple[str, ...] = ()
    """Files and folders beyond the program that it may read: those of the data sets."""


class ProbeRequest(_Line):
    """What a probe is to try to reach once it is confined."""

    confinement: Confinement
    variable: str
    """Name of an environment variable of the parent."""
    file: str
    """Path of a file outside the scratch directory."""
    host: str
    port: int
    """Where, with ``host``, somebody listens."""
    process: int
    """Process id of the parent."""


class OtherModel(_Line):
    """A model whose examples are tried on the one that is evaluated; its file lies beside that one's."""

    name: str
    architecture: str


class Request(_Line):
    """What the child is to do. Its files lie in the scratch directory, which is also its working directory."""

    kind: Literal["check", "shard", "judge", "analysis"]
    confinement: Confinement
    architecture: str
    dataset: str
    data_dir: str | None
    """Folder of the data sets that do not come along."""
    norm: str
    epsilon: str
    protocol: str
    seed: int
    indices: tuple[Count, ...]
    """Positions in the data set of the points that it is about, in ascending order."""
    unannounced: str | None
    """Protocol of a second attack on a sample of what is left; None for none."""
    unannounced_points: Count
    sources: tuple[OtherModel, ...]
    examples: tuple[tuple[Count, ...], ...]
    """Of a judge: the positions in the data set of the points that each file of examples is of."""
    gallery: tuple[Count, ...] = ()
    """Of a judge: the points whose images and examples are to be left for people to look at."""
    analysis: Analysis | None = None
    """Of an analysis: which one."""
    name: str = ""
    """Of an analysis: what the model is called beside others."""
    checkpoint_sha256: str
    claimed_standard_accuracy: float | None
    limit_s: float
    """Predicted seconds of this worker above which the model is refused."""
    resume: bool
    """Whether an earlier attempt left a snapshot to go on from."""
    slot_width: Count
    """Rows of a full batch on a CPU; on CUDA the memory decides."""
    threads: Count
    save_every_s: float


class Progressed(_Line):
    """How far a shard is."""

    type: Literal["progress"] = "progress"
    points: Count
    points_done: Count
    attack: Text
    attacks_done: Count
    attacks: Count
    fraction: Share
    robust_accuracy_at_most: Share
    forward_passes: Count
    backward_passes: Count


class Saved(_Line):
    """A snapshot of that number is complete."""

    type: Literal["saved"] = "saved"
    number: Count


class Checked(_Line):
    """The check run is over."""

    type: Literal["checked"] = "checked"
    checks: Annotated[
        tuple[Annotated[Check, AfterValidator(_presentable_check)], ...], Field(min_length=1, max_length=200)
    ]
    policy: Count | None = None
    evidence: Annotated[
        tuple[Annotated[Evidence, AfterValidator(_presentable_evidence)], ...], Field(max_length=100)
    ] = ()
    parameters: Count | None = None


class Evaluated(_Line):
    """The shard is over; report and examples lie in the scratch directory."""

    type: Literal["evaluated"] = "evaluated"
    second: bool = False
    """Whether there are examples of a second attack as well."""


class Judged(_Line):
    """All files of examples are judged; the verdicts lie in the scratch directory."""

    type: Literal["judged"] = "judged"


class Analysed(_Line):
    """The analysis is over; what it has found lies in the scratch directory."""

    type: Literal["analysed"] = "analysed"


class Failed(_Line):
    """The attempt came to nothing."""

    type: Literal["failed"] = "failed"
    reason: Text
    fault: Literal["model", "service"]


Message = Progressed | Saved | Checked | Evaluated | Judged | Analysed | Failed
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
