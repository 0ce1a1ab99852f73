"""How a free-text response names its answer. Phase 1 reads the answer off; phase 2 removes the sentences that give it away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reasvqa.samples import LETTERS

QUALIFIER = (
    r"(?:final|correct|right|best|chosen|predicted|likely|plausible|suitable|appropriate|logical|reasonable|accurate)"
)
_SOFTENER = r"(?:(?:most\s+)?likely|probably|clearly|definitely|therefore|thus|indeed|most\s+probably)"
# "###Answer:", "**Answer**: ", "the correct answer is", "the best option would be", "my choice: option" ...
_MARKER = re.compile(
    rf"\b(?:answer|(?:{QUALIFIER}|my|our)\s+(?:option|choice))\b(?:\s+(?:to|for)\s+(?:the|this)\s+question)?"
    rf"[\s*_#\"']*(?:[:=\uff1a]|\bis\b|\bwould\s+be\b|\bshould\s+be\b|\bmust\s+be\b|\bseems\s+to\s+be\b|\bappears\s+to\s+be\b)"
    rf"[\s*_:]*(?:{_SOFTENER}\b[\s*_,:]*)?(?:(?:option|choice|answer)\b[\s*_:]*)?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[\"'`*_\s]*(?:\\boxed\{|[(\[])?([A-Ja-j])(?:[)\]}])?(?![\w'\u2019-])")
# "Option B is the correct one", "B is the best answer", "I choose (B)", "\boxed{B}"
_NAMED = (
    re.compile(
        rf"(?:\b(?:option|choice|answer)\s+)?(?<![\w'])\(?([A-J])\)?[*_]*\s+(?:is|as)\s+(?:the\s+|our\s+)?(?:most\s+\w+\s+)?(?:{QUALIFIER}|answer)\b"
    ),
    re.compile(
        r"\b(?:[Cc]hoose|[Ss]elect|[Pp]ick|[Gg]o\s+with)\s+(?:the\s+)?(?:(?:option|answer|choice)\s+)?\(?([A-J])\)?(?![\w'])"
    ),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-J])\)?\s*\}"),
)
_BARE = re.compile(r"[\s*_#(\[\"'`]*(?:(?:[Oo]ption|[Cc]hoice)\s+)?[(\[]?([A-J])[)\]]?[\s*_.:)\]\"'`]*")
_ALTERNATIVE = re.compile(r"[)\]*_\s]*(?:,|/|\bor\b|\band\b)[\s*_]*(?:option\s+)?[(\[]?[A-J](?![\w'])")


def named_letters(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, letter) of every place where the text names an option's letter as its answer, in order."""
    found = []
    for marker in _MARKER.finditer(text):
        letter = _LETTER.match(text, marker.end())
        if letter and not _is_article(text, letter) and not _ALTERNATIVE.match(text, letter.end()):
            found.append((marker.start(), letter.end(), letter.group(1).upper()))
    for pattern in _NAMED:
        found += [(match.start(), match.end(), match.group(1)) for match in pattern.finditer(text)]
    yield from sorted(found)


def _is_article(text: str, letter: re.Match[str]) -> bool:
    """ "the answer is a cup", "Answer: A cup": a lone a (or I) that a lower-case word follows is no option's letter."""
    if letter.group(0)[-1] not in "AaIi":
        return False
    return re.match(r"\s+[a-z]" if letter.group(1).isupper() else r"\s+\w", text[letter.end() :]) is not None


def is_bare_letter(text: str) -> str | None:
    """The letter, if the text is nothing else: "B", "(B).", "**Option B**"."""
    match = _BARE.fullmatch(text)
    return match.group(1) if match else None


def parse_answer(text: str, options: Sequence[str]) -> int | None:
    """The option a response settles on.

    In this order: the last place where a letter is named as the answer ("###Answer: C", "the correct answer is (C)"); the
    last place where an option's text is ("Therefore, the answer is the cup"); a response, or its last or first line, that is
    only a letter or begins with one ("C. The cup"); an option's text that stands alone or is the only one in the last sentence.

    Args:
        text: the response, any text.
        options: the options' texts, 2 to 10.

    Returns:
        The option's index, or None when the response names none of them. A letter beyond the last option names none.
    """
    letters = LETTERS[: len(options)]
    named = [letter for _, _, letter in named_letters(text) if letter in letters]
    if named:
        return letters.index(named[-1])
    for marker in reversed(list(_MARKER.finditer(text))):
        rest = text[marker.end() :]
        index = _named_text(rest.strip().split("\n")[0], options, at_start=True)
        if index is not None:
            return index
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    for line in (lines[-1], lines[0]):
        letter = is_bare_letter(line)
        if letter is None:
            listed = re.match(r"[*_(\[]*([A-J])[)\].:]+[*_]*\s+(.*)", line)
            if listed and listed.group(1) in letters:
                index = letters.index(listed.group(1))
                letter = listed.group(1) if _normal(options[index]) in _normal(listed.group(2)) else None
        if letter is not None and letter in letters:
            return letters.index(letter)
    whole = [i for i, option in enumerate(options) if _normal(option) == _normal(text)]
    if whole:
        return whole[0]
    return _named_text(re.split(r"(?<=[.!?])\s+", lines[-1])[-1], options, at_start=False)


def _normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _named_text(text: str, options: Sequence[str], at_start: bool) -> int | None:
    """The one option whose text stands in `text` as words (at its start, an article aside); the longest if one contains another."""
    haystack = f" {_normal(text)} "
    found = []
    for i, option in enumerate(options):
        needle = _normal(option)
        if not needle:
            continue
        if at_start:
            bare = re.sub(r"^(?:the|a|an) ", "", needle)
            begins = re.sub(r"^ (?:that |the |a |an )*", " ", haystack)
            if begins.startswith(f" {bare} "):
                found.append((len(bare), i))
        elif f" {needle} " in haystack:
            found.append((len(needle), i))
    if not found or (
        not at_start and len({options[i] for _, i in found}) > 1 and not _nested([options[i] for _, i in found])
    ):
        return None
    return max(found, key=lambda item: (item[0], -item[1]))[1]


def _nested(options: Sequence[str]) -> bool:
    """True when the longest of the texts contains all others."""
    texts = sorted(map(_normal, options), key=len)
    return all(text in texts[-1] for text in texts)
