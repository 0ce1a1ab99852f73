"""Read the answer off free text (phase 1) and find the sentences that give it away (for phase 2).

Everything works sentence by sentence on plain text (no Markdown, no LaTeX, no brackets).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from reasvqa.languages import may_be_abroad, named_abroad
from reasvqa.phrases import (
    ALTERNATIVE,
    ANNOUNCES,
    ARROW,
    ARTICLE,
    ASIDE,
    BARE,
    BARE_MANY,
    BOXED,
    CONTRAST,
    CORRECTED,
    CORRECTING,
    DENIED,
    FIRST,
    FREE,
    HEADING,
    HIDDEN,
    INITIAL,
    LABELLED,
    LETTER,
    MARKED,
    MARKER_ALONE,
    MARKING,
    NOT_BUT,
    NOUN,
    OPEN_ENDS,
    OPENS,
    OPTION_BEFORE,
    PHRASES,
    RETRACTING,
    RULED_OUT,
    WEAK_ASIDE,
    Phrase,
)
from reasvqa.samples import LETTERS
from reasvqa.text import Sentence, check_text, cleaned, has_one, normalised, plain, sentences


class Naming(NamedTuple):
    """The letters a sentence names as the answer, in order ("" if none). explicit: it does nothing else ("Answer: B",
    "\\boxed{B}"); bare: it is nothing else ("**B**", "Option B."); announces: it ends where its answer should stand."""

    letters: str
    explicit: bool = False
    bare: bool = False
    announces: bool = False


_NOTHING = Naming("")


@lru_cache(maxsize=4096)  # reading an answer, refining and making sure that nothing is left look at the same sentences
def named(sentence: str, abroad: bool = True) -> Naming:
    """What a sentence, as the text has it, names as the answer."""
    if LETTER.search(sentence) or HIDDEN.search(sentence):
        naming = _named(plain(sentence), sentence)
        if naming.letters:
            return naming
    if abroad and may_be_abroad(sentence):
        letters, explicit = named_abroad(plain(sentence))
        if letters:
            return Naming(letters, explicit)
    if sentence.rstrip(" \t*_`\"'.\\[($").lower().endswith(OPEN_ENDS) and ANNOUNCES.search(plain(sentence)[-400:]):
        return Naming("", announces=True)
    return _NOTHING


def _named(text: str, raw: str) -> Naming:
    """The same of a sentence that may name something, given plain and as it stands."""
    bare = BARE.match(text) if len(text) < 60 else None
    if bare:
        return Naming(bare.group(1), explicit=True, bare=True)
    if "boxed" in raw:
        boxed = BOXED.search(raw)
        if boxed:
            return Naming("".join([boxed.group(1), *_alternatives(raw, boxed.end(1))]), explicit=True)
    folded, leading = text.lower(), _only_leads(text)
    if not leading and not text.endswith("?") and has_one(folded, CORRECTING):
        corrected = [match for match in CORRECTED.finditer(text) if _is_letter(text, match.end(1))]
        if corrected:
            return Naming(corrected[-1].group(1), explicit=True)
        swapped = NOT_BUT.search(text) or ARROW.search(raw)
        if swapped and (swapped.start() < 4 or re.search(f"(?i:{NOUN})", text)):
            return Naming(swapped.group(1), explicit=True)
    explicit, letters = False, []
    for match in MARKED.finditer(text) if has_one(folded, MARKING) else ():
        before = text[max(0, match.start() - 120) : match.start()]
        if (
            text.endswith("?")
            or _hypothetical(before[-60:], match.group())
            or INITIAL.search(before[-20:] + match.group())
        ):
            continue
        if match.group("many"):
            letters += match.group("many") if BARE_MANY.match(text, match.end()) else ""
        elif match.group("low"):
            letters.append(match.group("low").upper())
        elif _is_letter(text, match.end(1)):
            letters.append(match.group(1))
            letters += _alternatives(text, match.end(1))
        else:
            continue
        explicit = explicit or (match.start() < 120 and bool(OPENS.match(before)))
    if not letters:
        label = LABELLED.match(text) if not leading else None
        if label and _is_letter(text, label.end(1)):
            return Naming("".join(dict.fromkeys([label.group(1), *_alternatives(text, label.end(1))])), True)
    if not letters and not text.endswith("?"):
        for phrase, words, pattern in _compiled(tuple(PHRASES)):
            if (leading and phrase.behind) or (words and not has_one(folded, words)):
                continue
            at_the_end = max(0, len(text) - 90) if phrase.name == "short" else 0
            for match in pattern.finditer(text, at_the_end):
                letters += _affirmed(text, match, phrase)
            if letters:
                break
        aside = ASIDE.search(raw) if ")" in raw[-12:] else None
        if not letters and aside and not CONTRAST.search(text):
            letters.append(aside.group(1) or aside.group(2))
    explicit = explicit or (bool(letters) and RETRACTING.match(text) is not None)
    return Naming("".join(dict.fromkeys(letters)), explicit and bool(letters))


def _alternatives(text: str, at: int) -> list[str]:
    """The letters that follow one as its equals: "A or B", "A, C and E"."""
    found = []
    while alternative := ALTERNATIVE.match(text, at):
        found.append(alternative.group(1))
        at = alternative.end(1)
    return found


def _hypothetical(before: str, said: str) -> bool:
    """ "if the answer is A", "If it were closed, the answer would be A", "whether the answer is"."""
    if re.search(
        r"(?i:\b(?:if|whether|unless|suppose|assume|assuming|not that|why|how|what))(?: the| my)?(?: \w+)? ?$", before
    ):
        return True
    return (
        re.search(r"(?i:\bwould be|could be\b)", said) is not None
        and re.search(r"(?i:\bif\b|\bwere\b|\bhad\b)", before) is not None
    )


def _is_letter(text: str, end: int) -> bool:
    """Return False for an article or a pronoun: "the answer is A cup", "Answer: A Boy Waves", "Answer: I think"."""
    return text[end - 1] not in "AI" or not ARTICLE.match(text, end)


def _only_leads(text: str) -> bool:
    """Return True when the only letter is that of a list's item, at the beginning."""
    return text[:1] in LETTERS and text[1:2] in (")", ".", ":") and not LETTER.search(text, 2)


@lru_cache(maxsize=4)
def _compiled(phrases: tuple[Phrase, ...]) -> list[tuple[Phrase, list[str], re.Pattern[str]]]:
    return [(phrase, phrase.words.split(), re.compile(phrase.pattern)) for phrase in phrases]


def _affirmed(text: str, match: re.Match[str], phrase: Phrase) -> list[str]:
    """The letters of an affirming match, unless it is denied, supposed, an article, or a name."""
    if match.lastindex:
        at = match.start(match.lastindex)
    else:  # a subject: the letter is the first one
        at = match.start() + next(LETTER.finditer(match.group())).start()
    before = text[max(0, match.start() - 60) : match.start()]
    if DENIED.search(before) or DENIED.search(text[match.start() : at]) or _hypothetical(before, match.group()):
        return []
    if phrase.weak and CONTRAST.search(text, match.end() if phrase.name == "held" else at, match.end() + 200):
        return []
    if phrase.name == "leads" and RULED_OUT.search(before):
        return []
    if not OPTION_BEFORE.search(text[max(0, at - 12) : at]):
        word = re.search(r"([\w'’]+) ?$", text[max(0, at - 24) : at])
        if phrase.name != "praised":
            if not _is_letter(text, at + 1):
                return []
        elif word and text[at + 1 : at + 2] != ")" and word.group(1).casefold() not in FREE:
            return []
    first = re.search(rf"(?<!\w)([A-J])\)?,? (?:and|or|&) (?i:{NOUN} )?$", text[max(0, at - 20) : at])
    return [*(first.groups() if first else ()), text[at], *_alternatives(text, at + 1)]


def lists_option(sentence: str) -> bool:
    """True for a sentence that begins like an option's line: "B", "(B) The cup", "- **Option B:** the cup"."""
    text = plain(sentence)
    return bool(FIRST.match(text) or BARE.match(text))


def parse_answer(text: str, options: Sequence[str]) -> int | None:
    """The option a response settles on.

    What stands behind a closing </think> counts before what stands in it. In this order: the last sentence that does
    nothing but name a letter ("###Answer: C", "The correct answer is (C).", "\\boxed{C}", "<answer>C</answer>", "C");
    the last that names one in passing ("option C fits best"); a first or last line that begins with a letter and goes
    on with that option's text; the last place where an option's text is said to be the answer; an option's text that
    stands alone or is the only one in the last sentence.

    Args:
        text: the response, any text.
        options: the options' texts, 2 to 10.

    Returns:
        The option's index, or None when the response names none of them, or two at once. A letter beyond the last
        option names none.

    Raises:
        TypeError: the response or an option is no text.
    """
    check_text(text, "a response")
    for i, option in enumerate(options):
        check_text(option, f"option {LETTERS[i] if i < len(LETTERS) else i + 1}")
    letters = LETTERS[: len(options)]
    field = cleaned(text).answer
    if field is not None and field.strip():
        said = f"Answer: {field}"
        found = _stated(said)
        index = _named_text(said, options) if found is None else letters.find(found)
        if index is not None and index >= 0 and (found is None or len(found) == 1):
            return index
    thought = max(text.rfind("</think"), text.rfind("◁/think"))
    found = _stated(text[thought:]) if thought > 0 else None
    if found is None:
        found = _stated(text)
    if found is not None:
        return letters.index(found) if len(found) == 1 and found in letters else None
    return _named_text(text, options)


@lru_cache(maxsize=4)  # what has been read is refined next
def namings(text: str) -> Sequence[tuple[Sentence, str, Naming]]:
    """Every sentence of a text with its words as they stand and what it names, its neighbours considered: a letter
    that stands alone answers what has been announced; behind a named letter on the same line, or as one of several,
    it is no answer."""
    found: list[tuple[Sentence, str, Naming]] = []
    announced, retracted, answered, bare = False, False, -1, []
    text = cleaned(text).text
    abroad = may_be_abroad(text)
    for piece in sentences(text):
        raw = text[piece.start : piece.end]
        if piece.tag:
            announced = piece.tag == "answer"
            answered = -1
            found.append((piece, raw, _NOTHING))
            continue
        naming = named(raw, abroad)
        if naming.bare and piece.line == answered:
            naming = _NOTHING
        elif naming.bare and not announced:
            bare.append((len(found), naming.letters))
        elif announced and not naming.letters and (first := FIRST.match(plain(raw))):
            naming = Naming(first.group(1), explicit=True)
        if naming.letters and retracted:
            naming = naming._replace(explicit=True)
        retracted = len(raw) < 30 and not naming.letters and RETRACTING.match(plain(raw)) is not None
        announced = naming.announces
        answered = piece.line if naming.letters else -1
        found.append((piece, raw, naming))
    if len({letter for _, letter in bare}) > 1:
        for i, _ in bare:
            if 0 < i < len(found) - 1:
                found[i] = (*found[i][:2], _NOTHING)
    unnamed = not any(naming.letters for _, _, naming in found)
    for i in (0, len(found) - 1) if found else ():
        piece, raw, naming = found[i]
        if naming.letters or piece.tag:
            continue
        if letter := _lone_letter(found, i):  # "B. The cup" as the first or the last line
            found[i] = (piece, raw, Naming(letter))
        elif unnamed and (aside := WEAK_ASIDE.search(raw)) and not CONTRAST.search(raw):  # "He opens it (B)."
            found[i] = (piece, raw, Naming(aside.group(1)))
    return found


def _lone_letter(found: Sequence[tuple[Sentence, str, Naming]], i: int) -> str | None:
    """The letter with which the first (i = 0) or the last sentence begins its line, if the line beside has none."""
    line, raw = found[i][0].line, found[i][1]
    begins = FIRST.match(plain(raw[:200]))
    if begins is None or raw.startswith("I."):
        return None
    few = found[:6] if i == 0 else found[:-7:-1]
    beside = [said for piece, said, _ in few if piece.line != line and not piece.tag]
    if i == 0 and not beside and found[-1][0].line == line and not CONTRAST.search(raw):
        return begins.group(1)  # the whole response is this line
    if not beside or lists_option(beside[0]) or (i > 0 and found[i - 1][0].line == line):
        return None
    return begins.group(1)


def _stated(text: str) -> str | None:
    """The letter that a text settles on; several where the deciding sentence names several; None where none does."""
    said = [(i, naming, raw) for i, (_, raw, naming) in enumerate(namings(text)) if naming.letters]
    decisive = [item for item in said if item[1].explicit] or said
    if not decisive:
        return None
    i, naming, raw = decisive[-1]
    if len(decisive) > 1:
        j, other, heading = decisive[-2]
        headings = [HEADING.match(heading), HEADING.match(raw)]
        if i == j + 1 and all(headings) and len({match and match.group().casefold() for match in headings}) == 1:
            # "Answer: A", "Answer: B"
            return "".join(dict.fromkeys(other.letters + naming.letters))
    return naming.letters


# --- options' texts --------------------------------------------------------------------------------------------------


def _named_text(text: str, options: Sequence[str]) -> int | None:
    normal = [normalised(option) for option in options]
    if not any(normal):
        return None
    text = cleaned(text).text
    pieces = [text[s.start : s.end] for s in sentences(text) if not s.tag]
    if not pieces:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in (lines[-1], lines[0]):
        listed = FIRST.match(plain(line[:400]))
        if listed and listed.group(1) in LETTERS[: len(options)]:
            index = LETTERS.index(listed.group(1))
            if normal[index] and normal[index] in normalised(line[:400]):
                return index
    for i in range(len(pieces) - 1, -1, -1):
        piece = plain(pieces[i][-600:])
        markers = list(MARKER_ALONE.finditer(piece))
        if markers:
            rest = piece[markers[-1].end() :] or (pieces[i + 1][:400] if i + 1 < len(pieces) else "")
            index = _begins_with(normalised(rest), normal)
            if index is None and rest and HEADING.match(piece):  # it does answer, so nothing before it counts
                return _only(normalised(rest), normal)
            if index is not None:
                return index
    whole = normalised(text[:2000]) if len(text) < 2000 else ""
    if whole in normal and whole:
        return normal.index(whole)
    return _only(normalised(pieces[-1]), normal)


def _begins_with(text: str, options: Sequence[str]) -> int | None:
    """The option that the text begins with, articles aside; the longest if several."""
    begins = re.sub(r"^(?:(?:that|the|a|an) ){0,4}", "", text) + " "
    bare = [re.sub(r"^(?:the|a|an) ", "", option) for option in options]
    fits = [i for i, option in enumerate(bare) if option and begins.startswith(f"{option} ")]
    return max(fits, key=lambda i: (len(bare[i]), -i), default=None)


def _only(text: str, options: Sequence[str]) -> int | None:
    """The one option that stands in the text as words; the longest if it contains all others."""
    found = [i for i, option in enumerate(options) if option and f" {option} " in f" {text} "]
    longest = max(found, key=lambda i: (len(options[i]), -i), default=None)
    if longest is not None and all(options[i] in options[longest] for i in found):
        return longest
    return None
