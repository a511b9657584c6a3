"""`gristmill.kernels.gpu` needs torch, triton and numpy, and what these need themselves: nothing else is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ALONE = """
import re, sys
from importlib import import_module
from importlib.metadata import distribution, packages_distributions
from pkgutil import walk_packages

needed, open_ = set(), ["torch", "triton", "numpy"]
while open_:  # with what they require
    name = re.sub(r"[-_.]+", "-", open_.pop()).lower()
    if name not in needed:
        needed.add(name)
        try:
            wanted = distribution(name).requires or []
        except ImportError:
            continue
        open_ += [re.match(r"[\\w.-]+", line)[0] for line in wanted if "extra ==" not in line]
owners = packages_distributions()

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        theirs = {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners.get(top, ())}
        if top in owners and top != "gristmill" and not theirs & needed:
            raise ModuleNotFoundError(f"No module named {name!r}: it is neither torch, triton nor numpy", name=name)

sys.meta_path.insert(0, Absent)
for blocked in ("pyarrow", "numba", "pydantic", "yaml"):
    try:
        import_module(blocked)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{blocked} could be imported")

import gristmill.kernels.gpu
modules = [found.name for found in walk_packages(gristmill.kernels.gpu.__path__, "gristmill.kernels.gpu.")]
for module in modules:
    import_module(module)

import torch
from gristmill.kernels.gpu import registry

ops = registry.load("cpu", prefer="reference")
x, weight = torch.ones(3, 4, requires_grad=True), torch.ones(5, 4, requires_grad=True)
y = ops.squared_relu(ops.linear(x, weight))
y.sum().backward()
assert torch.equal(y, torch.full((3, 5), 16.0)) and torch.equal(x.grad, torch.full((3, 4), 40.0))
registry.load("cpu")

ours = {name for name in sys.modules if name.partition(".")[0] == "gristmill"}
assert ours == {"gristmill", "gristmill.kernels", "gristmill.kernels.gpu", *modules}, ours
print(len(modules))
"""


@pytest.mark.slow
def test_it_imports_torch_triton_and_numpy_alone() -> None:
    pytest.importorskip("triton")
    result = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    files = [path for path in (ROOT / "kernels" / "gpu").glob("*.py") if path.stem != "__init__"]
    assert int(result.stdout) == len(files)
