"""`gristmill train launch`: a run on the nodes of a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.trainer.commands.options import Debug, Json, Set, print_json, sentences

app = typer.Typer()


@app.command()
def launch(
    config: Annotated[str, typer.Argument(help="A YAML file, or a shipped configuration: nemotron4_15b, ...")],
    nodes: Annotated[int, typer.Option(help="Nodes of the Ray cluster.", min=1)] = 1,
    processes: Annotated[int, typer.Option(help="Processes per node, one for each GPU.", min=1)] = 8,
    cpu: Annotated[bool, typer.Option("--cpu", help="Without GPUs.")] = False,
    restarts: Annotated[int, typer.Option(help="How often to start again after a failure.", min=0)] = 0,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on the nodes of a Ray cluster, each by torchrun; RAY_ADDRESS names the cluster, as `ray job submit` does.

    \b
    gristmill train launch /shared/15b.yaml --nodes 96
    ray job submit --working-dir . -- python -m trainer launch /shared/15b.yaml --nodes 96
    """
    with sentences(debug):
        from gristmill.trainer.config.keys import read_config
        from gristmill.trainer.launch import check_paths
        from gristmill.trainer.launch import launch as started

        settings = read_config(config, set_ or ())  # a mistake is said here, once
        check_paths(settings, nodes)
        arguments = [config, *(word for each in set_ or () for word in ("--set", each))]
        code = started(arguments, nodes, processes, not cpu, restarts, lambda text: typer.echo(text, err=True))
        if as_json:
            print_json({"exit_code": code, "metrics": f"{settings.logging.directory}/metrics.jsonl"})
        if code:
            raise typer.Exit(code)
