"""`gristmill publish`: an output to the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.commands.options import Output, output_of


def publish(
    first: Annotated[str, typer.Argument(metavar="DIR", help="The same as --output.")],
    second: Annotated[
        str | None, typer.Argument(metavar="hf://datasets/ORG/NAME", help="The data set; made if need be.")
    ] = None,
    option: Output = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="With ledger/: what left, and why.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public; private otherwise.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Upload curated/ and its data set card to the Hugging Face Hub. Goes on where it was interrupted.

    The token is that of `hf auth login` or HF_TOKEN. An output that `gristmill verify` does not pass is refused.

    \b
    gristmill publish out hf://datasets/ORG/NAME
    gristmill publish --output out hf://datasets/ORG/NAME
    """
    import json

    from gristmill.pipeline.engine.progress import size_text
    from gristmill.pipeline.upkeep.publish import publish as upload
    from gristmill.wording import plural

    argument, target = (None, first) if second is None else (first, second)
    done = upload(output_of(argument, option), target, ledger=ledger, private=not public)
    if as_json:
        typer.echo(json.dumps(done.to_dict(), ensure_ascii=False))
        return
    if done.edited:
        typer.echo("README.md has been edited since the run wrote it, so it is the card as it is")
    typer.echo(f"{done.url}: {plural(done.files, 'file')}, {size_text(done.bytes)}")
