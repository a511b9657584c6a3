"""The commands that look into a run, one a file; `pipeline.cli` registers them.

Each is a typer function: parameters annotated, a docstring with an example, heavy imports inside, `--json` for
programs. What a command knows is in a module of `pipeline/` beside it, without a terminal.
"""
