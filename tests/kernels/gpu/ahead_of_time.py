"""Kernels compiled for Hopper (sm_90) without a GPU, in a process of their own: the interpreter is chosen at import.

    compiled([Case(...), ...]) -> [Build(...), ...]      one process for all cases of a test file

A build is kept beside this file under a name made from all that it depends on, so it is made once and not in every run.
A case names a kernel, the types of its run-time arguments ("*bf16", "*fp32", "i32", "i64", "fp32"), and its
constants. Pointers, and integers named in `divisible`, are multiples of 16 as torch's are. What is asserted of a build:
tensor-core instructions (`wgmma`), registers spilled (0), width of its loads from memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
OTHER = Path(os.environ.get("GRISTMILL_TRITON_36") or ROOT / ".venv" / "triton-3.6")
TRITONS = {"pinned": ""} | ({"3.6": str(OTHER)} if (OTHER / "triton").is_dir() else {})
"""Names of the versions to compile with, and the folders they are installed in ("" for the environment's own); `make
test` installs the other one."""
KEPT = Path(__file__).parent / "__pycache__" / "builds"


@dataclass(frozen=True)
class Case:
    kernel: str
    """"gristmill.kernels.gpu.layernorm:_forward"."""
    types: Mapping[str, str]
    """Name of each run-time argument: its type."""
    constants: Mapping[str, Any]
    divisible: Sequence[str] = ()
    warps: int = 4
    stages: int = 3


@dataclass(frozen=True)
class Build:
    triton: str
    ptx: str
    registers: int
    spilled_bytes: int
    """Stores and loads together."""
    shared_bytes: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def wgmma(self) -> int:
        """Tensor-core instructions of Hopper."""
        return len(re.findall(r"\bwgmma\.mma_async", self.ptx))

    def widest_load(self) -> int:
        """Bytes that the widest load from global memory takes at once, per thread; 16 is the most."""
        widths = [int(n or 1) * int(bits) // 8 for n, bits in _LOADS.findall(self.ptx)]
        asynchronous = [int(size, 16) for size in _COPIES.findall(self.ptx)]
        return max(widths + asynchronous, default=0)


_COPIES = re.compile(r"cp\.async\.c[ag]\.shared\.global \[[^\]]*\], \[[^\]]*\], 0x([0-9a-f]+)")
_LOADS = re.compile(r"ld\.global(?:\.[a-zA-Z:_0-9]+)*?(?:\.v(\d))?\.[bfusx](\d+)")


def compiled(cases: Sequence[Case], version: str = "pinned") -> list[Build]:
    """Builds of the cases by a version of Triton, in their order; what the compiler said where one fails."""
    kept = [KEPT / f"{_name(case, version)}.json" for case in cases]
    missing = {path: case for path, case in zip(kept, cases, strict=True) if not path.exists()}
    if missing:
        KEPT.mkdir(parents=True, exist_ok=True)
        for path, build in zip(missing, _compiled(list(missing.values()), version), strict=True):
            beside = path.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps(build))
            beside.replace(path)
    return [Build(**json.loads(path.read_text())) for path in kept]


def _name(case: Case, version: str) -> str:
    """Of a build: from the case, the source of all kernels, this file, and the compiler's version."""
    depends = [json.dumps(asdict(case)), _sources(), *_version(version)]
    return hashlib.sha256("\0".join(depends).encode()).hexdigest()[:32]


@cache
def _sources() -> str:
    files = [Path(__file__), *sorted((ROOT / "kernels" / "gpu").glob("*.py"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


@cache
def _version(version: str) -> tuple[str, str]:
    where = [TRITONS[version]] if TRITONS[version] else sys.path
    found = next(iter(distributions(name="triton", path=where)))
    return found.version, sys.version


def _compiled(cases: Sequence[Case], version: str) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [TRITONS[version], str(ROOT)]))
    with tempfile.TemporaryDirectory() as folder:
        environment["TRITON_CACHE_DIR"] = folder
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps([asdict(case) for case in cases]),
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    builds: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return builds


def _main() -> None:
    import importlib

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    builds = []
    for case in json.load(sys.stdin):
        module, name = case["kernel"].split(":")
        kernel = getattr(importlib.import_module(module), name)
        names = list(kernel.arg_names)
        constants = {n: tuple(value) if isinstance(value, list) else value for n, value in case["constants"].items()}
        signature = {n: "constexpr" if n in constants else case["types"][n] for n in names}
        even = {
            (i,): [["tt.divisibility", 16]]
            for i, n in enumerate(names)
            if n not in constants and (case["types"][n].startswith("*") or n in case["divisible"])
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=even)
        options = {"num_warps": case["warps"], "num_stages": case["stages"]}
        built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        builds.append({"triton": triton.__version__, "ptx": built.asm["ptx"], **_assembled(built)})
    print(json.dumps(builds))


def _assembled(built: Any) -> dict[str, int]:
    """Registers and spills as ptxas reports them; shared memory, which a launch asks for, as Triton does."""
    import triton

    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(built.asm["ptx"])
        file.flush()
        command = [str(ptxas), "-v", "--gpu-name", "sm_90a", file.name, "-o", os.devnull]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    counts = {"registers": r"Used (\d+) registers", "stores": r"(\d+) bytes spill stores"}
    counts |= {"loads": r"(\d+) bytes spill loads"}
    found = {name: max(map(int, re.findall(pattern, said)), default=0) for name, pattern in counts.items()}
    spilled = found["stores"] + found["loads"]
    return {"registers": found["registers"], "spilled_bytes": spilled, "shared_bytes": built.metadata.shared}


if __name__ == "__main__":
    _main()
