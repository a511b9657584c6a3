"""Escape sequences go to terminals that take them, and nowhere else."""

from __future__ import annotations

import io

import pytest

from gristmill.terminal import console, takes_escapes, wrapped


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_may_decline(environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert takes_escapes(Tty()) is expected
    assert not takes_escapes(io.StringIO())
    monkeypatch.setattr("sys.stdout", Tty())
    shown = Tty()
    monkeypatch.setattr("sys.stdout", shown)
    console().print("bold", style="bold red")
    assert ("\x1b" in shown.getvalue()) is expected


def test_what_goes_into_a_file_has_no_escapes_whatever_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdout", shown)
    console().print("bold", style="bold red")
    assert shown.getvalue() == "bold\n"


def test_long_lines_are_broken_for_a_terminal_and_left_alone_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    line = " ".join(["grain"] * 20)
    broken = list(wrapped([line, "short"], Tty()))
    assert max(map(len, broken)) <= 40
    assert broken[1].startswith("  grain")
    assert list(wrapped([line], io.StringIO())) == [line]
