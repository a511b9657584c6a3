"""What a checkout's folders answer to when they are imported by their bare names: `import stages`, `import kernels`.

From a checkout, `pipeline/`, `stages/`, `tokenizer/`, `trainer/` and `kernels/` lie on `sys.path` as if each were a
package. Nothing may be loaded under two names, so an import of `stages.interface` ends in one sentence that gives the
right name. `python -m pipeline`, `-m tokenizer` and `-m trainer` stay commands. `kernels` is also the name of a package
by Hugging Face: the bare name hands over to the next package of that name on the path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

BARE_NAMES = ("pipeline", "stages", "tokenizer", "trainer", "kernels")
COMMANDS = ("pipeline.__main__", "tokenizer.__main__", "trainer.__main__")
_refused: set[str] = set()


def remedy(module: str) -> str | None:
    """One sentence where `module` is one of ours by its bare name, as in 'stages.interface'; else None."""
    if module.partition(".")[0] not in BARE_NAMES:
        return None
    return f"{module} is now gristmill.{module}; write `gristmill.{module}` in its place"


class _Refusal:
    """Finds no module below a bare name, and says where it went."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        bare, _, below = fullname.partition(".")
        if below and bare in _refused and fullname not in COMMANDS:
            raise ImportError(remedy(fullname), name=fullname)
        return None


def refuse(bare: str) -> None:
    """From here on an import below this bare name raises ImportError with a sentence, except `python -m`'s."""
    _refused.add(bare)
    if _Refusal not in sys.meta_path:
        sys.meta_path.insert(0, _Refusal)


def hand_over(bare: str, own: Path) -> None:
    """Loads the next package of this name on `sys.path` in the place of the folder `own`; refuses where none is."""
    others = [entry for entry in sys.path if not _is_same(Path(entry or ".") / bare, own)]
    spec = PathFinder.find_spec(bare, others)
    if spec is None or spec.loader is None:
        refuse(bare)
        return
    module = module_from_spec(spec)
    sys.modules[bare] = module
    spec.loader.exec_module(module)


def _is_same(folder: Path, own: Path) -> bool:
    return folder.exists() and folder.samefile(own)
