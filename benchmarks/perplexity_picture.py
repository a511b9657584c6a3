"""The picture of the perplexity benchmark: for every language how clean text and junk lie along perplexity, as SVG."""

from __future__ import annotations

from html import escape
from typing import Any

WIDTH, HEIGHT, GAP, COLUMNS = 250, 120, 24, 3
_CLEAN, _JUNK, _INK = "#2a78b5", "#d1603d", "#333333"
_DECADES = (1, 6)  # perplexity 10 to 1,000,000


def picture(panels: list[dict[str, Any]], title: str) -> str:
    """panels: {language, junk, auc, clean and junk shares by bin of equal width in log10 over `_DECADES`}."""
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + 2 * GAP + 14) + 2 * GAP + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{GAP}" y="{GAP}" font-size="14">{escape(title)}</text>',
        *_key(width - 190, GAP),
    ]
    for i, panel in enumerate(panels):
        x, y = GAP + i % COLUMNS * (WIDTH + GAP), 2 * GAP + 18 + i // COLUMNS * (HEIGHT + 2 * GAP + 14)
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def bins(log10: Any, count: int = 40) -> list[float]:
    """Shares of documents in `count` bins; what lies outside is in the first or the last."""
    import numpy as np

    first, last = _DECADES
    place = np.clip(((np.asarray(log10) - first) / (last - first) * count).astype(int), 0, count - 1)
    return [round(float(share), 5) for share in np.bincount(place, minlength=count) / max(1, len(place))]


def _panel(panel: dict[str, Any]) -> list[str]:
    top = max(*panel["clean_shares"], *panel["junk_shares"])
    first, last = _DECADES
    head = f"{panel['language']}: prose, {panel['junk']}"
    parts = [
        f'<text y="-6">{escape(head)}</text><text x="{WIDTH}" y="-6" text-anchor="end">AUC {panel["auc"]:.3f}</text>',
        *(_area(panel[f"{kind}_shares"], top, color) for kind, color in (("clean", _CLEAN), ("junk", _JUNK))),
        f'<path d="M0 {HEIGHT}H{WIDTH}" stroke="{_INK}"/>',
    ]
    for decade in range(first, last + 1):
        x = (decade - first) / (last - first) * WIDTH
        label = f"{10**decade:,}" if decade < 5 else f"10{'⁵⁶'[decade - 5]}"
        anchor = "start" if decade == first else "end" if decade == last else "middle"
        parts.append(f'<path d="M{x:.1f} {HEIGHT}v4" stroke="{_INK}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT + 15}" text-anchor="{anchor}">{label}</text>')
    return parts


def _area(shares: list[float], top: float, color: str) -> str:
    step = WIDTH / len(shares)
    points = "".join(f"H{i * step:.1f}V{HEIGHT * (1 - share / top):.1f}" for i, share in enumerate(shares))
    return f'<path d="M0 {HEIGHT}{points}H{WIDTH}V{HEIGHT}Z" fill="{color}" fill-opacity="0.45" stroke="{color}"/>'


def _key(x: int, y: int) -> list[str]:
    return [
        f'<rect x="{x + 90 * i}" y="{y - 9}" width="10" height="10" fill="{color}" fill-opacity="0.6"/>'
        f'<text x="{x + 14 + 90 * i}" y="{y}">{name}</text>'
        for i, (name, color) in enumerate((("prose", _CLEAN), ("junk", _JUNK)))
    ]
