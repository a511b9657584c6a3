"""Licences of source files: the SPDX line, and lists of those to keep."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.stages.code_license import CodeLicense
from gristmill.stages.document import DOCUMENT


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    common = {"id": bytes(16), "source": "s", "path": "p", "record": 0, "domain": "code", "priority": 0}
    (result,) = pa.Table.from_pylist([common | row for row in rows], DOCUMENT).combine_chunks().to_batches()
    return result


def test_the_spdx_line_fills_what_no_record_states() -> None:
    texts = {
        "// SPDX-License-Identifier: Apache-2.0\nint a;\n": "Apache-2.0",
        "#!/bin/sh\n# Copyright\n#\n# SPDX-License-Identifier: (MIT OR GPL-2.0-only)\n": "(MIT OR GPL-2.0-only)",
        "/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */\n": "GPL-2.0 WITH Linux-syscall-note",
        "x\n" * 50 + "// SPDX-License-Identifier: MIT\n": None,
        "int a;\n": None,
    }
    found = CodeLicense().apply(batch([{"text": text} for text in texts]))
    assert found.column("license").to_pylist() == list(texts.values())
    stated = [{"text": next(iter(texts)), "license": "MIT"}, {"text": next(iter(texts)), "domain": "english"}]
    assert CodeLicense().apply(batch(stated)).column("license").to_pylist() == ["MIT", None]
    assert "dropped_by" not in found.schema.names


@pytest.mark.parametrize(
    ("license_", "reason"),
    [
        ("MIT", None),
        ("mit", None),
        ("GPL-3.0 OR MIT", None),
        ("MIT/Apache-2.0", None),
        ("(MIT AND GPL-2.0) OR Apache-2.0", None),
        ("Apache-2.0 WITH LLVM-exception", None),
        ("MIT AND GPL-2.0", "code_license.unlisted"),
        ("GPL-2.0", "code_license.unlisted"),
        ("MIT)", "code_license.unlisted"),
        (None, "code_license.unknown"),
    ],
)
def test_only_listed_licences_are_kept(license_: str | None, reason: str | None) -> None:
    stage = CodeLicense(allow=("MIT", "apache-2.0"))
    rows = [{"text": "x", "license": license_}, {"text": "x", "license": license_, "domain": "english"}]
    assert stage.apply(batch(rows)).column("dropped_by").to_pylist() == [reason, None]


def test_a_single_name_is_no_list() -> None:
    with pytest.raises(ValueError, match="write \\[MIT\\]"):
        CodeLicense(allow="MIT")  # type: ignore[arg-type]
