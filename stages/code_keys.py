"""Whether a record is source code by the keys that it has, beside `programming_language`.

Collections of source code name where a file lies and what it is in; a record that does both is code, whatever its text
looks like, a README too:

    max_stars_repo_path, max_stars_repo_name    The Stack v1, StarCoder's data (Kocetkov et al. 2022, Li et al. 2023)
    a repository (or a `source` on GitHub and   The Stack v2, CodeParrot's github-code, RedPajama's GitHub
    the like), and a path that names a language
    a programming language, and a path,         collections that have `lang` or `language` and `ext`, `extension` or
    extension or repository that fits           `path`

A path alone, or a language alone, is a hint that needs the text (`stages.code_domain`): a `language` of "c", "go" or
"lua" may be anything, an `ext` of html holds prose, and articles are called Node.js. Objects of metadata (`meta`,
`metadata`) are looked into, as strings of JSON too. A record that has none of the keys costs a comparison of sets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gristmill.stages.code_names import MARKUP, PROGRAMMING_LANGUAGES, candidates_of_path, programming_language
from gristmill.stages.code_places import PATH_KEYS, REPOSITORY_KEYS

STACK_KEYS = ("max_stars_repo_path", "max_stars_repo_name")
EXTENSION_KEYS = ("ext", "extension")
LANGUAGE_KEYS = ("lang", "language")
METADATA_KEYS = ("meta", "metadata")
KEYS = frozenset((*STACK_KEYS, *PATH_KEYS, *REPOSITORY_KEYS, *EXTENSION_KEYS))
EVIDENT_KEYS = KEYS.union(METADATA_KEYS)
"""A record without any of them is not asked."""
NATURAL = frozenset(("ts", "el", "sh", "io"))
"""Aliases of programming languages that are ISO 639-1 codes: Tsonga, Greek, Serbo-Croatian, Ido."""
_FORGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:github|gitlab|bitbucket|codeberg|gitee)\.(?:com|org)/[\w.-]+/[\w.-]+", re.I
)
_KEY_IN_JSON = re.compile('"(?:{})"'.format("|".join(sorted(KEYS))))
_MAX_JSON_CHARACTERS = 1 << 16


class Evidence(NamedTuple):
    decided: bool
    """Whether the keys say so without a programming language."""
    named: str | None
    """The programming language that they name."""
    allowed: tuple[str, ...]
    """Languages that path or extension stand for, the likeliest first."""
    repository: bool

    def code(self, stated: str | None) -> str | None:
        """The programming language if the record is code, else None. stated: what the record's column `language`
        holds."""
        named = known_language(stated) or self.named
        fits = self.repository or named in self.allowed or (self.allowed and self.allowed[0] not in MARKUP)
        if not self.decided and not (named and fits):
            return None
        return named or next(iter(self.allowed), "other")


NOTHING = Evidence(False, None, (), False)
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
    return slug if slug in PROGRAMMING_LANGUAGES and name.lower() not in NATURAL else None


def _evidence(record: Mapping[str, Any]) -> Evidence | None:
    path = _first(record, PATH_KEYS)
    extension = _first(record, EXTENSION_KEYS)
    allowed = candidates_of_path(path) if path else ()
    if not allowed and extension:
        allowed = candidates_of_path(f"a.{extension.lstrip('.')}")
    repository = _first(record, REPOSITORY_KEYS) is not None or _is_forge(record.get("source"))
    stack = _first(record, STACK_KEYS) is not None
    if not (allowed or repository or stack):
        return None
    named = next((found for name in LANGUAGE_KEYS if (found := known_language(record.get(name)))), None)
    return Evidence(stack or (repository and bool(allowed)), named, allowed, repository)


def _is_forge(source: object) -> bool:
    """Whether a record's `source` is the address of a repository, as in github.com/owner/name."""
    return isinstance(source, str) and _FORGE.match(source) is not None


def _first(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((value for key in keys if isinstance(value := record.get(key), str) and value), None)


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
