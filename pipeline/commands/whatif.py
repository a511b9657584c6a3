"""`gristmill whatif`: what another limit of a rule would keep."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.commands.options import Output, output_of


def whatif(
    expressions: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPR...",
            help="What is kept: 'RULE <= N', 'RULE >= N', '3 <= RULE <= 10', < and > too, 'RULE off', or what is "
            "dropped: 'drop when words < 200 and sentences < 5'. RULE: a rule as `gristmill rules` lists it, or a "
            "signal for every rule that limits it.",
        ),
    ],
    option: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Say how many documents, bytes and tokens other limits would keep, from what a run has measured.

    \b
    gristmill whatif "gopher_quality.mean_word_length <= 8"
    gristmill whatif "words >= 40" "duplicate_lines off" -o out
    """
    from gristmill.pipeline.views.whatif.answer import whatif as answer_of
    from gristmill.pipeline.views.whatif.text import as_dict, show

    answer = answer_of(output_of(None, option), expressions)
    if as_json:
        import json

        typer.echo(json.dumps(as_dict(answer), ensure_ascii=False, default=str))
        return
    from gristmill.terminal import console

    show(answer, console())
