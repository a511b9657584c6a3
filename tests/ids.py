"""Every test's id as the last commit had it, so that none is lost when tests are moved, shared or made faster.

python tests/ids.py            which tests are gone and which are new, against tests/ids.txt; 1 where one is gone
python tests/ids.py --write    notes what there is now: for tests that were renamed or removed on purpose
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Set
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".txt")


def noted() -> frozenset[str]:
    return frozenset(LIST.read_text("utf-8").splitlines())


def lost(collected: Set[str]) -> list[str]:
    """Noted tests that are not there.

    Those of a Triton that is not installed here are not missed; nor, without a reference engine, are whole files, as
    those that import it are skipped before their tests are known.
    """
    from gristmill.extras import EXTRAS
    from tests.kernels.gpu.ahead_of_time import TRITONS

    absent = {test for test in noted() - collected if "3.6" in TRITONS or "[3.6" not in test}
    if not all(is_installed(package) for package, extra in EXTRAS.items() if extra == "reference"):
        files = {test.partition("::")[0] for test in collected}
        absent = {test for test in absent if test.partition("::")[0] in files}
    return sorted(absent)


def is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def main(*options: str) -> int:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--override-ini", "addopts=--import-mode=importlib"]
    listed = subprocess.run([*command, "-q"], cwd=ROOT, capture_output=True, text=True)
    collected = {line for line in listed.stdout.splitlines() if line.startswith("tests/") and "::" in line}
    if listed.returncode or not collected:
        print(listed.stdout, listed.stderr, file=sys.stderr)
        return 2
    if "--write" in options:
        LIST.write_text("\n".join(sorted(collected)) + "\n", "utf-8")
        return 0
    gone = lost(collected)
    for mark, tests in (("-", gone), ("+", sorted(collected - noted()))):
        for test in tests:
            print(mark, test)
    return 1 if gone else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main(*sys.argv[1:]))
