"""Compiled loops: Numba over text in `text`, Triton over tensors in `gpu`."""

if __name__ == "kernels":  # a checkout on sys.path; gristmill.bare_names says what then
    from pathlib import Path

    from gristmill.bare_names import hand_over

    hand_over(__name__, Path(__file__).parent)
