"""Refine reasoning (phase 2, RR): remove its conclusion, and the true option's words where the generator was wrong.

Section 3.2 and appendix A.4 of the paper, and the variants that models write in Markdown, LaTeX, tags and JSON. A
heading loses only itself, a conclusion its concluding sentences; descriptions stay.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from reasvqa.answers import Naming, lists_option, named, namings
from reasvqa.languages import ANSWER_SIGNS
from reasvqa.phrases import FRAGMENTS
from reasvqa.text import Sentence, check_text, cleaned, compiled, fragments, has_one, normalised, plain, without


class Rule(NamedTuple):
    """A refinement rule, a row of the table below. removes: what it removes, in words. colour: that of what it removes.

    pattern: searched in each sentence without its Markdown, see `text.compiled`; a sentence that matches goes. Without
    a pattern, the code below decides. words: only sentences with one of these parts of words are tried; "": all.
    """

    name: str
    removes: str
    colour: str = "#dcdcdc"
    pattern: str = ""
    words: str = ""


ANSWER_RULE, CONCLUSION_RULE, EXPLANATION_RULE = "answer heading", "conclusion heading", "explanation heading"
TAG_RULE, CORRECT_RULE, LETTER_RULE = "tag", "correct answer", "option letter"
RESTATED_RULE, WORD_RULE = "restated option", "ground-truth word"

_FRAGMENTS = FRAGMENTS | fragments(r"""
so (({thus}|and|but|step \d+|\d+)[,.:]? ){0,3}
based (based (up)?on|given|considering|judging (from|by)|in (light|view) of|according to|from|with|by|after)( (analyzing
    |examining|reviewing|considering))?
observed (observations?|evidence|clues|cues)(?=[,.;:]|$| (in|from|of|provided|presented|shown|above|available|gathered
    |that|and|we|i|it|the)\b)
named the (\w+ )?{choice}|({qualifier}|most \w+) ({choice}|conclusion|explanation|interpretation)|conclude
choice answer|option|choice
decor [\s#*_>`\"'‘“\[$]{0,12}(([-*•+]|\(?\d{1,3}[.)]|step\s\d{1,2}[.:]?)\s{1,3})?[#*_>`\"'‘“(\[$ ]{0,8}
statement (the|a|an|this|that|these|those|one|another|two|three|some|most|people)\s.{1,80}?\s(is|are|was|were|has|have
    |had|can|could|does|do|appears?|seems?|shows?|remains?)\s|(he|she|it|there|some(one|body)|everyone|(the|a|an|this
    |his|her|one|another)\s([\w-]+\s){0,2}?[\w-]*[^s\W])\s(\w*[^s\W]s|\w+ed)(\s|\W*$)
# What the rules below look for.
concludes ^(\d+\. )?(in conclusion|to conclude)[,:]
correct ^{so}(the|our|my) ((most|only|single|overall|likely|one|\w+ly) ){0,3}?{concluding} {choice}s?\b|\b(is|as|be
    |seems|appears|remains)( (therefore|thus|clearly|likely|hence))? (the|our|my) (\w+ )?{qualifier} {choice}\b
stated ^{so}(the|our|my) answer( to (the|this) question| here)? (is|would|should|must|seems|appears|can|could|has|will
    |becomes)\b|\b(so|thus|hence|therefore|that|means|because|and|making|makes|conclude),? (the|our|my) (\w+ ){0,2}?
    (answer|(correct|right|best) (option|choice))( is| must be| should be| would be| has to be|:)
observing ^{so}{based} ((all )?(of )?((these|those|the above|this|my|our) (\w+ ){0,2}?|the ){observed}|the (visual[ ]
    |available |provided )(evidence|observations?)(?=[,.;:]|$)|(all )?(of )?(these|those) (\w+ ){0,2}?(details|facts
    |findings|points|hints|indications|considerations|analyses)\b)|^{so}({based} (the above|the|this|that|these|my|our
    |process of)\b|by elimination|overall).{0,160}?\b{named}\b
foreign ^[^.!?。:]{0,40}?(?<![他她子孩人女年童][的の])(?<![년녀이람]의 ){answers}(?! (d(e[ilrs]?|ell[aeo]|egli|[ao]s?
    |u|i)|eine[rs]|[а-я]{3,}[аяыи]) )[^.!?。:]{0,24}?({links}|$)
""")
_compiled = partial(compiled, fragments=_FRAGMENTS)

_CHOICES = "answer option choice"
_CLUES = f"{_CHOICES} conclu observ eviden clues cues details facts findings points hints indications considerations"
_CLUES += " analyses explanation interpretation"
# The first rule whose pattern matches a sentence removes it.
_RULES = [
    Rule(ANSWER_RULE, 'a heading "Answer" with the answer', "#fde0c5"),
    Rule(CONCLUSION_RULE, 'a heading "Conclusion" and the conclusion below it', "#d4e6f7", "{concludes}", "conclu"),
    Rule(EXPLANATION_RULE, 'a heading "Explanation", without the text below it', "#e3daf1"),
    Rule(TAG_RULE, "a tag such as <think>, without the text in it", "#dde3c0"),
    Rule(CORRECT_RULE, 'a sentence that says which option is "the correct answer"', "#c9e8c8", "{correct}", _CHOICES),
    Rule("the answer is", 'a sentence with "the answer is"', "#f7d9e3", "{stated}", _CHOICES),
    Rule("observations", 'a sentence that begins with "Based on these observations"', "#e4e4e4", "{observing}", _CLUES),
    Rule("another language", "the answer in a language other than English", "#d9d2f0", "{foreign}", ANSWER_SIGNS),
    Rule(LETTER_RULE, "any other sentence that names an option's letter as the answer", "#fff3b0"),
    Rule(
        RESTATED_RULE,
        "a sentence that restates the chosen option (strict refinement only: not in the paper)",
        "#c8ece8",
    ),
    Rule("special token", "a special token or role of a chat, such as <|im_end|>", "#cfd8dc"),
    Rule("speaker", 'a speaker in front, such as "Assistant:", and turns that are not the model\'s', "#ffd9b3"),
    Rule("markup", "HTML formatting, and what is struck out", "#e8f0c8"),
    Rule("JSON", "JSON around the reasoning, with the fields that answer", "#cfe3e3"),
    Rule(WORD_RULE, "a word of the true option, where the generator was wrong", "#f5b9aa"),
]
RULES = {rule.name: rule for rule in _RULES}

# Words that stay although the true option has them: a sentence needs them for its grammar.
STOP_WORDS = frozenset(
    "a an the of to in on at by with and or but for from into onto as than then so if is are was were be been being"
    " am do does did done has have had having it its he him his she her hers they them their theirs this that these"
    " those there here who whom which what when where why how not no nor can could will would shall should may might"
    " must up down out off over under again also too very i me my we us our you your someone something".split()
)

_ENDS_WITH_LETTER = re.compile(r"(?<![A-Za-zÀ-ɏ0-9'’])[A-J]\W{0,8}$")
_HEADING = _compiled(r"""{decor}((the|my|so|final|correct|right|best|predicted|overall|detailed|step-by-step|full|brief
    |answer)\s+){0,3}((?P<answer>answer|verdict)|(?P<conclusion>conclusion|conclude)(\s+and\s+answer)?|(explanation
    |reason(ing)?|rationale|justification)(\s+(process|steps?|of\s+the\s+(answer|frames|video
    |reasoning))){0,2})[\s*_`\"'”)\]]{0,6}((?P<colon>[:：])[*_ \t]{0,6}|[–—=-]{1,2}>?(?=[\s*_(\"])[\s*_]{0,4}|\.?$)""")
_HEADING_SIGNS = ("nswer", "erdict", "onclu", "xplan", "eason", "ational", "ustif")
# Without a colon: "###Detailed Explanation The man ..." loses two words, "### Explanation of why B is correct" all.
_DETAILED = _compiled(r"""[\s*_]{0,6}(#{1,6}[\s*_]{0,4}|\*\*\s?)(detailed\s+|step-by-step\s+)?(explanation|reasoning)\b
    (\s+process\b)?[\s*_]{0,4}((of|for|why|behind)\b[^:\n]{0,120}(:[*_ ]{0,4})?)?""")
# Behind a letter stands its option's text, unless it reads like a clause with a subject of its own.
_STATES = _compiled("{statement}")
_CLAUSE = _compiled(r"""({statement}|(but|let|wait|so|hmm|now|okay|yes|this|that|therefore|however|also|in|at|as|when
    |while|looking|throughout|he|she|they|it|we|i|you|there|during|first|next|then|after|before|here|both|its|his|her
    |their|nobody|frame)\b|([男女他她它彼这這那第人孩]|小[男女孩]|视频|画面|動画|映像)[^的]{4})""")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")  # scripts without spaces: about three signs are a word
_LEADS_IN = _compiled(r"[\s*_]{0,4}({thus}|given|based on|considering|this|these|the above)\b[^\n]{0,200}:[\s*_]{0,4}$")
# Keep visual descriptions, even in conclusions.
_SEEN = _compiled(r"""[*_]{0,2}(in\s(the|this|that|all|each|every|both|frames?|most)\b|(the|these|this|all|both)\s
    (\w+\s){0,2}?(video|frames?|images?|scenes?|clip|sequence|footage|pictures?)\b|frames?\s\d|we\s(can\s)?see|initially
    |at\sfirst|throughout)""")
_CONCLUDES = _compiled(r"""\b({thus}|(suggest|indicat|support|confirm|align|match|conclu|infer)\w*|consistent|clear(ly)?
    |likely|{choice}|best|correct|based|given|evidence|evident|reasonable|plausible|this (is|makes)|makes sense)\b""")


class Removal(NamedTuple):
    """A part that goes, text[start:end], because of `rule`."""

    start: int
    end: int
    rule: str


MAX_PASSES = 10  # a text settles after one or two; of a text that does not settle, nothing is kept


def refine(text: str, answer: str | None = None, correct: bool = True, *, chosen: str | None = None) -> str:
    """Return the reasoning without its conclusion and, where the generator was wrong, the words of the true answer.

    The result is a subsequence of the input, with its paragraphs and numbered steps. Refining it again changes nothing.

    Args:
        answer: the true option's text; needed only when `correct` is False.
        correct: whether the generator chose the right option (CR and IR of section 3.1).
        chosen: the text of the option that the response chose. It makes refinement strict, which goes beyond the paper:
            sentences that restate this option in words go as well.

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
    """Return what one pass of refinement removes, in order, without overlaps. Arguments and errors as in `refine`."""
    check_text(text, "a response")
    check_text("" if answer is None else answer, "the answer")
    check_text("" if chosen is None else chosen, "the chosen option")
    found = [*_concluding(text, normalised(chosen or (correct and answer) or ""), chosen)]
    found += [Removal(*noise) for noise in cleaned(text).noise]
    if not correct and answer and (words := _words_of(answer)):
        found += [Removal(*word.span(), WORD_RULE) for word in words.finditer(text)]
    merged: list[Removal] = []
    for start, end, rule in sorted(found, key=lambda one: (one.start, -one.end)):
        start = max(start, merged[-1].end if merged else 0)
        if start < end and rule in RULES:
            merged.append(Removal(start, end, rule))
    return merged


def _concluding(text: str, option: str, chosen: str | None) -> Iterator[Removal]:
    """Yield the sentences, headings and tags that go. option: the chosen option's text if known, normalised."""
    pieces, read = namings(text), _reader(tuple(RULES.values()))
    chosen_words = _stems(chosen or "")
    announced = ""  # the rule of a heading or sentence that ends where its answer should stand
    section = ""  # "conclusion": in the paragraph of a conclusion; "element": between <answer> and </answer>
    begun = False  # whether the section's first sentence has passed
    letter_line = -1  # the line on which a letter has just been named: its option's text may follow
    for i, (sentence, naming) in enumerate(pieces):
        start, end, words = sentence.start, sentence.end, sentence.words
        if sentence.tag:
            yield Removal(start, end, TAG_RULE)
            if sentence.tag.lstrip("/") == "answer":
                section = "" if sentence.tag[0] == "/" else "element"
                announced, begun = section and ANSWER_RULE, False
            letter_line = -1
            continue
        if section == "conclusion" and begun and (sentence.after_blank or words[0] == "#"):
            section = ""
        length, rule, matched = read(words)
        if rule in (ANSWER_RULE, CONCLUSION_RULE):
            if rule == CONCLUSION_RULE and not section:
                section, begun = "conclusion", False
            body = words[length:]
            yield Removal(start, end - len(_description_behind(body, option)), rule)
            announced = "" if any(map(str.isalnum, body)) else rule
            begun = begun or not announced
            letter_line = sentence.line if _ENDS_WITH_LETTER.search(words[-12:]) else -1
            continue
        if rule:
            yield Removal(start, start + length, rule)
            start, words, announced, letter_line = start + length, words[length:], "", -1
            if not words:
                continue
            matched = read(words)[2]
        rule = matched or (LETTER_RULE if naming.letters else None)
        answered = pieces[i + 1][1].letters or pieces[i + 1][0].tag == "answer" if i + 1 < len(pieces) else False
        leads = answered and (naming.announces or _LEADS_IN.match(words))
        if leads or (naming.announces and rule and not _lists(pieces, i + 1)):
            announced = rule = rule or CORRECT_RULE
        else:
            if rule is None and announced and _is_answer(words, option, announced in (ANSWER_RULE, CONCLUSION_RULE)):
                rule = announced
            elif rule is None and letter_line == sentence.line and _is_option(words, option):
                rule = LETTER_RULE
            elif rule is None and section and not _SEEN.match(words) and (not begun or _CONCLUDES.search(words)):
                rule = CONCLUSION_RULE
            elif rule is None and chosen_words and _restates(words, chosen_words):
                rule = RESTATED_RULE
            announced = ""
        begun, letter_line = True, -1
        if rule:
            letter_line = sentence.line if _ENDS_WITH_LETTER.search(words[-12:]) else -1
            if rule == LETTER_RULE and not naming.explicit and lists_option(words) and not _CONCLUDES.search(words):
                end -= len(_description_behind(words, option))  # "B: The man lifts the cup and ..."
            yield Removal(start, end, rule)


@lru_cache(maxsize=4)
def _reader(rules: tuple[Rule, ...]) -> Callable[[str], tuple[int, str, str | None]]:
    """Return a function that reads a sentence by itself. It returns the length and the rule of the heading at the
    beginning, (0, "") if there is none, and the first rule whose pattern matches, or None."""
    rows = [(rule, rule.words.split(), _compiled(rule.pattern)) for rule in rules if rule.pattern]
    rows = [(rule.name, signs, [sign for sign in signs if sign.isascii()], pattern) for rule, signs, pattern in rows]

    @lru_cache(maxsize=4096)
    def read(words: str) -> tuple[int, str, str | None]:
        folded, is_ascii, matched = words.lower(), words.isascii(), None
        for name, signs, ascii_signs, pattern in rows:
            if (not signs or has_one(folded, ascii_signs if is_ascii else signs)) and pattern.search(plain(words)):
                matched = name
                break
        heading = _HEADING.match(words) if has_one(folded, _HEADING_SIGNS) else None
        if heading and (heading["answer"] or heading["conclusion"]):
            return heading.end(), ANSWER_RULE if heading["answer"] else CONCLUSION_RULE, matched
        if not heading or not (heading["colon"] or words[0] in "#*" or heading.end() == len(words)):
            heading = _DETAILED.match(words)
        return (heading.end(), EXPLANATION_RULE, matched) if heading else (0, "", matched)

    return read


def _description_behind(body: str, option: str) -> str:
    """Return what stays of the text behind "Answer:" or "Conclusion:" in the same sentence: a description, or ""."""
    letter = re.match(r"[\s*_(\[\"`-]{0,6}(?:[Oo]ption )?[A-J][).:\]\"`]{0,2}[*_]{0,2}[.:;,)]?\s+(?:[|–—-]\s+)?", body)
    rest = body[letter.end() :] if letter else body
    if letter and re.match(r"[\W_]*[AI]\s", body) and not _STATES.match(rest):
        letter = None  # an article or a pronoun
    describes = len(rest.split()) > 5 or _STATES.match(rest.lstrip(" *_-–("))
    if letter and describes and not _is_option(rest, option) and not _CONCLUDES.match(rest):
        return rest
    if not letter and _SEEN.match(body) and not _CONCLUDES.search(body) and not named(body).letters:
        return body
    return ""


def _is_option(words: str, option: str) -> bool:
    """Tell whether the text behind a letter is its option's rather than a description."""
    said = normalised(words)
    if option and (said == option or said.endswith(f" {option}") or option.endswith(f" {said}")):
        return True
    bare = words.lstrip(" *_\"'“(-–:$")
    count = len(words.split()) + len(_UNSPACED.findall(words)) // 3
    return count <= (12 if bare[:1].islower() else 5) and not _CLAUSE.match(bare)


def _is_answer(words: str, option: str, heading: bool) -> bool:
    """Tell whether a sentence is what a heading, or a sentence that ends in a colon, has announced."""
    if lists_option(words) or (option and normalised(words) == option):
        return True
    return not _SEEN.match(words) and words[0] != "#" and (heading or len(words.split()) <= 8)


def _lists(pieces: Sequence[tuple[Sentence, Naming]], i: int) -> bool:
    """Tell whether piece i and the next begin with two different letters, as in a list of options."""
    lines = [plain(sentence.words)[:40] for sentence, _ in pieces[i : i + 2]]
    return len(lines) == 2 and all(map(lists_option, lines)) and lines[0].split()[0] != lines[1].split()[0]


_WORDS = re.compile(r"\w+(?:[-'’]\w+)*")


def _words_of(answer: str) -> re.Pattern[str] | None:
    """Return a pattern of the content words of an answer, as whole words, with a possessive ending."""
    words = {word for word in _WORDS.findall(answer) if word.casefold() not in STOP_WORDS}
    if not words:
        return None
    alternatives = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(rf"(?<![\w\-])(?:{alternatives})(?:['’]s)?(?![\w\-])", re.IGNORECASE)


# --- strict refinement, and what leaks ------------------------------------------------------------------------------

_SIGNS = re.compile(  # of a sentence that concludes, or says what the question asked for
    r"(?i)\b(?:therefore|thus|hence|so|consequently|accordingly|conclu\w*|suggest\w*|indicat\w*|impl(?:y|ies)|means?"
    r"|must|likely|clear(?:ly)?|evident\w*|confirm\w*|consistent|best|correct|answer|option|choice|infer\w*"
    r"|match(?:es)?|fits?|as a result|showing that|(?:right|just|immediately) (?:before|after))\b|^\W*only\b"
)


@lru_cache(maxsize=4096)  # a sentence is compared with each option
def _stems(text: str) -> frozenset[str]:
    """Return the content words of a text without their inflection: "opened" and "opening" are "open"."""
    return frozenset(map(_stem, set(normalised(text).split()) - STOP_WORDS))


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    """Return a word without its inflection."""
    stem = re.sub(r"(?:ing|ed|es|s|e)$", "", word) if len(word) > 3 else word
    return re.sub(r"([^aeiou])\1$", r"\1", stem) if stem != word else stem


# Who acts; an option's text leaves the subject out.
_SUBJECTS = _stems("person man woman boy girl child kid baby lady people individual someone adult one")


def _restates(sentence: str, option: frozenset[str]) -> bool:
    """Tell whether a sentence has all of an option's `_stems`, and either no others (except who acts) or a sign of a
    conclusion."""
    said = _stems(sentence)
    return option <= said and (said - option <= _SUBJECTS or _SIGNS.search(sentence) is not None)


def leaks(text: str, options: Sequence[str], answer: int, prediction: int | None) -> dict[str, bool | None]:
    """Return whether a text gives the answer away, in four ways; None where the question does not arise.

    letter: a sentence names an option's letter as the answer. option text: a sentence has all content words of the
    chosen option, whatever their inflection. true option's words, wrongly chosen option's words: the text has one of
    its content words; the latter only where the generator was wrong, and without those that the true option shares.
    answer, prediction: the indices of the right option and of the one that the response chose.
    """
    said = [(sentence.words, naming) for sentence, naming in namings(text) if not sentence.tag]
    chosen = _stems(options[prediction]) if prediction is not None else set()
    true, wrong = _words_of(options[answer]), None
    if prediction is not None and prediction != answer:
        shared = " ".join(_WORDS.findall(options[answer])).casefold().split()
        wrong = _words_of(" ".join(w for w in _WORDS.findall(options[prediction]) if w.casefold() not in shared))
    return {
        "letter": any(naming.letters for _, naming in said),
        "option text": any(chosen <= _stems(words) for words, _ in said) if chosen else None,
        "true option's words": None if true is None else bool(true.search(text)),
        "wrongly chosen option's words": None if wrong is None else bool(wrong.search(text)),
    }
