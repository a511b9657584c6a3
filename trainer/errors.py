"""Errors meant for people: one sentence that names a file, key or line and says what to do.

The command line prints the sentence without a traceback and leaves with `exit_code`.
"""

from __future__ import annotations


class TrainerError(Exception):
    """The run cannot go on; exit code 1."""

    exit_code = 1


class ConfigError(TrainerError):
    """The command or the configuration is wrong; exit code 2."""

    exit_code = 2
