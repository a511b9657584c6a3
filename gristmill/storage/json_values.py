"""The type of a JSON value whose shape is not ours to know: metadata of a document, a record of somebody's file.

Documents that this product writes itself have their shape as TypedDicts beside what writes them.
"""

from __future__ import annotations

from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What `json.loads` gives; `isinstance` tells which."""
