"""The arrows between packages, and who may touch what (DESIGN, section 2)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "desiderata": {"circuitfind", "tasks", "scripts", "torch", "transformer_lens", "transformers"},
    "circuitfind": {"tasks", "scripts"},
    "tasks": {"circuitfind", "scripts", "torch", "transformer_lens"},
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path): both for path in files if (both := imports_of(path) & FORBIDDEN[package])}
    assert not wrong


def test_only_model_imports_transformer_lens():
    files = (ROOT / "circuitfind").rglob("*.py")
    assert {path.name for path in files if "transformer_lens" in imports_of(path)} == {"model.py"}


def test_only_patching_adds_hooks():
    words = ("add_hook", ".hooks(", "run_with_hooks", "register_forward", "register_full_backward")
    files = (ROOT / "circuitfind").rglob("*.py")
    assert {path.name for path in files if any(word in path.read_text() for word in words)} == {
        "patching.py"
    }
