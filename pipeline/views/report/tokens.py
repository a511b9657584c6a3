"""Sections about tokens: each blend against its target, the tokenizer, the training curve."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from gristmill.pipeline.steps.record import BlendRecord, BlendSettings, UnitRecord
from gristmill.pipeline.views.report.charts import Panel, Share, bar, curves, pair, shares
from gristmill.pipeline.views.report.data import Run
from gristmill.pipeline.views.report.elements import Section, folded, quiet, table
from gristmill.pipeline.views.report.figures import count, duration, esc, language, number, plural, share, short
from gristmill.pipeline.views.report.sums import UNIT, Group, unit_key
from gristmill.pipeline.views.report.training import Evaluation, Point, Training

CHART_POINTS = 160


def blends_section(run: Run) -> Section | None:
    blends = run.record["blends"]
    if not blends:
        return None
    body = "".join(
        blend(name, entry, run.record["configuration"].get("blends", {}).get(name), run.taken.get(name) or None)
        for name, entry in blends.items()
    )
    lede = "Shares of tokens in the shards against the plan. A source repeated has more than one epoch."
    return Section("blends", "The blend" if len(blends) == 1 else "Blends", lede, body)


def blend(
    name: str,
    entry: BlendRecord,
    configured: BlendSettings | None = None,
    taken: Mapping[Group, tuple[int, int]] | None = None,
) -> str:
    """taken: what the shards hold by (domain, category, source, language); None where they do not say."""
    targets, found = entry["target_tokens_by_domain"], entry["tokens_by_domain"]
    whole, planned = max(1, sum(found.values())), max(1, sum(targets.values()))
    asked = configured.get("domains", {}) if configured else {}
    asked_sum = sum(asked.values()) or 1
    rows, notes = [], [esc(note) for note in entry["notes"]]
    for domain in dict.fromkeys([*(d for d in asked if d in targets), *targets, *found]):
        value, target = found.get(domain, 0) / whole, targets.get(domain, 0) / planned
        points = 100 * (value - target)
        off = f"{points:+.2f}".replace("-", "−") if abs(points) >= 0.005 else "±0.00"
        tokens = short(found.get(domain, 0))
        note = f"{100 * value:.2f} % (target {100 * target:.2f} %, {off} points) · {tokens}"
        rows.append(Share(domain, value, target, note, f"{100 * value:.2f} % of {100 * target:.2f} % · {tokens}"))
        if domain in asked and abs(asked[domain] / asked_sum - target) > 0.0005:
            notes.append(f"{esc(domain)} was configured at {share(asked[domain], asked_sum)}.")
    head = (
        f"<h3>{esc(name)}</h3><p>{count(entry['tokens'])} tokens of {plural(entry['documents'], 'document')} in "
        f"{plural(entry['shards'], 'shard')}; {count(entry['holdout_tokens'])} tokens held out.</p>"
    )
    figure = f"<figure>{pair(lambda width: shares(rows, width))}</figure>"
    by_language = units_table(entry["units"], ("domain", "language"), planned, taken)
    by_source = units_table(entry["units"], ("domain", "category", "source"), planned, taken)
    return head + figure + "".join(map(quiet, notes)) + by_language + by_source


def units_table(
    units: Sequence[UnitRecord],
    keys: tuple[str, ...],
    planned: int,
    taken: Mapping[Group, tuple[int, int]] | None,
) -> str:
    """Sums over units that agree in `keys`; epochs are target over what is there, `taken` stands beside the target."""
    sums: dict[Group, list[int]] = {}
    for unit in units:
        whole = unit_key(unit)
        entry = sums.setdefault(tuple(dict(zip(UNIT, whole))[key] for key in keys), [0, 0, 0, 0])
        _, in_shards = (taken or {}).get(whole, (0, 0))
        for i, value in enumerate((unit["documents"], unit["tokens"], unit["target"], in_shards)):
            entry[i] += value
    most = max([1.0, *(target / tokens for _, tokens, target, _ in sums.values() if tokens)])
    rows = []
    for key, (documents, tokens, target, found) in sorted(sums.items(), key=lambda item: (-item[1][2], item[0])):
        epochs = target / tokens if tokens else 0.0
        last = language(key[0], key[-1]) if keys[-1] == "language" else esc(key[-1])
        names = [last, esc(key[0]), *(esc(part) for part in key[1:-1])]
        actual = (count(found), share(found, target, 1)) if taken else ()
        figures = (count(documents), count(tokens), count(target), *actual, share(target, planned, 2))
        rows.append((*names, *figures, bar(epochs / most), f"{epochs:.2f}"))
    beside = ("taken", "of target") if taken else ()
    head = (keys[-1], *keys[:-1], "documents", "tokens there", "target", *beside, "planned share", "", "epochs")
    several = len(keys) > 2  # then the domain tells rows apart on a phone too, and the share makes room for it
    kinds = f"l{'lL' if several else 'L'}NNN{'nN' if taken else ''}{'N' if several else 'n'}Bn"
    return folded(head, rows, kinds, 8, "rows", f"By {keys[-1]}")


def tokenizer_section(run: Run) -> Section | None:
    report = run.tokenizer
    if report is None:
        return None
    whole, pieces = report["all"], report.get("pieces", {})
    trip = (
        "every document came back exactly"
        if not whole["round_trip_failures"]
        else (f"{plural(whole['round_trip_failures'], 'document')} did not come back exactly")
    )
    lede = (
        f"{count(report['tokenizer']['vocab_size'])} pieces, measured on {plural(whole['documents'], 'document')}: "
        f"{number(round(whole['bytes_per_token'] or 0, 3))} bytes per token; {trip}."
    )
    if pieces:
        lede += f" {share(pieces['used'], pieces['of_text'])} of the pieces were used."
    rows = [*report["languages"]]
    most = max([1.0, *(row["bytes_per_token"] or 0 for row in rows)])
    cells = [
        (
            language(row["domain"], row["language"]),
            bar((row["bytes_per_token"] or 0) / most),
            _ratio(row["bytes_per_token"]),
            _ratio(row["characters_per_token"]),
            _ratio(row["fertility"]),
            share(row["byte_fallback_rate"] or 0, 1, 2),
            share(row["coverage"] or 0, 1, 2),
            count(row["tokens"]),
        )
        for row in rows
    ]
    head = (
        "language",
        "",
        "bytes per token",
        "characters per token",
        "tokens per word",
        "byte fallback",
        "coverage",
        "tokens",
    )
    body = folded(head, cells, "lbnNnNNN", 16, "languages")
    return Section("tokenizer", "The tokenizer", lede, body)


def training_section(training: Training | None) -> Section | None:
    if training is None:
        return None
    points = thinned(training.points)
    start = training.start
    entropy = start.get("unigram_entropy")
    reference = (entropy, f"unigram entropy {entropy:.3f}") if isinstance(entropy, int | float) else None
    title = "loss, nats per token"
    x = [point.tokens for point in points]
    panels = [
        Panel(title, [p.loss for p in points], 300, _two, [(p.least, p.greatest) for p in points], reference),
        Panel("learning rate", [p.learning_rate for p in points], 110, _rate, zero=True, kind="curve second"),
        Panel(
            "gradient norm before clipping", [p.grad_norm for p in points], 110, _two, zero=True, kind="curve second"
        ),
    ]
    data = json.dumps(
        [[p.tokens, _six(p.loss), _six(p.learning_rate), _six(p.grad_norm), round(p.tokens_per_s)] for p in points]
    )
    chart = pair(lambda width: curves(x, panels, width, "tokens", short))
    parameters = f"{short(start['parameters'])} parameters, " if "parameters" in start else ""
    lede = (
        f"{parameters}{short(x[-1])} tokens in {plural(training.steps, 'step')}, {duration(training.seconds)}. "
        f"The last step's loss is {training.last_loss:.3f}."
    )
    if reference:
        lede += " A model that knew nothing but how often each token occurs would stand at the dashed line."
    body = f'<figure class="curves" data-points="{esc(data)}">{chart}<output></output></figure>'
    if any(p.greatest > p.least for p in points):
        body += quiet("The line is the mean of the steps behind a point, the band their least and greatest loss.")
    body += "".join(evaluation(entry) for entry in training.evaluations[-4:])
    facts = quiet(f"From <code>{esc(training.path)}</code>.")
    others = quiet(f"Shorter runs, not shown: {esc(', '.join(training.others))}.") if training.others else ""
    return Section("training", "The training", lede, body + facts + others)


def evaluation(entry: Evaluation) -> str:
    rows = [("all", entry), *entry.get("domains", {}).items()]
    cells = [
        (esc(name), _ratio(row.get("loss"), 4), _ratio(row.get("bits_per_byte"), 4), count(row.get("tokens", 0)))
        for name, row in rows
        if row.get("tokens")
    ]
    return table(("held out", "loss, nats per token", "bits per byte", "tokens"), cells, "lnnn")


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most CHART_POINTS, neighbours joined."""
    step = max(1, -(-len(points) // CHART_POINTS))
    joined = []
    for i in range(0, len(points), step):
        point = points[i]
        for after in points[i + 1 : i + step]:
            point = point.join(after)
        joined.append(point)
    return joined


def _ratio(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _two(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else count(value)


def _rate(value: float) -> str:
    if not value:
        return "0"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")


def _six(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
