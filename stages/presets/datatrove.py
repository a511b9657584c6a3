"""The four quality filters of datatrove 0.10.1 with its defaults, on its own definitions (`stages.compat`).

For a corpus that must be filtered as FineWeb was: `signals: {compat: datatrove}` measures what these rows limit. In our
definitions the same rules are `gopher_quality`, `gopher_repetition`, `fineweb` and `c4_datatrove`. The stop words are
English, and so is their row; the rest is asked of every natural language, as datatrove does.
"""

from gristmill.stages.presets.rule import ENGLISH, NATURAL, Rule


def _rows(preset: str, source: str, limits: dict[str, tuple[float | None, float | None]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            name=f"{preset}.datatrove_{signal}",
            signal=f"datatrove_{signal}",
            minimum=minimum,
            maximum=maximum,
            domains=ENGLISH if signal == "stop_words" else NATURAL,
            languages=("en",) if signal == "stop_words" else (),
            source=f"datatrove 0.10.1, {source}",
        )
        for signal, (minimum, maximum) in limits.items()
    )


GOPHER_QUALITY = _rows(
    "datatrove_gopher_quality",
    "GopherQualityFilter",
    {
        "words": (50, 100_000),
        "mean_word_length": (3, 10),
        "hashes_per_word": (None, 0.1),
        "ellipses_per_word": (None, 0.1),
        "bullet_lines": (None, 0.9),
        "ellipsis_lines": (None, 0.3),
        "alpha_words": (0.8, None),
        "stop_words": (2, None),
    },
)

GOPHER_REPETITION = _rows(
    "datatrove_gopher_repetition",
    "GopherRepetitionFilter",
    {
        "characters": (1, None),
        "duplicate_paragraphs": (None, 0.3),
        "duplicate_paragraph_characters": (None, 0.2),
        "duplicate_lines": (None, 0.3),
        "duplicate_line_characters": (None, 0.2),
        "top_2_gram": (None, 0.2),
        "top_3_gram": (None, 0.18),
        "top_4_gram": (None, 0.16),
        "duplicate_5_grams": (None, 0.15),
        "duplicate_6_grams": (None, 0.14),
        "duplicate_7_grams": (None, 0.13),
        "duplicate_8_grams": (None, 0.12),
        "duplicate_9_grams": (None, 0.11),
        "duplicate_10_grams": (None, 0.10),
    },
)

FINEWEB = _rows(
    "datatrove_fineweb",
    "FineWebQualityFilter",
    {
        "lines": (1, None),
        "ended_lines": (0.12, None),
        "short_lines": (None, 0.67),
        "repeated_line_characters": (None, 0.01),
        "line_breaks_per_word": (None, 0.3),
    },
)

C4 = _rows(
    "datatrove_c4",
    "C4QualityFilter",
    {"lorem_ipsum_lines": (None, 0), "curly_lines": (None, 0), "sentences": (5, None)},
)
