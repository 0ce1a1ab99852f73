"""Phase 2, RR: what of a generated reasoning the student learns from (paper, section 3.2 and appendix A.4).

Sentence by sentence, what concludes goes: the fixed patterns of A.4, the Markdown variants that models write, and any other
sentence that gives an option's letter away as the answer. Where the generator was wrong, the words of the ground truth go
too. Every removal has a named rule, so that a reader can see why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reasvqa.answers import QUALIFIER, is_bare_letter, named_letters

_DECOR = r"[\s#*_>\-]*"
_SO = r"(?:(?:therefore|thus|hence|so|consequently|accordingly|overall|in\s+conclusion|in\s+summary|finally)\b[\s,:]*)?"

# Rules in the order they are tried; the first that matches names the removal. All match from the sentence's beginning.
RULES: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "answer heading": rf"{_DECOR}(?:(?:the|my|final|correct|right|best|predicted)\s+)*answer[\s*_]*(?:[:\uff1a]|$)",
        "conclusion heading": rf"{_DECOR}(?:(?:final|in)\s+)?conclusion[\s*_]*(?:[:\uff1a,]|$)|#+\s*conclusion\b",
        "explanation heading": r"[\s*_]*#+[\s*_]*(?:detailed\s+)?(?:explanation|reasoning)\b|\s*\*\*\s*detailed\s+(?:explanation|reasoning)\b",
        "correct answer": rf"{_DECOR}{_SO}(?:the|our|my)\s+(?:\w+\s+){{0,3}}?{QUALIFIER}\s+(?:answer|option|choice)\b",
        "the answer is": rf"{_DECOR}{_SO}(?:the|our|my)\s+answer\b(?:\s+to\s+(?:the|this)\s+question)?\s+"
        r"(?:is|would|should|must|seems|appears|can|could|has)\b",
        "observations": rf"{_DECOR}{_SO}(?:based\s+on|given|considering|from|with)\s+(?:all\s+)?(?:these|those|the|this|that)\s+(?:\w+\s+)?"
        r"(?:observations?|evidence|details)\b",
    }.items()
}
LETTER_RULE = "option letter"
WORD_RULE = "ground-truth word"

# Words that stay although the ground truth has them: without them nothing would be left of the grammar.
STOP_WORDS = frozenset(
    "a an the of to in on at by with and or but for from into onto as than then so if is are was were be been being am do does did done"
    " has have had having it its he him his she her hers they them their theirs this that these those there here who whom which what"
    " when where why how not no nor can could will would shall should may might must up down out off over under again also too very"
    " i me my we us our you your someone something".split()
)

_LABEL = re.compile(r"\s*(?:[-*\u2022]\s+|\(?\d+[.)]\s+)")
# A sentence ends at . ! ? before white space, but not after a lone option letter: "Answer: C. The cup." is one sentence.
_SENTENCE = re.compile(r"\S.*?(?:(?<!\b[A-J])[.!?]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|$)")


@dataclass(frozen=True)
class Removal:
    """text[start:end] goes, because of `rule`."""

    start: int
    end: int
    rule: str


def removals(text: str, answer: str | None = None, correct: bool = True) -> list[Removal]:
    """What one pass of refinement takes out of `text`, in order, without overlaps. Arguments as in `refine`."""
    found = list(_concluding(text))
    for start, end, _ in named_letters(text):  # a letter that stands in another line than the words that announce it
        start = text.rfind("\n", 0, start) + 1
        if not any(removal.start < end and start < removal.end for removal in found):
            found.append(Removal(start, end, LETTER_RULE))
    if not correct and answer:
        gone = [(removal.start, removal.end) for removal in found]
        for match in _words_of(answer).finditer(text) if _words_of(answer) else ():
            if not any(start <= match.start() < end for start, end in gone):
                found.append(Removal(match.start(), match.end(), WORD_RULE))
    return sorted(found, key=lambda removal: removal.start)


def refine(text: str, answer: str | None = None, correct: bool = True) -> str:
    """The reasoning without its conclusion and, if the generator was wrong, without the words of the true answer.

    Args:
        text: a generator's response.
        answer: the ground-truth option's text; needed only when `correct` is False.
        correct: did the generator choose the right option? (CR and IR of section 3.1)

    Returns:
        What remains: a subsequence of the input's characters, paragraphs and numbered steps in place; refining it again
        changes nothing. Empty when everything concludes.
    """
    while True:
        rest, at = [], 0
        for removal in removals(text, answer, correct):
            rest.append(text[at : removal.start])
            at = removal.end
        refined = _tidy("".join([*rest, text[at:]]))
        if refined == text:
            return refined
        text = refined


def _concluding(text: str) -> Iterator[Removal]:
    """The sentences that conclude. A heading that stands alone takes what it announces along: the line after an answer's,
    the paragraph after a conclusion's."""
    announced = ""
    at = 0
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        if not line.strip():
            announced = "" if announced == "conclusion heading, open" else announced
            continue
        label = _LABEL.match(line)
        if announced:
            yield Removal(start + (len(line) - len(line.lstrip())), start + len(line.rstrip()), announced.split(",")[0])
            announced = "conclusion heading, open" if announced.startswith("conclusion") else ""
            continue
        for match in _SENTENCE.finditer(line, label.end() if label else 0):
            sentence = match.group().rstrip()
            rule = _rule_of(sentence)
            if rule is None:
                continue
            yield Removal(start + match.start(), start + match.start() + len(sentence), rule)
            alone = (
                not line[match.end() :].strip() and not re.search(r"\w", sentence[RULES[rule].match(sentence).end() :])
                if rule in RULES
                else False
            )
            if alone and rule in ("answer heading", "conclusion heading"):
                announced = rule


def _rule_of(sentence: str) -> str | None:
    """The name of the rule by which a sentence goes, or None when it stays."""
    for name, pattern in RULES.items():
        if pattern.match(sentence):
            return name
    if is_bare_letter(sentence) or next(named_letters(sentence), None):
        return LETTER_RULE
    return None


def _words_of(answer: str) -> re.Pattern[str] | None:
    """Matches the content words of an answer, as whole words, with a possessive ending and the space before."""
    words = [word for word in re.findall(r"\w+(?:[-'\u2019]\w+)*", answer) if word.casefold() not in STOP_WORDS]
    if not words:
        return None
    alternatives = "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))
    return re.compile(rf"(?<![\w\-])(?:{alternatives})(?:['\u2019]s)?(?![\w\-])", re.IGNORECASE)


def _tidy(text: str) -> str:
    """Closes the gaps that removals leave; drops lines of which only a number, a bullet or punctuation is left."""
    lines = []
    for line in text.splitlines():
        indent = re.match(r"[ \t]*", line).group()
        line = re.sub(r"[ \t]+", " ", line.strip())
        line = re.sub(r" +([.,;:!?])", r"\1", line)
        line = re.sub(r"[,;:]+(?=[.!?])", "", line)
        if re.search(r"[^\W\d_]", line) or (line and re.search(r"\w", _LABEL.sub("", line + " "))):
            lines.append((indent if _LABEL.match(line) else "") + line)
        elif not line:
            lines.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n").rstrip()
