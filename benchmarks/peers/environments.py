"""The peers' own environments, since their pins exclude each other's: `.peers/<name>`, built once.

    python benchmarks/peers/environments.py [NAME ...]      all of them without a name; about 10 GB, ten minutes

Nothing of Gristmill imports them: a benchmark runs a worker script with the peer's Python and reads what it writes.
KenLM's `lmplz` and `build_binary` come from the sources that the package `kenlm` is built from; they need cmake and
Boost (Debian: cmake libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

FOLDER = Path(os.environ.get("GRISTMILL_PEERS", Path(__file__).parents[2] / ".peers"))
PINS = {
    "datatrove": [
        "datatrove[processing,multilingual]==0.10.1",
        "xxhash<4",
        "lxml_html_clean==0.4.6",
        "orjson",
        "pyarrow==26.0.1",
        "zstandard>=0.23,<0.26",
    ],
    "nemo": ["nemo-curator==1.4.0"],
    "dolma": ["dolma==1.2.1", "numpy<2", "aiobotocore==2.5.4", "boto3==1.28.17", "botocore==1.31.17"],
}
WITHOUT_DEPENDENCIES = {"nemo"}
"""NeMo Curator's pull 6.4 GB; its text filters are looked at alone."""
IMPORTED = {"datatrove": ("datatrove.pipeline.filters", "spacy", "stanza", "orjson", "zstandard")}
"""What the worker scripts import, and what their reader needs to open .zst: looked at before anything is measured."""
KENLM = "kenlm==0.3.0"


def python(name: str) -> str:
    """The peer's interpreter. FileNotFoundError where its environment is not built."""
    path = FOLDER / name / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{path}: not there; run `python benchmarks/peers/environments.py {name}`")
    return str(path)


def check(*names: str) -> None:
    """Raises in one sentence where an environment lacks something, before a benchmark has measured for minutes."""
    for name in names:
        code = "import importlib, sys; [importlib.import_module(each) for each in sys.argv[1:]]"
        done = subprocess.run([python(name), "-c", code, *IMPORTED.get(name, ())], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f"{FOLDER / name}: {done.stderr.strip().splitlines()[-1]}; run "
                f"`python benchmarks/peers/environments.py {name}`"
            )


def tool(name: str) -> str:
    """lmplz or build_binary."""
    path = FOLDER / "kenlm" / "build" / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: not there; run `python benchmarks/peers/environments.py kenlm`")
    return str(path)


def versions(name: str, *packages: str) -> dict[str, str]:
    """Installed versions of the packages in a peer's environment."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    done = subprocess.run([python(name), "-c", code, *packages], capture_output=True, text=True, check=True)
    import json

    found: dict[str, str] = json.loads(done.stdout)
    return found


def build(name: str) -> None:
    if name == "kenlm":
        build_kenlm()
        return
    folder = FOLDER / name
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    extra = ["--no-deps"] if name in WITHOUT_DEPENDENCIES else []
    subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *extra, *PINS[name]], check=True)


def build_kenlm() -> None:
    folder = FOLDER / "kenlm"
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--no-deps", "--no-binary", "kenlm", "--no-build-isolation", "-d", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *options, KENLM], check=True)
    [archive] = folder.glob("kenlm*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    [source] = [path.parent for path in folder.glob("*/CMakeLists.txt")]
    (folder / "build").mkdir(exist_ok=True)
    subprocess.run(["cmake", str(source), "-DCMAKE_BUILD_TYPE=Release"], cwd=folder / "build", check=True)
    subprocess.run(["make", "lmplz", "build_binary", "query"], cwd=folder / "build", check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or [*PINS, "kenlm"]:
        build(name)
        print(f"{name}: {FOLDER / name}")
