"""Errors meant for people: one sentence that names a file, key or line and says what to do.

The command line prints the sentence without a traceback and leaves with `exit_code`. `ConfigError`, exit code 2, is
that of `gristmill.settings`: the command or the configuration is wrong.
"""

from __future__ import annotations

from gristmill.settings.errors import ConfigError

__all__ = ["ConfigError", "TrainerError"]


class TrainerError(Exception):
    """The run cannot go on; exit code 1."""

    exit_code = 1
