"""The import contracts, tried on small rooms that keep them and on one broken import at a time."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.layout import ROOT

LAWFUL = {
    "benchmark/__init__.py": "",
    "benchmark/analysis/__init__.py": "",
    "benchmark/analysis/results.py": "import benchmark.report",
    "benchmark/analysis/plots.py": "import benchmark.analysis.tables\ndef f():\n    import matplotlib",
    "benchmark/analysis/tables.py": "import benchmark.analysis.results\nimport benchmark.cells",
    "benchmark/analysis/words.py": "import benchmark.analysis.tables",
    "benchmark/cells.py": "",
    "benchmark/commitment.py": "",
    "benchmark/confirmation.py": "import benchmark.report\nimport benchmark.verdicts",
    "benchmark/corruption_table.py": "import pydantic",
    "benchmark/data_formats/__init__.py": "",
    "benchmark/data_formats/classes.py": "import json",
    "benchmark/errors.py": "",
    "benchmark/gallery.py": "import benchmark.report\nimport benchmark.verdicts",
    "benchmark/merging.py": "import benchmark.report",
    "benchmark/protocol_table.py": "",
    "benchmark/report.py": "import pydantic",
    "benchmark/reproduction.py": "import benchmark.report",
    "benchmark/rules.py": "",
    "benchmark/seeds.py": "import benchmark.statistics",
    "benchmark/side_by_side.py": "import benchmark.statistics",
    "benchmark/statistics.py": "import benchmark.report",
    "benchmark/summing_up.py": "import benchmark.report",
    "benchmark/threat_models.py": "import benchmark.errors",
    "benchmark/verdicts.py": "import benchmark.report\nimport benchmark.threat_models",
    "benchmark/dataset_inventory.py": "def f():\n    import numpy",
    "benchmark/datasets.py": "def load():\n    import torch",
    "benchmark/unannounced.py": "import benchmark.errors",
    "benchmark/pipeline.py": "import torch\nimport numpy\nimport benchmark.report",
    "model_zoo/__init__.py": "",
    "model_zoo/registry.py": "import benchmark.threat_models\nimport benchmark.datasets",
    "model_zoo/build.py": "import torch\nimport benchmark.pipeline",
    "store/__init__.py": "",
    "store/boards.py": "import benchmark.report\nimport benchmark.errors\nimport benchmark.merging\nimport sqlalchemy",
    "store/examples.py": "import benchmark.verdicts\nimport benchmark.commitment\nimport benchmark.corruption_table",
    "store/drawing.py": "import benchmark.unannounced\nimport benchmark.side_by_side\nimport benchmark.gallery\n"
    "import benchmark.analysis.results",
    "api/__init__.py": "",
    "api/routes.py": "import fastapi\nimport store.boards\nimport benchmark.report",
    "web/__init__.py": "",
    "web/classes.py": "import benchmark.data_formats.classes",
    "web/analyses.py": "import benchmark.analysis.plots\nimport benchmark.analysis.tables\n"
    "import benchmark.analysis.words",
    "web/pages.py": "import fastapi\nimport store.boards\nimport benchmark.rules\nimport benchmark.protocol_table",
    "worker/__init__.py": "",
    "worker/messages.py": "",
    "worker/tasks.py": "import benchmark.confirmation\nimport benchmark.unannounced",
    "worker/dispatcher.py": "import store.boards\nimport worker.messages",
    "worker/child/__init__.py": "",
    "worker/child/run.py": "import torch\nimport model_zoo.build\nimport benchmark.pipeline\nimport worker.messages",
    "gauntlet/__init__.py": "",
    "gauntlet/app.py": "import api.routes\nimport web.pages\nimport worker.dispatcher\nimport model_zoo.registry\n"
    "import benchmark.dataset_inventory",
    "gauntlet/cli/__init__.py": "",
    "gauntlet/cli/evaluate.py": "def run():\n    import benchmark.pipeline\n    import model_zoo.build",
    "migrations/__init__.py": "",
    "migrations/env.py": "import store.boards",
}


def check(folder: Path, rooms: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, source in rooms.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_lawful_imports_keep_every_contract(tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    done = check(tmp_path, LAWFUL)
    assert done.returncode == 0, done.stdout
    assert f"{len(settings['contracts'])} kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("benchmark/pipeline.py", "import model_zoo.build", "The rooms are layers"),
        ("store/boards.py", "import api.routes", "The rooms are layers"),
        ("api/routes.py", "import web.pages", "The rooms are layers"),
        ("api/routes.py", "import worker.dispatcher", "The rooms are layers"),
        ("model_zoo/build.py", "import store.boards", "The rooms are layers"),
        ("store/boards.py", "import benchmark.pipeline", "The service sees the benchmark's report"),
        ("gauntlet/app.py", "import benchmark.pipeline", "The service sees the benchmark's report"),
        ("worker/dispatcher.py", "import model_zoo.registry", "The model zoo is known to"),
        ("web/pages.py", "import model_zoo.registry", "The model zoo is known to"),
        ("worker/dispatcher.py", "import worker.child.run", "The child is started"),
        ("gauntlet/app.py", "import worker.child.run", "The child is started"),
        ("worker/dispatcher.py", "def f():\n    import torch", "The service runs without torch"),
        ("gauntlet/app.py", "import model_zoo.build", "The service runs without torch"),
        ("model_zoo/registry.py", "import torch", "The service runs without torch"),
        ("benchmark/report.py", "import numpy", "Reports, threat models and errors are free"),
        ("benchmark/analysis/results.py", "import torch", "Reports, threat models and errors are free"),
        ("benchmark/analysis/tables.py", "import numpy", "Reports, threat models and errors are free"),
        ("benchmark/corruption_table.py", "import numpy", "Reports, threat models and errors are free"),
        ("benchmark/verdicts.py", "import torch", "Reports, threat models and errors are free"),
        ("benchmark/rules.py", "import torch", "Reports, threat models and errors are free"),
        ("benchmark/statistics.py", "import torch", "Reports, threat models and errors are free"),
        ("benchmark/unannounced.py", "import torch", "Reports, threat models and errors are free"),
        ("benchmark/pipeline.py", "import sqlalchemy", "The libraries know no database"),
    ],
)
def test_an_unlawful_import_breaks_its_contract(tmp_path: Path, module: str, line: str, contract: str) -> None:
    done = check(tmp_path, LAWFUL | {module: f"{LAWFUL[module]}\n{line}"})
    assert done.returncode == 1
    broken = [row for row in done.stdout.splitlines() if " BROKEN" in row]
    assert any(row.startswith(contract) for row in broken), done.stdout
