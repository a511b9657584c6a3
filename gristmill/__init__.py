"""Gristmill: raw documents in; curated, blended token shards and a trained Nemotron-4 out.

The one package that is imported. `gristmill.pipeline`, `stages`, `tokenizer`, `trainer` and `kernels` are links to the
folders beside this one. Importing this file loads nothing else, so `gristmill.kernels.gpu` needs torch, triton and
numpy alone.
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__` is read from the installed distribution when somebody asks for it."""
    if name != "__version__":
        raise AttributeError(f"module 'gristmill' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gristmill")
    except PackageNotFoundError:  # a checkout on sys.path that was never installed
        return "0+checkout"
