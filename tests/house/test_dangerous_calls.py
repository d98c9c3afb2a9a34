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
        ("import dill as d\nd.loads(data)", "dill.loads"),
        ("from cloudpickle import load", "cloudpickle.load"),
        ("import marshal\nmarshal.loads(data)", "marshal.loads"),
        ("import shelve\nshelve.open(path)", "shelve.open"),
        ("import torch.export as e\ne.load(path)", "torch.export.load"),
        ("from torch.jit import load as read", "torch.jit.load"),
        ("from torch import load\nload(path, weights_only=1)", "torch.load"),
        ("from torch.serialization import load", "torch.serialization.load"),
        ("import torch\ngetattr(torch, 'load')(path)", "torch.load"),
        ("import torch\ngetattr(torch.export, 'load')(path)", "torch.export.load"),
        ("import torch\ntorch.ops.load_library(path)", "torch.ops.load_library"),
        ("eval(text)", "builtins.eval"),
        ("run = exec", "builtins.exec"),
        ("__import__('pickle').loads(data)", "builtins.__import__"),
        ("from builtins import eval as read", "builtins.eval"),
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
        "model.eval()",
        "import torch\ntorch.nn.Linear(2, 2).eval()",
        "getattr(model, 'load')()",
    ],
)
def test_a_safe_loader_is_not_found(source: str) -> None:
    assert dangerous_calls(source) == []


ALLOWED = {
    # Shows that torch's own loaders run the code of the files that our readers refuse.
    "tests/model_zoo/trial.py": {"torch.export.load", "torch.load"},
    # Run what the guides print.
    "tests/house/test_attack_guide.py": {"builtins.exec"},
    "tests/house/test_model_guide.py": {"builtins.exec"},
}


def test_no_dangerous_loader_is_in_the_code_base() -> None:
    files = python_files()
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in files
        for _, name in dangerous_calls(path.read_text(encoding="utf-8"))
    }
    assert files
    assert found == {(path, name) for path, names in ALLOWED.items() for name in names}
