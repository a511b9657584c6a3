"""Reading a configuration: a YAML file, or the `run.json` of an output, which holds the one that made it.

A recorded configuration is whole: every default is spelled out and `--set` is in it. Relative paths in it are relative
to the folder that the run was started in, which `run.json` records, so they are found from any folder.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any

from gristmill.settings.errors import ConfigError
from gristmill.settings.located import Located, Plain, parse, read
from gristmill.stages.registry import load

RECORD = "run.json"
HIDDEN = "***"
"""What `gristmill.storage.uris.redacted` puts in the place of a credential."""


def read_configuration(path: str, command: str, keys: Sequence[str]) -> Located:
    """command, keys: as in `gristmill.settings.located.read`. ConfigError in one sentence."""
    if "://" in path and not path.startswith("file://"):
        text = _fetched(path)
    elif posixpath.basename(path) == RECORD and os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as handle:
            text = handle.read()
    else:
        return read(path.removeprefix("file://"), command, keys)
    return _recorded(text, path) if posixpath.basename(path) == RECORD else parse(text, path, keys)


def _fetched(uri: str) -> str:
    from gristmill.storage.uris import open_input

    try:
        with open_input(uri) as stream:
            return bytes(stream.read()).decode()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{uri}: cannot be read ({error}); check the address and the credentials") from None


def _recorded(text: str, path: str) -> Located:
    try:
        record = json.loads(text)
        configuration = record["configuration"]
        directory = (record.get("invocation") or {}).get("directory")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(f"{path}: is not the record of a run; name a configuration") from None
    if HIDDEN in json.dumps(configuration):
        raise ConfigError(
            f"{path}: credentials of the run are not recorded ({HIDDEN}); name the configuration that the run was "
            "started with"
        )
    return Located(anchored(with_automatic(configuration, record.get("automatic") or ()), directory), path)


def with_automatic(configuration: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """With `auto` again for the sizes that followed from the input, as these may be other files now."""
    result = dict(configuration)
    for key in keys:
        section, _, name = key.partition(".")
        result[section] = {**result.get(section, {}), name: "auto"}
    return result


def anchored(configuration: dict[str, Any], directory: str | None) -> dict[str, Plain]:
    """A recorded configuration with its relative paths below `directory`, where that is not the current folder."""
    if directory is None or os.path.abspath(directory) == os.getcwd():
        return configuration

    def place(path: str) -> str:
        is_relative = not path.startswith("/") and not re.match("[A-Za-z][A-Za-z0-9+.-]*:", path)
        return os.path.join(directory, path) if is_relative and path else path

    result = {**configuration, "sources": [{**each, "uri": place(each["uri"])} for each in configuration["sources"]]}
    result["output"] = place(configuration["output"])
    tokenizer = configuration.get("tokenizer") or {}
    if tokenizer.get("path"):
        result["tokenizer"] = {**tokenizer, "path": place(tokenizer["path"])}
    result["stages"] = [_stage(item, place) for item in configuration.get("stages", [])]
    return result


def _stage(item: dict[str, dict[str, Any]], place: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    [(name, fields)] = item.items()
    try:
        files = load(name).files  # type: ignore[attr-defined]
    except ValueError:  # a stage of somebody's own that is not here
        return item
    moved = dict(fields)
    for field in files:
        value = fields.get(field)
        if isinstance(value, str):
            moved[field] = place(value)
        elif value:
            moved[field] = [place(str(each)) for each in value]
    return {name: moved}
