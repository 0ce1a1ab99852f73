"""Parse the answer from a response (phase 1), and find the sentences that name it (for phase 2)."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from reasvqa import phrases
from reasvqa.languages import may_be_foreign, named_in_foreign
from reasvqa.phrases import CONTRAST, FIRST, HEADING, LETTER
from reasvqa.samples import LETTERS
from reasvqa.text import Sentence, check_text, cleaned, has_one, normalised, plain, sentences


class Naming(NamedTuple):
    """What a sentence names as the answer. letters: in order, "" if none. explicit: the sentence only names it
    ("Answer: B"). bare: it is only the letter ("**B**"). announces: it ends where the answer should stand. retracts: it
    only takes back what has been said ("Wait.")."""

    letters: str
    explicit: bool = False
    bare: bool = False
    announces: bool = False
    retracts: bool = False


@lru_cache(maxsize=4096)  # parsing, refining, and checking the result look at the same sentences
def named(sentence: str) -> Naming:
    """Return what a sentence names as the answer when read alone."""
    if LETTER.search(sentence) or phrases.HIDDEN.search(sentence):
        naming = _named(plain(sentence), sentence)
        if naming.letters:
            return naming
    if may_be_foreign(sentence) and not enumerates(sentence):
        letters, explicit = named_in_foreign(plain(sentence))
        if letters:
            return Naming(letters, explicit)
    end = sentence[-400:].lower().rstrip(" \t*_`\"'.\\[($")
    may_announce = end.endswith(phrases.OPEN_ENDS) and has_one(end, phrases.MARKING)
    announces = may_announce and phrases.ANNOUNCES.search(plain(sentence)[-400:]) is not None
    retracts = len(sentence) < 30 and phrases.RETRACTING.match(plain(sentence)) is not None
    return Naming("", announces=announces, retracts=retracts)


def _named(text: str, raw: str) -> Naming:
    """Return what `named` does, for English only. text: the sentence without its Markdown; raw: with it."""
    if len(text) < 60 and (bare := phrases.BARE.match(text)):
        return Naming(bare[1], explicit=True, bare=True)
    if "oxed" in raw and (boxed := phrases.BOXED.search(raw)) and _is_letter(raw, boxed.end(1)):
        return Naming(_unique(boxed[1] + _alternatives(raw, boxed.end(1))), explicit=True)
    folded, asks, first = text.lower(), text.endswith("?"), LETTER.search(text)
    # Does the only letter number an item of a list?
    leads = first is not None and text[1:2] in (")", ".", ":") and first.start() == 0 and not LETTER.search(text, 2)
    if first and not leads and not asks and (">" in raw or has_one(folded, phrases.CORRECTING)):
        corrected = [match for match in phrases.CORRECTED.finditer(text) if _is_letter(text, match.end(1))]
        if corrected:
            return Naming(corrected[-1][1], explicit=True)
        swapped = phrases.NOT_BUT.search(text) or phrases.ARROW.search(raw)
        if swapped and (swapped.start() < 4 or phrases.NAMES_OPTION.search(text)):
            return Naming(swapped[1], explicit=True)
    explicit, letters = False, ""
    for match in phrases.MARKED.finditer(text) if not asks and has_one(folded, phrases.MARKING) else ():
        before = text[max(0, match.start() - 120) : match.start()]
        if _supposed(before[-60:], match[0]) or phrases.INITIAL.search(before[-30:] + match[0]):
            continue
        if match["many"]:
            letters += match["many"] if phrases.BARE_MANY.match(text, match.end()) else ""
        elif match["low"]:
            letters += match["low"].upper()
        elif _is_letter(text, match.end(1)):
            letters += match[1] + _alternatives(text, match.end(1))
        else:
            continue
        explicit = explicit or (match.start() < 120 and phrases.OPENS.match(before) is not None)
    if not letters and first:
        label = None if leads else phrases.LABELLED.match(text)
        if label and _is_letter(text, label.end(1)):
            return Naming(_unique(label[1] + _alternatives(text, label.end(1))), explicit=True)
        letters = "" if asks else _affirmed(text, folded, leads)
    if not letters and not asks and ")" in raw[-12:]:
        aside = phrases.ASIDE.search(raw)
        letters = (aside[1] or aside[2]) if aside and not CONTRAST.search(text) else ""
    return Naming(_unique(letters), bool(letters) and (explicit or phrases.RETRACTING.match(text) is not None))


def _unique(letters: str) -> str:
    return "".join(dict.fromkeys(letters))


def _alternatives(text: str, at: int) -> str:
    """Return the letters that follow text[:at] as equals of its last: "A or B", "A, C and E"."""
    found = ""
    while alternative := phrases.ALTERNATIVE.match(text, at):
        found += alternative[1]
        at = alternative.end(1)
    return found


def _supposed(before: str, words: str) -> bool:
    """Tell whether words only suppose: "if the answer is A", "If it were shut, the answer would be A"."""
    return bool(
        phrases.SUPPOSES.search(before) or (phrases.WOULD_BE.search(words) and phrases.CONDITION.search(before))
    )


def _is_letter(text: str, end: int) -> bool:
    """Tell a letter from an article or a pronoun: "the answer is A cup", "Answer: A Boy Waves", "Answer: I think"."""
    return text[end - 1] not in "AI" or not phrases.ARTICLE.match(text, end)


def _is_option(text: str, at: int) -> bool:
    """Tell whether the letter text[at] stands for an option, by itself or behind "option"."""
    return _is_letter(text, at + 1) or (text[at - 1 : at] == " " and _follows_option(text, at))


def _follows_option(text: str, at: int) -> bool:
    return phrases.OPTION_BEFORE.search(text[max(0, at - 12) : at]) is not None


def _affirmed(text: str, folded: str, leads: bool) -> str:
    """Return the letters that the first matching row of `PHRASES` finds."""
    articles = not leads and not any(_is_option(text, match.start()) for match in LETTER.finditer(text))
    for phrase, signs, pattern in phrases.TABLE:
        if leads:
            found = [pattern.match(text)] if phrase in phrases.BEGINNING else []
        elif (articles and phrase != "praised") or not has_one(folded, signs):
            continue
        else:
            found = pattern.finditer(text, max(0, len(text) - 90) if phrase == "short" else 0)
        if letters := "".join([_letters_of(text, match, phrase) for match in found if match]):
            return letters
    return ""


def _letters_of(text: str, match: re.Match[str], phrase: str) -> str:
    """Return the letters of a phrase; "" if it is denied or only supposed, or its letter is an article or a name."""
    at = match.start(match.lastindex or 0)
    before = text[max(0, match.start() - 60) : match.start()]
    denied = phrases.DENIED.search(before) or phrases.DENIED.search(text[match.start() : at])
    if denied or _supposed(before, match[0]) or (phrase == "leads" and phrases.RULED_OUT.search(before)):
        return ""
    if phrase in phrases.WEAK and CONTRAST.search(text, match.end() if phrase == "held" else at, match.end() + 200):
        return ""
    if phrase != "praised" and not _is_option(text, at):
        return ""
    if phrase in ("praised", "held") and text[at + 1 : at + 2] != ")":
        word = phrases.LAST_WORD.search(text[max(0, at - 24) : at])
        if word and word[1].casefold() not in phrases.FREE and not _follows_option(text, at):  # "vitamin C is best"
            return ""
    first = phrases.ONE_BEFORE.search(text[max(0, at - 20) : at])
    return (first[1] if first else "") + text[at] + _alternatives(text, at + 1)


def lists_option(sentence: str) -> bool:
    """Tell whether a sentence begins like an option's line: "B", "(B) The cup", "- **Option B:** the cup"."""
    text = plain(sentence)
    return bool(FIRST.match(text) or phrases.BARE.match(text))


def enumerates(text: str) -> bool:
    """Tell whether a text lists options: its first two letters are neighbours in the alphabet ("A. door B. dog")."""
    letters = "".join(phrases.ITEM.findall(plain(text))[:2])
    return len(letters) == 2 and letters in LETTERS


def parse_answer(text: str, options: Sequence[str]) -> int | None:
    """Return the 0-based index of the option that a response settles on; None if it names none, or two at once.

    The answer field of a JSON object decides, then what stands behind a closing </think>, then the whole text. In each,
    the first of these counts: the last sentence that does nothing but name a letter ("###Answer: C", "\\boxed{C}"); the
    last that names one in passing ("option C fits best"); a first or last line that begins with a letter and goes on
    with that option's text; the last place that calls an option's text the answer; an option's text that is the whole
    response, or the only one in its last sentence. A letter beyond the last option names none.

    Raises:
        TypeError: the response or an option is not text.
    """
    check_text(text, "a response")
    for i, option in enumerate(options):
        check_text(option, f"option {LETTERS[i] if i < len(LETTERS) else i + 1}")
    field = cleaned(text).answer or ""
    for part in (f"Answer: {field}", text) if field.strip() else (text,):
        thought = max(part.rfind("</think"), part.rfind("◁/think"))
        found = (_stated(part[thought:]) if thought > 0 else None) or _stated(part)
        index = _named_text(part, options) if found is None else _index(found, LETTERS[: len(options)])
        if index is not None:
            return index
    return None


def _index(found: str, letters: str) -> int | None:
    return letters.index(found) if len(found) == 1 and found in letters else None


@lru_cache(maxsize=4)  # a response is parsed, then refined
def namings(text: str) -> Sequence[tuple[Sentence, Naming]]:
    """Return each sentence of a text with what it names in its context: a lone letter is the answer if the sentence
    before announces one, but not behind a named letter on the same line, nor as one of several."""
    found: list[tuple[Sentence, Naming]] = []
    announced, retracted, answered_line, bare = False, False, -1, {}
    text = cleaned(text).text
    for sentence in sentences(text):
        naming, words = Naming(""), sentence.words
        if sentence.tag:
            announced, answered_line = sentence.tag == "answer", -1
        else:
            naming = named(words)
            if naming.bare and sentence.line == answered_line:
                naming = Naming("")
            elif naming.bare and not announced:
                bare[len(found)] = naming.letters
            elif announced and not naming.letters and (first := FIRST.match(plain(words))):
                naming = Naming(first[1], explicit=True)
            if naming.letters and retracted:
                naming = naming._replace(explicit=True)
            retracted = naming.retracts
            announced = naming.announces
            answered_line = sentence.line if naming.letters else -1
        found.append((sentence, naming))
    if len(set(bare.values())) > 1:
        for i in bare:
            if 0 < i < len(found) - 1:
                found[i] = (found[i][0], Naming(""))
    unnamed = not any(naming.letters for _, naming in found)
    for i in (0, len(found) - 1) if found else ():
        sentence, naming = found[i]
        if naming.letters or sentence.tag:
            continue
        words, closed = sentence.words, has_one(sentence.words[-9:], (")", "*", "_"))
        if letter := _lone_letter(found, i):  # "B. The cup" as the first or the last line
            found[i] = (sentence, Naming(letter))
        elif unnamed and closed and not CONTRAST.search(words) and (aside := phrases.WEAK_ASIDE.search(words)):
            found[i] = (sentence, Naming(aside[1]))  # "He opens it (B)."
    return found


def _lone_letter(found: Sequence[tuple[Sentence, Naming]], i: int) -> str | None:
    """Return the letter at the start of the first (i = 0) or last line, if the line next to it begins with none."""
    line, words = found[i][0].line, found[i][0].words
    begins = FIRST.match(plain(words[:200]))
    if begins is None or words.startswith("I.") or enumerates(" ".join(one.words[:400] for one, _ in found[i : i + 2])):
        return None
    near = found[:6] if i == 0 else found[:-7:-1]
    beside = next((other.words for other, _ in near if other.line != line and not other.tag), None)
    if i == 0 and beside is None and found[-1][0].line == line and not CONTRAST.search(words):
        return begins[1]  # the whole response is this line
    if beside is None or lists_option(beside) or (i > 0 and found[i - 1][0].line == line):
        return None
    return begins[1]


def _stated(text: str) -> str | None:
    """Return the letter that a text settles on, several where it does not decide, or None where it names none."""
    naming_sentences = [(i, naming, one.words) for i, (one, naming) in enumerate(namings(text)) if naming.letters]
    decisive = [one for one in naming_sentences if one[1].explicit] or naming_sentences
    if not decisive:
        return None
    i, naming, words = decisive[-1]
    if len(decisive) > 1:
        j, other, heading = decisive[-2]
        one, two = HEADING.match(heading), HEADING.match(words)
        if i == j + 1 and one and two and one[0].casefold() == two[0].casefold():  # "Answer: A", "Answer: B"
            return _unique(other.letters + naming.letters)
    return naming.letters


# --- options' texts --------------------------------------------------------------------------------------------------


def _named_text(text: str, options: Sequence[str]) -> int | None:
    normal = [normalised(option) for option in options]
    text = cleaned(text).text
    pieces = [sentence.words for sentence in sentences(text) if not sentence.tag]
    if not pieces or not any(normal):
        return None
    lines = [line[:400] for line in map(str.strip, text.splitlines()) if line]
    lists = [enumerates(" ".join(beside)) for beside in (lines[-2:], lines[:2])]  # "D. ball", "E. sit"
    for line, one_of_several in zip((lines[-1], lines[0]), lists, strict=True):
        listed = None if one_of_several else FIRST.match(plain(line))
        index = _index(listed[1], LETTERS[: len(options)]) if listed else None
        if index is not None and normal[index] and normal[index] in normalised(line):
            return index
    for i in range(len(pieces) - 1, -1, -1):
        piece = plain(pieces[i][-600:])
        markers = list(phrases.MARKER_ALONE.finditer(piece))
        rest = piece[markers[-1].end() :] or "".join(pieces[i + 1 : i + 2])[:400] if markers else ""
        if rest:
            index = _begins_with(normalised(rest), normal)
            if index is not None:
                return index
            if HEADING.match(piece):  # a heading answers, so nothing before it counts
                return _only(normalised(rest), normal)
    whole = normalised(text[:2000]) if len(text) < 2000 else ""
    if whole and whole in normal:
        return normal.index(whole)
    return None if lists[0] else _only(normalised(pieces[-1]), normal)


def _begins_with(text: str, options: Sequence[str]) -> int | None:
    """Return the index of the longest option that the text begins with, articles aside, or None."""
    begins = re.sub(r"^(?:(?:that|the|a|an) ){0,4}", "", text) + " "
    bare = [re.sub(r"^(?:the|a|an) ", "", option) for option in options]
    found = [i for i, option in enumerate(bare) if option and begins.startswith(f"{option} ")]
    return max(found, key=lambda i: (len(bare[i]), -i), default=None)


def _only(text: str, options: Sequence[str]) -> int | None:
    """Return the index of the one option whose words stand in the text, or the longest if it contains all others."""
    found = [i for i, option in enumerate(options) if option and f" {option} " in f" {text} "]
    longest = max(found, key=lambda i: (len(options[i]), -i), default=None)
    return longest if all(options[i] in options[longest or 0] for i in found) else None
