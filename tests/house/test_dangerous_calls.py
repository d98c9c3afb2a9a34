from __future__ import annotations

import pytest

from tests.house.dangerous_calls import dangerous_calls
from tests.house.layout import ROOT, python_files


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import pickle\npickle.loads(data)", "pickle.loads"),
        ("import pickle as p\np.load(file)", "pickle.load"),
        ("from pickle import loads", "pickle.loads"),
        ("def f():\n    import pickle\n    return pickle.Unpickler(file).load()", "pickle.Unpickler"),
        ("import torch\ntorch.load(path)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=False)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=flag)", "torch.load"),
        ("import torch\ntorch.load(path, **options)", "torch.load"),
        ("import torch\nread = torch.load", "torch.load"),
        ("from torch import load as read\nread(path)", "torch.load"),
        ("import torch\ntorch.jit.load(path)", "torch.jit.load"),
        ("import torch.export\ntorch.export.load(path)", "torch.export.load"),
        ("from torch import export\nexport.load(path)", "torch.export.load"),
        ("from torch.export import load", "torch.export.load"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "numpy.load"),
        ("import numpy as np\nnp.load(path, None, True)", "numpy.load"),
        ("import joblib\njoblib.load(path)", "joblib.load"),
    ],
)
def test_a_dangerous_loader_is_found_under_any_name(source: str, name: str) -> None:
    assert name in [found for _, found in dangerous_calls(source)]


@pytest.mark.parametrize(
    "source",
    [
        "import json\njson.loads(text)",
        "import pickle\npickle.dumps(value)",
        "import torch\ntorch.load(path, map_location='cpu', weights_only=True)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "from safetensors.torch import load\nload(data)",
        "def load(path): ...\nload(path)",
        "shelf.load(path)",
    ],
)
def test_a_safe_loader_is_not_found(source: str) -> None:
    assert dangerous_calls(source) == []


def test_no_dangerous_loader_is_in_the_code_base() -> None:
    files = python_files()
    found = {
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in files
        for line, name in dangerous_calls(path.read_text(encoding="utf-8"))
    }
    assert files
    assert found == set()
