"""The error of a wrong configuration, apart from the reader: who only raises or catches it loads no YAML."""

from __future__ import annotations


class ConfigError(Exception):
    """What is wrong with a command or a configuration: one sentence a line, each with its key and where it stands."""

    exit_code = 2
