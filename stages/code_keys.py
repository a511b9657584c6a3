"""Whether a record is source code by the keys that it has, beside `programming_language`.

Collections of source code name where a file lies and what it is in; a record that does both is code, whatever its text
looks like, a README too:

    max_stars_repo_path, max_stars_repo_name     The Stack v1, StarCoder's data (Kocetkov et al. 2022, Li et al. 2023)
    repository and path                          The Stack v2, CodeParrot's github-code, RedPajama's GitHub
    lang or language, with ext, extension, path  a programming language by name, beside one of these or a repository

A path alone, or a language alone, is a hint that needs the text (`stages.code_domain`): a `language` of "c" or "go" may
be anything, and articles are called Node.js. Objects of metadata (`meta`, `metadata`) are looked into, as strings of
JSON too. Of the records that have none of the keys it costs one comparison of sets each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gristmill.stages.code_names import PROGRAMMING_LANGUAGES, candidates_of_path, programming_language
from gristmill.stages.code_places import PATH_KEYS, REPOSITORY_KEYS

STACK_KEYS = ("max_stars_repo_path", "max_stars_repo_name")
EXTENSION_KEYS = ("ext", "extension")
LANGUAGE_KEYS = ("lang", "language")
METADATA_KEYS = ("meta", "metadata")
KEYS = frozenset((*STACK_KEYS, *PATH_KEYS, *REPOSITORY_KEYS, *EXTENSION_KEYS))
EVIDENT_KEYS = KEYS.union(METADATA_KEYS)
"""A record without any of them is not asked."""
_KEY_IN_JSON = re.compile('"(?:{})"'.format("|".join(sorted(KEYS))))
_MAX_JSON_CHARACTERS = 1 << 16


class Evidence(NamedTuple):
    decided: bool
    """Whether the keys say so without a programming language."""
    language: str | None
    """The programming language that they name or that the path allows first."""

    def code(self, stated: str | None) -> str | None:
        """The programming language if the record is code, else None. stated: what the record's column `language`
        holds."""
        named = known_language(stated)
        if not self.decided and named is None:
            return None
        return named or self.language or "other"


NOTHING = Evidence(False, None)
"""Of a record that has none of the keys, or whose `language` alone would count."""


def code_evidence(record: Mapping[str, Any]) -> Evidence | None:
    """What a record's keys say, but for `language`, which may be mapped; None: nothing."""
    if not KEYS.isdisjoint(record) and (found := _evidence(record)):
        return found
    for name in METADATA_KEYS:
        inner = record.get(name)
        if inner is not None and not isinstance(inner, dict):
            inner = _object(inner)
        if inner is not None and not KEYS.isdisjoint(inner) and (found := _evidence(inner)):
            return found
    return None


def known_language(name: object) -> str | None:
    """The programming language of that name, None where there is none."""
    if not isinstance(name, str) or not 0 < len(name) <= 60:
        return None
    slug = programming_language(name)
    return slug if slug in PROGRAMMING_LANGUAGES else None


def _evidence(record: Mapping[str, Any]) -> Evidence | None:
    path = next((value for name in PATH_KEYS if isinstance(value := record.get(name), str) and value), None)
    by_path = candidates_of_path(path) if path else ()
    extension = next((value for name in EXTENSION_KEYS if isinstance(value := record.get(name), str) and value), None)
    by_extension = candidates_of_path(f"a.{extension.lstrip(chr(46))}") if extension else ()
    repository = any(isinstance(record.get(name), str) and record[name] for name in REPOSITORY_KEYS)
    stack = any(isinstance(record.get(name), str) for name in STACK_KEYS)
    named = next((found for name in LANGUAGE_KEYS if (found := known_language(record.get(name)))), None)
    if not (path or extension or repository or stack):
        return None
    language = named or next(iter(by_path or by_extension), None)
    return Evidence(stack or bool(repository and by_path) or named is not None, language)


def _object(value: object) -> dict[str, Any] | None:
    """Of a string that holds JSON."""
    if not isinstance(value, str) or value[:1] != "{" or len(value) > _MAX_JSON_CHARACTERS:
        return None
    if not _KEY_IN_JSON.search(value):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
