"""Writes the lock files beside it: `make lock`, or `python requirements/lock.py [OPTIONS OF UV]` with uv installed.

    torch.txt      torch alone
    run.txt        all else that the demo runs with: the base and the extras gpu, hub and trafilatura
    build.txt      what building fasttext and kenlm takes beside a compiler
    reference.txt  the extra reference
    dev.txt        linters, types, tests

The newest versions within the ranges of pyproject.toml, for Python 3.11 on Linux x86-64, each with the hashes of all
files of its release. A package stands in the first file that needs it. They are installed with `pip install --no-deps
--require-hashes`, build.txt before reference.txt. An option such as `--exclude-newer 2026-11-01` or `--constraints X`
goes to `uv pip compile`.

torch has several builds of one version. The file on PyPI is built for CUDA and asks for some twenty packages of CUDA's;
the build for CPUs has a hash of its own and asks for none. torch.txt has the hashes of both. pip prefers a file whose
hash the index tells, whatever else it is set up for; so make first downloads the build that pip would choose without
hashes, and installs that file if it has one of these. CUDA's packages are in no lock file: make lets pip add those that
the installed build asks for.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAYERS: dict[str, tuple[Sequence[str], str]] = {
    "run": (("gpu", "hub", "trafilatura"), "setuptools>=77"),
    "build": ((), "cmake<5\npybind11\nsetuptools>=77\nwheel"),
    "reference": (("reference",), ""),
    "dev": (("dev",), ""),
}
"""File -> extras, and requirements that are no dependency of ours. setuptools builds Gristmill itself."""
CUDA = re.compile(r"(nvidia|cuda)-")
CPU_BUILD = ("2.13.0", "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b")
"""torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl, by `pip hash`; renew it when torch's version moves."""
HEADER = """\
# Written by `make lock` from pyproject.toml: Python 3.11, Linux x86-64. requirements/lock.py says what stands where.
"""


def compiled(extras: Sequence[str], more: str, *options: str) -> dict[str, str]:
    """Package -> its lines, as uv resolves them for Python 3.11 on Linux x86-64."""
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    where = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
    asked = [argument for extra in extras for argument in ("--extra", extra)]
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *where, *asked, *options]
    sources = ["pyproject.toml"] if extras else []
    found = subprocess.run(
        [*command, *sources, "-"], cwd=HERE.parent, input=more, stdout=subprocess.PIPE, text=True, check=True
    )
    blocks = re.findall(r"^\S.*(?:\n {4}.*)*", found.stdout, re.M)
    return {re.split(r"[=\[ ;]", block, maxsplit=1)[0]: block for block in blocks}


def main() -> int:
    extras = [extra for layer, _ in LAYERS.values() for extra in layer]
    whole = compiled(extras, "\n".join(more for _, more in LAYERS.values()), "--generate-hashes", *sys.argv[1:])
    version, digest = CPU_BUILD
    if f"torch=={version} " not in whole["torch"]:
        print(f"{whole['torch'].split()[0]}: CPU_BUILD has the hash of {version}: put in that of this version")
        return 1
    (HERE / "torch.txt").write_text(f"{HEADER}{whole['torch']} \\\n    --hash=sha256:{digest}\n")
    pins = HERE / ".pins.txt"
    pins.write_text("".join(block.split()[0] + "\n" for block in whole.values()))
    taken = {"torch"}
    try:
        for layer, (asked, more) in LAYERS.items():
            needed = compiled(asked, more, "--constraints", str(pins)).keys() - taken
            kept = [package for package in sorted(needed) if not CUDA.match(package)]
            (HERE / f"{layer}.txt").write_text(HEADER + "".join(whole[package] + "\n" for package in kept))
            print(f"requirements/{layer}.txt: {len(kept)} packages")
            taken |= needed
    finally:
        pins.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
