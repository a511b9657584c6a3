"""groff's names of special characters, `\\(xx` and `\\[name]`: groff_char(7).

Accented letters are made from their two-character names by rule; only what has no rule is in the table.
"""

from __future__ import annotations

import unicodedata

_TABLE = """
em — en – hy ‐ mi − pl + -> → <- ← <> ↔ da ↓ ua ↑ rA ⇒ lA ⇐ hA ⇔ bu • sq □ lq “ rq ” oq ‘ cq ’ aq ' dq " Bq „
bq ‚ Fo « Fc » fo ‹ fc › rs \\ sl / bv | ba | br │ ul _ rn ‾ ru _ ti ~ ha ^ ga ` aa ´ at @ sh # Do $ co © rg ®
tm ™ de ° ps ¶ sc § dg † dd ‡ mu × di ÷ +- ± <= ≤ >= ≥ != ≠ == ≡ ~= ≅ ~~ ≈ =~ ≅ pt ∝ if ∞ sr √ pd ∂ gr ∇ is ∫
sum ∑ product ∏ mo ∈ nm ∉ sb ⊂ sp ⊃ ib ⊆ ip ⊇ ca ∩ cu ∪ fa ∀ te ∃ AN ∧ OR ∨ no ¬ tno ¬ es ∅ *a α *b β *g γ
*d δ *e ε *z ζ *y η *h θ *i ι *k κ *l λ *m μ *n ν *c ξ *o ο *p π *r ρ *s σ *t τ *u υ *f φ *x χ *q ψ *w ω *G Γ
*D Δ *H Θ *L Λ *C Ξ *P Π *S Σ *F Φ *Q Ψ *W Ω ts ς 12 ½ 14 ¼ 34 ¾ S1 ¹ S2 ² S3 ³ Eu € eu € Ye ¥ Po £ ct ¢ Cs ¤
r! ¡ r? ¿ ss ß ae æ AE Æ oe œ OE Œ -D Ð Sd ð TP Þ Tp þ /O Ø /o ø /L Ł /l ł .i ı oA Å oa å IJ Ĳ ij ĳ lB [ rB ]
lC { rC } la ⟨ ra ⟩ fm ′ sd ″ OK ✓ CR ↵ lz ◊ ci ○ ff ff fi fi fl fl Fi ffi Fl ffl md ⋅ c* ⊗ c+ ⊕ vA ⇕ va ↕
lh ☜ rh ☞ CL ♣ SP ♠ HE ♥ DI ♦ Of ª Om º 3d ∴ tf ∴ an ⎯ coproduct ∐ integral ∫ sqrt √ bar | parenleft (
parenright )
"""

_ACCENTS = {
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    ":": "\u0308",
    "~": "\u0303",
    ",": "\u0327",
    "v": "\u030c",
    "o": "\u030a",
}


def _special_characters() -> dict[str, str]:
    words = _TABLE.split()
    table = dict(zip(words[::2], words[1::2], strict=True))
    for mark, combining in _ACCENTS.items():
        for letter in "AaCcEeIiNnOoSsUuYyZz":
            composed = unicodedata.normalize("NFC", letter + combining)
            if len(composed) == 1:
                table.setdefault(mark + letter, composed)
    return table


SPECIAL_CHARACTERS = _special_characters()
