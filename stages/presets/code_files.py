"""Files that are in a repository but not of it: generated, minified, vendored, lock files. For the domain `code`.

What counts as such is in `stages.code_signals`; a file whose record gives no path is neither vendored nor a lock file.
"""

from gristmill.stages.presets.rule import Rule

_SOURCE = "the project's own lists, after github-linguist"
_CODE = ("code",)

RULES = tuple(
    Rule(f"code_files.{signal}", signal, None, 0, _CODE, (), _SOURCE)
    for signal in ("generated", "minified", "vendored", "lock_file")
)
