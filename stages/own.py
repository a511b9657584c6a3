"""What a user brings as `module:name`: a stage, a signal, a reader, a method of a blend.

A user's module is found on sys.path and in the current directory. Every mistake is a ValueError in one sentence.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from gristmill.bare_names import remedy


def own_function(reference: str) -> Callable[..., Any]:
    """The function, or another callable, that 'module:function' names."""
    module_name, colon, name = reference.partition(":")
    if not (module_name and colon and name):
        raise ValueError(f"{reference!r} names no function; write module:function")
    function = getattr(own_module(reference, module_name), name, None)
    if function is None:
        raise ValueError(f"{reference!r}: the module {module_name} has no function {name}; check its name")
    if not callable(function):
        raise ValueError(f"{reference!r}: {name} of the module {module_name} is not callable; name a function")
    found: Callable[..., Any] = function
    return found


def own_module(reference: str, module_name: str) -> ModuleType:
    """The module, imported. `reference` is what the configuration says, for the errors."""
    if (sentence := remedy(module_name)) is not None:
        raise ValueError(f"{reference!r}: {sentence}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # a console script's sys.path starts at the script, not here
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if (sentence := remedy(error.name or "")) is not None:  # an import in the user's module
            raise ValueError(f"{reference!r}: in {module_name}, {sentence}") from error
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            sentence = f"{reference!r} needs the package {error.name}, which is not installed; install it"
            raise ValueError(sentence) from error
        raise ValueError(
            f"{reference!r}: there is no module {module_name} on the Python path or in {here}; check its name"
        ) from error
    except ImportError as error:
        if (sentence := remedy(error.name or "")) is not None:  # the same, from a checkout
            raise ValueError(f"{reference!r}: in {module_name}, {sentence}") from error
        raise
