"""The service's check of a submission on this machine: the same process, the same rules, the same confinement."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pydantic import ValidationError

from benchmark.dataset_files import data_directory
from benchmark.errors import EvaluationFailed
from benchmark.report import SandboxLevel
from benchmark.threat_models import official_board
from gauntlet.client import sha256_of
from gauntlet.data import sandbox_with_data
from model_zoo.checkpoints.formats import check_fits
from worker import messages, process
from worker.messages import Checked, Failed, Request
from worker.sandbox import Sandbox

_HEAR_S = 0.5
_LIMIT_S = 3600.0


def check_submission(
    path: Path, dataset: str, threat_model: str, architecture: str, claimed: float | None = None
) -> Checked:
    """Make every check that the service would make before it evaluates a file, and tell of the passed ones too.

    Args:
        path: the file.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        architecture: name of a registered architecture, or "exported".
        claimed: standard accuracy that is claimed, in [0, 1].
    Raises:
        InvalidCheckpoint: the file would be refused at once.
        NotFound: there is no such board.
        EvaluationFailed: the check itself came to no end.
    """
    board = official_board(dataset, threat_model)
    check_fits(path, architecture)
    data_dir = data_directory().absolute()
    sandbox = sandbox_with_data(SandboxLevel.LIMITS, data_dir)
    with tempfile.TemporaryDirectory() as directory:
        shutil.copyfile(path, Path(directory) / messages.MODEL_FILE)
        request = Request(
            kind="check",
            confinement=sandbox.confinement("cpu", _LIMIT_S),
            architecture=architecture,
            dataset=dataset,
            data_dir=str(data_dir),
            norm=board.norm,
            epsilon=board.epsilon_text,
            protocol=board.protocol,
            seed=0,
            indices=tuple(range(board.points)),
            unannounced=None,
            unannounced_points=0,
            sources=(),
            examples=(),
            checkpoint_sha256=sha256_of(path),
            claimed_standard_accuracy=claimed,
            limit_s=board.limit_s,
            resume=False,
            slot_width=64,
            threads=1,
            save_every_s=60.0,
        )
        return _answered(request, sandbox, Path(directory))


def _answered(request: Request, sandbox: Sandbox, scratch: Path) -> Checked:
    with process.started(process.COMMAND, sandbox, scratch, request.threads, "cpu") as child:
        child.ask(request)
        while not child.silent:
            for line in child.hear(_HEAR_S):
                try:
                    message = messages.MESSAGE.validate_json(line)
                except ValidationError:
                    raise EvaluationFailed("The check answered with something that is no message.") from None
                if isinstance(message, Checked):
                    return message
                if isinstance(message, Failed):
                    raise EvaluationFailed(message.reason)
        raise EvaluationFailed(f"The check ended without an answer: {child.ending()}")
