"""Which attack a command means: one by name, or a function in a file of whoever runs the command.

The file is run, as ``python FILE`` would run it. So this is for the command line alone: no service ever comes here.
"""

from __future__ import annotations

import hashlib
import re
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from benchmark.errors import InvalidInput

if TYPE_CHECKING:
    from benchmark.own_attacks import OwnAttack
    from benchmark.protocols import Protocol

_SHOWN_TEXT = 300


def attack_of(text: str) -> Protocol | OwnAttack:
    """Return the attack that a text names.

    Args:
        text: what `protocol_named` knows, or "path.py:function".
    Raises:
        InvalidInput: it names none, or the file cannot be run.
    """
    if re.search(r"\.py(:|$)", text) is None:
        from benchmark.protocols import protocol_named

        return protocol_named(text)
    path, _, function = text.rpartition(":") if ".py:" in text else (text, "", "")
    return _own_attack(Path(path), function)


def _own_attack(path: Path, function: str) -> OwnAttack:
    from benchmark.own_attacks import OwnAttack

    if not path.is_file():
        raise InvalidInput.because(
            "attack", found=f"no file at {str(path)!r}", expected="a Python file and a function in it",
            remedy="check the path; an attack by name has no .py in it",
        )  # fmt: skip
    module = _run(path.resolve())
    if not hasattr(module, function):
        own = [
            name for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]  # fmt: skip
        raise InvalidInput.because(
            "attack", found=f"no function {function!r} in {path.name}" if function else "no function named",
            expected=f"{path.name}:FUNCTION, with one of {', '.join(own) or 'its functions, of which there are none'}",
            remedy="name the function that returns the adversarial examples behind a colon",
        )  # fmt: skip
    version = hashlib.sha256(path.read_bytes()).hexdigest()
    return OwnAttack.of(getattr(module, function), f"{path.name}:{function}", version)


def _run(path: Path) -> ModuleType:
    """Run a file and return its module; what it imports from its own folder is found."""
    import torch

    from benchmark.own_attacks import places_in
    from benchmark.surroundings import Changes, kept_surroundings

    # A name of its own, for a file may be called like a module that is there.
    name = f"own_attack_{hashlib.sha256(bytes(path)).hexdigest()[:12]}"
    module = module_from_spec(ModuleSpec(name, _Fresh(name, str(path)), origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module
    # Behind everything else, for the same reason.
    sys.path.append(str(path.parent))
    try:
        with kept_surroundings(torch.device("cpu"), 0, Changes()):
            _Fresh(name, str(path)).exec_module(module)
    except (Exception, SystemExit) as error:
        places = places_in(error, path.parent)
        what = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN_TEXT]
        raise InvalidInput.because(
            "attack", found=f"{what}{', at ' if places else ''}{'; '.join(places)}",
            expected=f"a file that can be run: {path.name}", remedy=f"mend it: python {path.name} tells more",
        ) from error  # fmt: skip
    return module


class _Fresh(SourceFileLoader):
    """Compiles a file each time: compiled files beside it may be of an earlier version of the same second and size."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)
