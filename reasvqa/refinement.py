"""Refine reasoning (phase 2, RR): remove its conclusion, and the true option's words where the generator was wrong.

Section 3.2 and appendix A.4 of the paper, with the variants that models write in Markdown, LaTeX, tags and JSON. A
heading loses only itself, a conclusion loses its concluding sentences, and descriptions stay. Each removal names the
row of `RULES` that caused it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from reasvqa.answers import Naming, lists_option, named, namings
from reasvqa.languages import ANSWER_SIGNS, ANSWERS, LINKS
from reasvqa.phrases import QUALIFIER
from reasvqa.text import (
    JSON_RULE,
    MARKUP_RULE,
    SPEAKER_RULE,
    TOKEN_RULE,
    Sentence,
    check_text,
    cleaned,
    has_one,
    normalised,
    plain,
    without,
)


class Rule(NamedTuple):
    """A refinement rule; to add one, add it to `RULES`. removes: what it removes, in words. colour: as shown.
    pattern: searched in each sentence without its Markdown, ignoring case; a sentence that matches is removed. Rules
    without one are found by code below. words: parts of words of which a matching sentence has one; "" tries all."""

    name: str
    removes: str
    colour: str = "#dcdcdc"
    pattern: str = ""
    words: str = ""


ANSWER_RULE = "answer heading"
CONCLUSION_RULE = "conclusion heading"
EXPLANATION_RULE = "explanation heading"
TAG_RULE = "tag"
CORRECT_RULE = "correct answer"
LETTER_RULE = "option letter"
RESTATED_RULE = "restated option"
WORD_RULE = "ground-truth word"

_SO = (
    r"(?:(?:so|thus|therefore|hence|consequently|accordingly|overall|finally|ultimately|in (?:conclusion|summary|short)"
    r"|to (?:conclude|sum up)|as a result|and|but|step \d+|\d+)[,.:]? ){0,3}"
)
_CONCLUDING = QUALIFIER.replace("|only|true|valid", "")
_BASED = (
    r"(?:based (?:up)?on|given|considering|judging (?:from|by)|in (?:light|view) of|according to|from|with|by|after)"
    r"(?: (?:analyzing|examining|reviewing|considering))?"
)
_ENDS_WITH_LETTER = re.compile(r"(?<![\w'’])[A-J]\W{0,8}$")
_OBSERVED = (
    r"(?:observations?|evidence|clues|cues)(?=[,.;:]|$| (?:in|from|of|provided|presented|shown|above|available"
    r"|gathered|that|and|we|i|it|the)\b)"
)
_BEST_NAMED = (
    rf"(?:the (?:\w+ )?(?:answer|option|choice)|(?:{QUALIFIER}|most \w+)"
    r" (?:answer|option|choice|conclusion|explanation|interpretation)|conclude)"
)

# In this order; of the rules with a pattern, the first that matches a sentence removes it.
_RULES = [
    Rule(ANSWER_RULE, 'a heading "Answer" with the answer', "#fde0c5"),
    Rule(
        CONCLUSION_RULE,
        'a heading "Conclusion" and what concludes below it',
        "#d4e6f7",
        r"^(?:\d+\. )?(?:in conclusion|to conclude)[,:]",
        "conclu",
    ),
    Rule(EXPLANATION_RULE, 'a heading "Explanation", without the text below it', "#e3daf1"),
    Rule(TAG_RULE, "a tag such as <think>, without the text in it", "#dde3c0"),
    Rule(
        CORRECT_RULE,
        'a sentence that says which option is "the correct answer"',
        "#c9e8c8",
        rf"^{_SO}(?:the|our|my) (?:(?:most|only|single|overall|likely|one|\w+ly) ){{0,3}}?{_CONCLUDING} (?:answers?"
        r"|options?|choices?)\b|\b(?:is|as|be|seems|appears|remains)(?: (?:therefore|thus|clearly|likely"
        rf"|hence))? (?:the|our|my) (?:\w+ )?{QUALIFIER} (?:answer|option|choice)\b",
        "answer option choice",
    ),
    Rule(
        "the answer is",
        'a sentence with "the answer is"',
        "#f7d9e3",
        rf"^{_SO}(?:the|our|my) answer(?: to (?:the|this) question| here)? (?:is|would|should|must|seems|appears|can"
        r"|could|has|will|becomes)\b|\b(?:so|thus|hence|therefore|that|means|because|and|making|makes"
        rf"|conclude),? (?:the|our|my) (?:\w+ ){{0,2}}?(?:answer|(?:correct|right|best) (?:option|choice))(?: is"
        r"| must be| should be| would be| has to be|:)",
        "answer option choice",
    ),
    Rule(
        "observations",
        'a sentence that begins with "Based on these observations"',
        "#e4e4e4",
        rf"^{_SO}{_BASED} (?:(?:all )?(?:of )?(?:(?:these|those|the above|this|my|our) (?:\w+ ){{0,2}}?"
        rf"|the ){_OBSERVED}|(?:the )(?:visual |available |provided )(?:evidence|observations?)(?=[,.;:]|$)"
        rf"|(?:all )?(?:of )?(?:these|those) (?:\w+ ){{0,2}}?(?:details|facts|findings|points|hints|indications"
        rf"|considerations|analyses)\b)|^{_SO}(?:{_BASED} (?:the above|the|this|that|these|my|our|process of)\b"
        rf"|by elimination|overall).{{0,160}}?\b{_BEST_NAMED}\b",
        "answer option choice conclu observ eviden clues cues details facts findings points hints indications"
        " considerations analyses explanation interpretation",
    ),
    Rule(
        "another language",
        "the answer in a language other than English",
        "#d9d2f0",
        rf"^[^.!?。:]{{0,40}}?{ANSWERS}[^.!?。:]{{0,24}}?(?:{LINKS}|$)",
        ANSWER_SIGNS,
    ),
    Rule(LETTER_RULE, "any other sentence that names an option's letter as the answer", "#fff3b0"),
    Rule(
        RESTATED_RULE,
        "a sentence that restates the chosen option (strict refinement only: beyond the paper)",
        "#c8ece8",
    ),
    Rule(TOKEN_RULE, "a special token or role of a chat, such as <|im_end|>", "#cfd8dc"),
    Rule(SPEAKER_RULE, 'a speaker in front, such as "Assistant:", and turns that are not the model\'s', "#ffd9b3"),
    Rule(MARKUP_RULE, "HTML formatting, and what is struck out", "#e8f0c8"),
    Rule(JSON_RULE, "JSON around the reasoning, with the fields that answer", "#cfe3e3"),
    Rule(WORD_RULE, "a word of the true option, where the generator was wrong", "#f5b9aa"),
]
RULES = {rule.name: rule for rule in _RULES}

# Words that stay although the ground truth has them: without them nothing would be left of the grammar.
STOP_WORDS = frozenset(
    "a an the of to in on at by with and or but for from into onto as than then so if is are was were be been being"
    " am do does did done has have had having it its he him his she her hers they them their theirs this that these"
    " those there here who whom which what when where why how not no nor can could will would shall should may might"
    " must up down out off over under again also too very i me my we us our you your someone something".split()
)

_DECOR = r"[\s#*_>`\"'“\[$]{0,12}(?:(?:[-*•+]|\(?\d{1,3}[.)]|step\s\d{1,2}[.:]?)\s{1,3})?[#*_>`\"'“(\[$ ]{0,8}"
_HEADING = re.compile(
    rf"{_DECOR}(?:(?:the|my|so|final|correct|right|best|predicted|overall|detailed|step-by-step|full|brief"
    rf"|answer)\s+){{0,3}}(?:(?P<answer>answer|verdict)|(?P<conclusion>conclusion|conclude)(?:\s+and\s+answer)?"
    r"|(?P<explanation>explanation|reasoning|rationale|justification)(?:\s+(?:process|steps?|of\s+the\s+(?:answer"
    rf"|frames|video|reasoning))){{0,2}})[\s*_`\"'”)\]]{{0,6}}(?:(?P<colon>[:：])[*_ \t]{{0,6}}"
    rf"|[–—=-]{{1,2}}>?(?=[\s*_(\"])[\s*_]{{0,4}}|\.?$)",
    re.IGNORECASE,
)
# Without a colon: "###Detailed Explanation The man ..." loses two words, "### Explanation of why B is correct" all.
_DETAILED = re.compile(
    r"[\s*_]{0,6}(?:#{1,6}[\s*_]{0,4}|\*\*\s?)(?:detailed\s+|step-by-step\s+)?(?:explanation|reasoning)\b"
    r"(?:\s+process\b)?[\s*_]{0,4}(?P<goes_on>(?:of|for|why|behind)\b[^:\n]{0,120}(?::[*_ ]{0,4})?)?",
    re.IGNORECASE,
)

# Behind a letter stands its option's text, unless it reads like a clause with a subject of its own.
_DETERMINER = r"(?:the|a|an|this|his|her|one|another)"
_STATEMENT = (
    r"(?:(?:he|she|it|there)\s(?:\w*[^s\W]s|is)\b|(?:the|a|an|this|that|these|those|one|another|two|three|some|most"
    rf"|people)\s.{{1,80}}?\s(?:is|are|was|were|has|have|had|can|could|does|do|appears?|seems?|shows?|remains?)\s"
    rf"|{_DETERMINER}\s(?:[\w-]+\s){{1,3}}?\w{{2,20}}(?:[^s\W]s|ed)\s(?:the|a|an|his|her|its|their|up|down|at|in|on|to"
    r"|into|over|around|towards?|away|out|off|while|and|with|from)\s"
    rf"|{_DETERMINER}\s(?:[\w-]+\s){{0,2}}?[\w-]*[^s\W]\s\w{{2,20}}(?:[^s\W]s|ed)(?:\s(?:it|them|him|her|open|shut"
    r"|closed|down|up|away))?\W*$)"
)
_STATES = re.compile(_STATEMENT, re.IGNORECASE)
_CLAUSE = re.compile(
    rf"(?:{_STATEMENT}|(?:but|let|wait|so|hmm|now|okay|yes|this|that|therefore|however|also|in|at|as|when|while"
    r"|looking|throughout|he|she|they|it|we|i|you|there|during|first|next|then|after|before|here|both|its|his|her"
    r"|their|nobody|frame)\b)",
    re.IGNORECASE,
)
_LEADS_IN = re.compile(
    r"[\s*_]{0,4}(?:so|thus|therefore|hence|consequently|given|based on|considering|this|these"
    r"|the above)\b[^\n]{0,200}:[\s*_]{0,4}$",
    re.IGNORECASE,
)
# What speaks of the pictures describes, even in a conclusion.
_SEEN = re.compile(
    r"[*_]{0,2}(?:in\s(?:the|this|that|all|each|every|both|frames?|most)\b|(?:the|these|this|all"
    r"|both)\s(?:\w+\s){0,2}?(?:video|frames?|images?|scenes?|clip|sequence|footage|pictures?)\b|frames?\s\d"
    r"|we\s(?:can\s)?see|initially|at\sfirst|throughout)",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|so|suggest\w*|indicat\w*|support\w*|confirm\w*|align\w*|match\w*|consistent|conclu\w*"
    r"|clear(?:ly)?|likely|answer|option|choice|best|correct|based|given|overall|evidence|evident|reasonable|plausible"
    r"|infer\w*|this (?:is|makes)|makes sense)\b",
    re.IGNORECASE,
)


class Removal(NamedTuple):
    """text[start:end] goes, because of `rule`."""

    start: int
    end: int
    rule: str


MAX_PASSES = 10  # a text settles after one or two; of one made to peel forever, nothing is kept


def refine(text: str, answer: str | None = None, correct: bool = True, *, chosen: str | None = None) -> str:
    """The reasoning without its conclusion and, if the generator was wrong, without the words of the true answer.

    Args:
        text: a generator's response.
        answer: the ground-truth option's text; needed only when `correct` is False.
        correct: did the generator choose the right option? (CR and IR of section 3.1)
        chosen: the text of the option the response chose. When given, refinement is strict, which goes beyond the
            paper: sentences that restate this option as the answer in words go as well.

    Returns:
        What remains: a subsequence of the input's characters, paragraphs and numbered steps in place; refining it again
        changes nothing. Empty when everything concludes.

    Raises:
        TypeError: the response or an option is not text.
    """
    for _ in range(MAX_PASSES):
        found = removals(text, answer, correct, chosen=chosen)
        if not found:
            return text.strip("\n").rstrip()
        text = without(cleaned(text).shown, found)
    return ""


def removals(text: str, answer: str | None = None, correct: bool = True, *, chosen: str | None = None) -> list[Removal]:
    """What one pass of refinement takes out, in order, without overlaps. Arguments and errors as in `refine`."""
    check_text(text, "a response")
    for name, option in (("the answer", answer), ("the chosen option", chosen)):
        if option is not None:
            check_text(option, name)
    option = chosen or (answer if correct else None)
    found = [*_concluding(text, normalised(option) if option else "", chosen)]
    found += [Removal(*noise) for noise in cleaned(text).noise]
    if not correct and answer and (words := _words_of(answer)):
        found += [Removal(*word.span(), WORD_RULE) for word in words.finditer(text)]
    merged: list[Removal] = []
    for removal in sorted(found, key=lambda one: (one.start, -one.end)):
        start = max(removal.start, merged[-1].end if merged else 0)
        if start < removal.end and removal.rule in RULES:
            merged.append(removal._replace(start=start))
    return merged


def _concluding(text: str, option: str, chosen: str | None) -> Iterator[Removal]:
    """The sentences, headings and tags that go. option: the chosen option's text if known, normalised."""
    pieces, folded = namings(text), text.lower()
    rules = [rule for rule in _compiled(tuple(RULES.values())) if not rule[1] or has_one(folded, rule[1])]
    restates = _restatement(chosen) if chosen else None
    announced = ""  # the rule of a heading or sentence that ends where its answer should stand
    section = ""  # "conclusion": in the paragraph of a conclusion; "element": between <answer> and </answer>
    begun = False  # has the section's first sentence passed?
    letter_line = -1  # the line on which a letter has just been named: its option's text may follow
    for i, (piece, raw, naming) in enumerate(pieces):
        start, end = piece.start, piece.end
        if piece.tag:
            yield Removal(start, end, TAG_RULE)
            if piece.tag.lstrip("/") == "answer":
                section = "" if piece.tag[0] == "/" else "element"
                announced, begun = section and ANSWER_RULE, False
            letter_line = -1
            continue
        if section == "conclusion" and begun and (piece.after_blank or raw[0] == "#"):
            section = ""
        heading = _HEADING.match(raw)
        if heading and (heading.group("answer") or heading.group("conclusion")):
            rule = ANSWER_RULE if heading.group("answer") else CONCLUSION_RULE
            if rule == CONCLUSION_RULE and not section:
                section, begun = "conclusion", False
            body = raw[heading.end() :]
            yield Removal(start, end - len(_description_behind(body, option)), rule)
            announced = "" if any(map(str.isalnum, body)) else rule
            begun = begun or not announced
            letter_line = piece.line if _ENDS_WITH_LETTER.search(raw[-12:]) else -1
            continue
        if not heading or not (heading.group("colon") or raw[0] in "#*" or heading.end() == len(raw)):
            heading = _DETAILED.match(raw)
        if heading:
            cut = heading.end()
            yield Removal(start, start + cut, EXPLANATION_RULE)
            start, raw, announced, letter_line = start + cut, raw[cut:], "", -1
            if not raw:
                continue
        rule = _rule_of(raw, rules) or (LETTER_RULE if naming.letters else None)
        leads = _answers(pieces, i + 1) and (naming.announces or _LEADS_IN.match(raw) is not None)
        leads = leads or (naming.announces and rule is not None and not _lists(pieces, i + 1))
        if leads:
            rule = rule or CORRECT_RULE
        elif rule is None:
            if announced and _is_answer(raw, option, announced in (ANSWER_RULE, CONCLUSION_RULE)):
                rule = announced
            elif letter_line == piece.line and _is_option(raw, option):
                rule = LETTER_RULE
            elif section and not _SEEN.match(raw) and (not begun or _CONCLUDES.search(raw)):
                rule = CONCLUSION_RULE
            elif restates is not None and restates(raw):
                rule = RESTATED_RULE
        announced = rule if leads and rule else ""
        begun = True
        letter_line = piece.line if rule and _ENDS_WITH_LETTER.search(raw[-12:]) else -1
        if rule == LETTER_RULE and not naming.explicit and lists_option(raw) and not _CONCLUDES.search(raw):
            # "B: The man lifts the cup and ..."
            end -= len(_description_behind(raw, option))
        if rule is not None:
            yield Removal(start, end, rule)


@lru_cache(maxsize=4)
def _compiled(rules: tuple[Rule, ...]) -> list[tuple[str, list[str], re.Pattern[str]]]:
    return [(rule.name, rule.words.split(), re.compile(rule.pattern, re.IGNORECASE)) for rule in rules if rule.pattern]


def _rule_of(raw: str, rules: Sequence[tuple[str, list[str], re.Pattern[str]]]) -> str | None:
    """Return the name of the first rule whose pattern a sentence has, or None."""
    folded = raw.lower()
    for name, words, pattern in rules:
        if (not words or has_one(folded, words)) and pattern.search(plain(raw)):
            return name
    return None


def _description_behind(body: str, option: str) -> str:
    """What stays of the text behind "Answer:" or "Conclusion:" in the same sentence: a description, or nothing."""
    letter = re.match(r"[\s*_(\[\"-]{0,6}[A-J][).:\]\"]{0,2}[*_]{0,2}[.:;,)]?\s+(?:[|–—-]\s+)?", body)
    rest = body[letter.end() :] if letter else body
    if letter and re.match(r"[\W_]*[AI]\s", body) and not _STATES.match(rest):
        letter = None  # an article or a pronoun
    describes = len(rest.split()) > 5 or _STATES.match(rest.lstrip(" *_-–"))
    if letter and describes and not _is_option(rest, option) and not _CONCLUDES.match(rest):
        return rest
    if not letter and _SEEN.match(body) and not _CONCLUDES.search(body) and not named(body).letters:
        return body
    return ""


def _is_option(raw: str, option: str) -> bool:
    """Is the text behind a letter its option's, rather than a description?"""
    words = normalised(raw)
    if option and (words == option or words.endswith(f" {option}") or option.endswith(f" {words}")):
        return True
    bare = raw.lstrip(" *_\"'“(-–:$")
    return len(raw.split()) <= (12 if bare[:1].islower() else 5) and not _CLAUSE.match(bare)


def _is_answer(raw: str, option: str, heading: bool) -> bool:
    """Is this what a heading, or a sentence that ends in a colon, has announced? What speaks of the pictures is not."""
    if lists_option(raw) or (option and normalised(raw) == option):
        return True
    if _SEEN.match(raw) or raw[0] == "#":
        return False
    return heading or len(raw.split()) <= 8


def _answers(pieces: Sequence[tuple[Sentence, str, Naming]], i: int) -> bool:
    """Does piece i name a letter, or open the answer's element?"""
    return i < len(pieces) and (bool(pieces[i][2].letters) or pieces[i][0].tag == "answer")


def _lists(pieces: Sequence[tuple[Sentence, str, Naming]], i: int) -> bool:
    """Do piece i and the next line begin with two different letters: is this a list of options?"""
    lines = [plain(raw)[:40] for _, raw, _ in pieces[i : i + 2]]
    return len(lines) == 2 and all(map(lists_option, lines)) and lines[0].split()[0] != lines[1].split()[0]


_WORDS = re.compile(r"\w+(?:[-'’]\w+)*")


def _words_of(answer: str) -> re.Pattern[str] | None:
    """Matches the content words of an answer, as whole words, with a possessive ending."""
    words = {word for word in _WORDS.findall(answer) if word.casefold() not in STOP_WORDS}
    if not words:
        return None
    alternatives = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(rf"(?<![\w\-])(?:{alternatives})(?:['’]s)?(?![\w\-])", re.IGNORECASE)


# --- strict refinement, and what leaks ------------------------------------------------------------------------------

_SIGNS = re.compile(  # of a sentence that concludes, or says what the question asked for
    r"\b(?:therefore|thus|hence|so|consequently|accordingly|conclu\w*|suggest\w*|indicat\w*|impl(?:y|ies)|means?|must"
    r"|likely|clear(?:ly)?|evident\w*|confirm\w*|consistent|best|correct|answer|option|choice|infer\w*|match(?:es)?"
    r"|fits?|as a result|showing that|(?:right|just|immediately) (?:before|after))\b|^\W*only\b",
    re.IGNORECASE,
)


def _stems(text: str) -> set[str]:
    """The content words of a text without their inflection: "opened" and "opening" are "open"."""
    stems = set()
    for word in normalised(text).split():
        if word in STOP_WORDS:
            continue
        stem = re.sub(r"(?:ing|ed|es|s|e)$", "", word) if len(word) > 3 else word
        stems.add(re.sub(r"([^aeiou])\1$", r"\1", stem) if stem != word else stem)
    return stems


# Who acts; an option's text leaves the subject out.
_SUBJECTS = _stems("person man woman boy girl child kid baby lady people individual someone adult one")


def _restatement(option: str) -> Callable[[str], bool]:
    """Does a sentence restate the option: is it the option, but for who acts and for inflection, or has it all of its
    words where something is concluded?"""
    wanted = _stems(option)

    def restates(sentence: str) -> bool:
        said = _stems(sentence)
        return bool(wanted) and wanted <= said and (said - wanted <= _SUBJECTS or _SIGNS.search(sentence) is not None)

    return restates


def leaks(text: str, options: Sequence[str], answer: int, prediction: int | None) -> dict[str, bool | None]:
    """What a text tells of the answer, in four ways; None where the question does not arise.

    letter: a sentence names an option's letter as the answer. option text: a sentence says the chosen option in full,
    all of its content words, whatever their inflection. true option's words, wrongly chosen option's words: one content
    word of it stands in the text; the latter only where the generator was wrong, and without the words that the true
    option has as well.

    Args:
        text: a response, or what refinement has left of it.
        options: the options' texts.
        answer: the right option's index.
        prediction: the index of the option that the response chose, or None.
    """
    said = [(raw, naming) for piece, raw, naming in namings(text) if not piece.tag]
    chosen = _stems(options[prediction]) if prediction is not None else set()
    true, wrong = _words_of(options[answer]), None
    if prediction is not None and prediction != answer:
        shared = " ".join(_WORDS.findall(options[answer])).casefold().split()
        wrong = _words_of(" ".join(w for w in _WORDS.findall(options[prediction]) if w.casefold() not in shared))
    return {
        "letter": any(naming.letters for _, naming in said),
        "option text": any(chosen <= _stems(raw) for raw, _ in said) if chosen else None,
        "true option's words": None if true is None else bool(true.search(text)),
        "wrongly chosen option's words": None if wrong is None else bool(wrong.search(text)),
    }
