"""Find calls that load code along with data.

Unpickling and its relatives run what the file's author wants; a service that reads strangers' files calls none of them.
Nor does it evaluate text as code.
"""

from __future__ import annotations

import ast

NEVER = frozenset(
    {
        "_pickle.Unpickler",
        "_pickle.load",
        "_pickle.loads",
        "builtins.__import__",
        "builtins.eval",
        "builtins.exec",
        "cloudpickle.load",
        "cloudpickle.loads",
        "dill.load",
        "dill.loads",
        "joblib.load",
        "marshal.load",
        "marshal.loads",
        "pickle.Unpickler",
        "pickle.load",
        "pickle.loads",
        "shelve.open",
        "torch.classes.load_library",
        "torch.export.load",
        "torch.export.pt2_archive._package.load_pt2",
        "torch.hub.load",
        "torch.jit.load",
        "torch.ops.load_library",
        "torch.package.PackageImporter",
        "torch.serialization.load",
    }
)
# Safe with one argument spelled out: the call, the keyword, the value it must have, and whether it may be left out.
BUILTINS = frozenset(("__import__", "eval", "exec"))
"""Names of every module that stand for one of them."""
ONLY_WITH = {"torch.load": ("weights_only", True, False), "numpy.load": ("allow_pickle", False, True)}


def dangerous_calls(source: str) -> list[tuple[int, str]]:
    """Return the line and the full name of every dangerous loader that the source refers to."""
    tree = ast.parse(source)
    names = _imported_names(tree)
    found = [
        (node.lineno, f"{node.module}.{alias.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in NEVER
    ]
    harmless = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_safe(node, names)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name | ast.Call) and id(node) not in harmless:
            name = _full_name(node, names)
            if name in NEVER or name in ONLY_WITH:
                found.append((node.lineno, name))
    return sorted(set(found))


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Map every name that an import binds, at any depth, to what it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Return the dotted name that an expression refers to; empty where it is no imported name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, f"builtins.{node.id}" if node.id in BUILTINS else "")
    # getattr(torch, "load") is torch.load in other words.
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and len(node.args) > 1
    ):
        owner, attribute = _full_name(node.args[0], names), node.args[1]
        if owner and isinstance(attribute, ast.Constant) and isinstance(attribute.value, str):
            return f"{owner}.{attribute.value}"
    if isinstance(node, ast.Attribute):
        owner = _full_name(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _is_safe(call: ast.Call, names: dict[str, str]) -> bool:
    rule = ONLY_WITH.get(_full_name(call.func, names))
    if rule is None:
        return False
    keyword, value, optional = rule
    if any(argument.arg is None for argument in call.keywords):  # **arguments may hold anything
        return False
    given = [argument.value for argument in call.keywords if argument.arg == keyword]
    if not given:
        return optional and len(call.args) < 3  # numpy.load's third is allow_pickle
    return isinstance(given[0], ast.Constant) and given[0].value is value
