"""What a run would fail with later, said as soon as it is certain: a blend, a tokenizer, a holdout, a missing model.

    before anything is read   files that are named exist; sources and languages leave a domain of a blend without text
    after the first pass      what there is by domain, category, source and language, as if nothing more would leave
    after every decision      the same by domain and language: documents only become fewer
    after `curate`            the same

The configuration is the one that was given, its sizes not settled: `auto` takes what fits. Each is a sentence with the
remedy. `on_shortage: renormalize` takes what there is, so nothing is said of its blends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gristmill.pipeline.steps.findings import Finding
from gristmill.pipeline.steps.first_pass import Grouped, Volume, group_of
from gristmill.stages.blend import Blend, Unit, plan
from gristmill.stages.document import DOMAINS

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config
    from gristmill.pipeline.engine.manifest import Sealed
    from gristmill.pipeline.readers.inventory import FileEntry
    from gristmill.pipeline.readers.left_out import LeftOut
    from gristmill.pipeline.steps.pass_check import Passed

FIXED_PIECES = 256 + 4
"""Bytes and control pieces, beside the digits (`gristmill.tokenizer.train`)."""


def examined(config: Config, files: Sequence[FileEntry], left_out: Sequence[LeftOut] = ()) -> list[Finding]:
    """All that is known before anything is read but the first records of every file. left_out: of the inventory."""
    from gristmill.pipeline.steps.source_check import check, files_left_out, look

    return before_reading(config) + files_left_out(left_out) + check(look(config.sources, files))


def before_reading(config: Config) -> list[Finding]:
    """From the configuration alone. ValueError in one sentence where a file that it names is not there."""
    from gristmill.pipeline.steps.resources import stage_files
    from gristmill.pipeline.steps.tokens import encoder_facts, tokenizer_at
    from gristmill.storage.uris import find

    for stage in config.stages:
        for value in stage_files(stage):
            find(value)
    if config.tokenizer.path:
        try:
            encoder_facts(tokenizer_at(config.tokenizer.path))
        except RuntimeError as error:
            raise ValueError(f"tokenizer.path: {config.tokenizer.path} is no SentencePiece model; name one") from error
    possible = possible_domains(config)
    findings = [
        found
        for name, blend in config.blends.items()
        if (found := missing_domains(name, blend, possible, "no source can hold it, as sources and languages say"))
    ]
    return findings + small_vocabulary(config)


def possible_domains(config: Config) -> set[str]:
    """Domains that sources and `languages` allow."""
    stated = {spec.domain for spec in config.sources}
    possible = set(DOMAINS) if None in stated else {domain for domain in stated if domain in DOMAINS}
    if "prose" in stated:
        possible |= {"english", "multilingual"}
    if config.languages is not None:
        if "en" not in config.languages:
            possible.discard("english")
        if not set(config.languages) - {"en"}:
            possible.discard("multilingual")
    return possible


def small_vocabulary(config: Config) -> list[Finding]:
    from gristmill.tokenizer.train import DIGITS

    least = FIXED_PIECES + len(DIGITS)
    size = config.tokenizer.vocab_size
    if config.tokenizer.path or size == "auto" or size > least:
        return []
    sentence = (
        f"tokenizer.vocab_size is {size:,}, but 256 bytes, {len(DIGITS)} digits and 4 control pieces come first; set "
        "more, or auto"
    )
    return [Finding("tokenizer.small", sentence, void=True)]


def after_pass(config: Config, sources: Sequence[Passed]) -> list[Finding]:
    """From what the first pass leaves of each source."""
    units: list[Unit] = []
    totals: dict[tuple[str, str], Volume] = {}
    for source in sources:
        for (domain, category, language), volume in source.units.items():
            units.append(unit(domain, category, source.spec.name, language, volume))
            totals[domain, language] = totals.get((domain, language), Volume()) + volume
    findings = [found for name, blend in config.blends.items() if (found := blend_finding(name, blend, units))]
    return findings + tokenizer_findings(config, totals)


def after_step(config: Config, sealed: Sealed[Grouped]) -> list[Finding]:
    """From what a step leaves, by domain and language."""
    totals: dict[tuple[str, str], Volume] = {}
    for _, manifest in sealed.done():
        for name, volume in manifest.stats.groups.items():
            domain, language = group_of(name)
            totals[domain, language] = totals.get((domain, language), Volume()) + volume
    return of_totals(config, totals, f"after {sealed.name}")


def of_totals(config: Config, totals: Mapping[tuple[str, str], Volume], when: str) -> list[Finding]:
    """totals: (domain, language) -> what is left."""
    if not any(volume.documents for volume in totals.values()):
        return [Finding("source.nothing", f"nothing is left {when}; `gristmill whatif` shows other limits", void=True)]
    there = {domain for (domain, _), volume in totals.items() if volume.documents}
    reason = f"there is none left {when}"
    findings = [
        found for name, blend in config.blends.items() if (found := missing_domains(name, blend, there, reason))
    ]
    return findings + tokenizer_findings(config, totals)


def unit(domain: str, category: str, source: str, language: str, volume: Volume) -> Unit:
    """With the most tokens that its bytes can be: one each, and one at the end of every document."""
    return Unit(domain, category or None, source, language or None, volume.bytes + volume.documents, volume.documents)


def blend_finding(name: str, blend: Blend, units: Sequence[Unit]) -> Finding | None:
    """A blend that these units cannot give, whatever their tokens are."""
    there = {each.domain for each in units if each.documents}
    missing = missing_domains(name, blend, there, "there is none after the first pass")
    if missing or blend.on_shortage != "error":
        return missing
    try:
        given = {domain: method for domain, method in blend.within.items() if not any(":" in key for key in method)}
        plan(units, replace(blend, within=given, tokens="max"), name)  # one's own methods are asked of tokens alone
        most = sum(each.tokens for each in units) * blend.max_epochs
        if blend.tokens != "max" and blend.tokens > most:
            raise ValueError(
                f"blend {name}: {blend.tokens:,} tokens are more than {most:,.0f}, the bytes that there are "
                f"{blend.max_epochs:g} times; lower blends.{name}.tokens, or write max"
            )
    except ValueError as error:
        return Finding("blend.unmet", str(error), void=True)
    return None


def missing_domains(name: str, blend: Blend, there: Iterable[str], why: str) -> Finding | None:
    """Of domains that have a share, those without text."""
    shares = {domain: share for domain, share in blend.domains.items() if share > 0}
    whole = sum(shares.values())
    lacking = [domain for domain in shares if domain not in set(there)]
    rest = {domain: share for domain, share in shares.items() if domain not in lacking}
    if not lacking or (blend.on_shortage == "renormalize" and rest):
        return None
    wanted = " and ".join(f"{shares[domain] / whole:.0%} {domain}" for domain in lacking)
    sentence = f"blend {name}: {wanted} of it {'is' if len(lacking) == 1 else 'are'} wanted, and {why}"
    if not rest:
        return Finding("blend.unmet", f"{sentence}; add sources, or change blends.{name}.domains", void=True)
    total = sum(rest.values())
    written = {domain: f"{rest.get(domain, 0) / total:.4g}" for domain in shares}
    others = ", ".join(f"{domain}: {share}" for domain, share in written.items())
    whose = "its" if len(lacking) == 1 else "their"
    sentence += (
        f"; give {whose} share to the others with --set blends.{name}.on_shortage=renormalize, or other shares with "
        f"--set 'blends.{name}.domains={{{others}}}'"
    )
    return Finding("blend.unmet", sentence, void=True)


def tokenizer_findings(config: Config, totals: Mapping[tuple[str, str], Volume]) -> list[Finding]:
    """A tokenizer that this text cannot give."""
    if config.tokenizer.path:
        return []
    from gristmill.tokenizer.sample import DOMAIN_SHARES
    from gristmill.tokenizer.train import DIGITS

    shares = DOMAIN_SHARES if config.tokenizer.shares is None else config.tokenizer.shares
    size = sum(volume.bytes for (domain, _), volume in totals.items() if shares.get(domain, 0) > 0)
    if not size:
        named = ", ".join(domain for domain, share in shares.items() if share > 0)
        sentence = (
            f"the tokenizer is trained on {named}, and no text is of it; change tokenizer.shares, or name a finished "
            "one with tokenizer.path"
        )
        return [Finding("tokenizer.no_text", sentence, void=True)]
    wanted = config.tokenizer.vocab_size
    if wanted == "auto" or wanted - FIXED_PIECES - len(DIGITS) <= size:
        return []
    sentence = (
        f"tokenizer.vocab_size is {wanted:,}, more than {size:,} bytes of text can give; --set "
        "tokenizer.vocab_size=auto takes what fits"
    )
    return [Finding("tokenizer.little_text", sentence, void=True)]


def holdout_finding(config: Config, given: Config, documents: int) -> list[Finding]:
    """given: the configuration before its sizes were settled: a holdout that was asked for must not be empty."""
    share = config.sizes.holdout
    if not share or documents * share >= 1:
        return []
    asked = given.shards.holdout != "auto"
    sentence = (
        f"shards.holdout is {share:g} of {documents:,} documents, which is none: "
        + ("nothing would be held out" if asked else "nothing is held out")
        + f"; --set shards.holdout={min(0.5, 2 / max(documents, 1)):.2g} holds some out, 0 none"
    )
    return [Finding("holdout.empty", sentence, void=asked, figures={"documents": documents})]
