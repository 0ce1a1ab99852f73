"""Clean generated text and split it into sentences.

`cleaned` blanks what is not part of the reasoning: special tokens, speakers, markup, and the JSON around a text. Each
remaining character keeps its place, so that a sentence found in the clean text can be removed from the response.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from reasvqa.samples import LETTERS

# --- patterns --------------------------------------------------------------------------------------------------------

_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{([A-Za-z]+)\}|\((?!\?)|\n\s*", re.DOTALL)


def compiled(pattern: str, fragments: Mapping[str, str]) -> re.Pattern[str]:
    """Compile a pattern that ignores case. {name} is a fragment, "(" does not capture, line breaks are left out. A
    fragment with a capital name is a regular expression as Python reads it."""

    def written_out(text: str) -> str:
        return _PART.sub(part, text)

    def part(match: re.Match[str]) -> str:
        if name := match[1]:
            return fragments[name] if name.isupper() else f"(?:{written_out(fragments[name])})"
        return {"(": "(?:", "\n": ""}.get(match[0][0], match[0])

    return re.compile(written_out(pattern), re.IGNORECASE)


def fragments(table: str) -> dict[str, str]:
    """Return the rows of a table: a name and a text on each line. Indented lines go on with it; # begins a comment."""
    return dict(row.split(" ", 1) for row in re.sub(r"\n {4}", "", table).split("\n") if row and row[0] != "#")


# --- noise -----------------------------------------------------------------------------------------------------------

TOKEN_RULE, SPEAKER_RULE, MARKUP_RULE, JSON_RULE = "special token", "speaker", "markup", "JSON"

_FRAGMENTS = fragments(r"""
roles assistant|user|system|model|human|bot|developer|tool|analysis|commentary|final|thought
comma \s{0,20}([}\]]|[,;]?\s{1,20}\"\w{1,30}\"\s?:|,\s{0,20}([\"'{\[}\]\d-]|null|true|false|\w{1,30}\s?:|\Z)|\Z|```)
field (\w{0,20}_)?(answer|option|choice|prediction|reasoning|explanation|rationale)
closers [\"'”’)\]}*_`$]{0,6}
heading (?-i:[*_]{0,2}(Final |Correct |Detailed )?(Answer|Explanation|EXPLANATION|Reason(ing)?|Conclusion|Rationale)\b)
end [.!?…。！？।؟۔]((?<=[。！？।؟۔]){closers}|(?<=[.!?…]){closers}(?=\s)|(?<=[a-z]{2}[.!?]|[A-J]\)\.
    |\s[A-J]\.)(?=[A-Z][a-z]+,? [a-z]|\\boxed))
marked \\boxed\{[^{}\n]{0,20}\{?[^{}\n]{0,8}\}{1,2}(\$|\\\)|\\\]|\*\*)?(?=\s+[A-Z])
    |(?<=[\s(*])[A-J][)\]]?\*\*(?=\s*[A-Z][a-z])|\*\*(\w+ ){0,2}Answer:? \(?[A-J]\b[^*\n]{2,90}\*\*(?=\s+[A-Z])
""")
_compiled = partial(compiled, fragments=_FRAGMENTS)

# <|im_end|>, </s>, <end_of_turn>, [/INST] ..., with the role that follows; or a role alone on its line.
_TOKEN = _compiled(r"""(?m-i:[<\[]((?<=<)([|｜](?!(begin|end)_of_box)[^\s<>|｜]{1,40}[|｜]?(>|\Z)|\w{1,20}\|>|/?(s|eos
    |bos|pad|unk|sep|cls|mask|image|video|sop|eop|eod|eoa|eoh|(end|start)_of_(turn|text|utterance)|turn_end|endoftext
    |end|END|STOP|im_end|im_start|eot|extra_(id_)?\d+|unused\d+|reserved_\d+|0x[0-9A-F]{2}|EOS_TOKEN|assistant|ai|AI)(>
    |\Z)|</?SYS>>)|(?<=\[)(/?(INST|SYS|EOS|BOS|PAD|UNK|SEP|CLS|MASK|gMASK|TOOL_CALLS)|END|STOP|DONE|(BEGIN
    |END) FINAL[ ]RESPONSE|\|\w{1,30}\|)\])(\s?{roles}\b(?=\s*([:\n<]|$|\(?[A-J]\b)))?)""")
_ROLE = re.compile(r"^[ \t#*\[]*(?:[Aa]ssistant|user|model)[\]*]*(?=[ \t]*$)", re.MULTILINE)
# The model's name in front of a line.
_SPEAKER = _compiled(r"""\n[ \t]*((\([^()\n]{0,40}\) ?|\[\d[^\[\]\n]{0,20}\] ?)?[#*_\[<]{0,6} ?((the |my )?
    (ai |visual )?(assistant|model|chatbot|bot|ai|agent|vlm|llm|system)( (output|prediction|response|reply))?
    |(video-?)?((chat)?gpt|llava|gemini|claude|qwen|internvl|minicpm|phi-|smolvlm|llama|deepseek|molmo|pixtral|mistral
    |grok|gemma-)[\w.-]{0,20}( [\d.]{1,4}( \w{1,9})?)?|response|output|reply|assistente?|asistente|助手|模型
    |ассистент)(?-i:'s (answer|response|reply))?[\]>*_]{0,3}[ ]?[:：>][*_]{0,3}|(?-i:A: (?=\(?[A-J]([.)]|\s*\Z))))""")
_USER = _compiled(r"""(^|\n)(\([^()\n]{0,40}\) ?)?[#*_\[ ]{0,6}(user|human)[\]*_]{0,3} ?:|(?-i:<\|(im_start\|>
    |start_header_id\|>)?user\b)""")
_ASSISTANT = _compiled(r"""[#*_\[]{0,6}\b(assistant|model|ai|gpt|bot)[\]*_]{0,3} ?:[*_]{0,3}|(?-i:<\|(im_start\|>
    |start_header_id\|>)?assistant\b(<\|end_header_id)?(\|>)?)""")
# Formatting, and text that is struck out.
_MARKUP = _compiled(r"""~~[^~\n]{1,80}~~|<(?P<tag>del|strike)>[^<\n]{1,80}</(?P=tag)>|</?((?P<block>p|br|hr|div|section
    |li|ul|ol|h[1-6]|t[dr]|table)|b|strong|i|em|u|span|code|pre|mark|font|small|big|sub|sup|ins|center|html|body)
    (\s[^<>\n]{0,60})?/?>""")
_FULL_WIDTH = str.maketrans(
    "：（），；．ＡＢＣＤＥＦＧＨＩＪⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿ\u200b\u200e\u200f\u2066\u2067\u2068\u2069\ufeff",
    f":(),;.{LETTERS}{LETTERS}{'':8}",
)


class Clean(NamedTuple):
    """A readable response. text: as long as the response, with blanks in place of noise. shown: the response with the
    escapes of its JSON resolved. noise: (start, end, rule), in order, without overlaps. answer: its JSON's answer."""

    text: str
    shown: str
    noise: list[tuple[int, int, str]]
    answer: str | None


@lru_cache(maxsize=8)
def cleaned(text: str) -> Clean:
    """Return a response without the tokens, speakers, markup and JSON around its text."""
    found, answer = _json(text) if has_one(text, ("{", '":', "”:")) else ([], None)
    if "<" in text or "[" in text or "~~" in text:
        found += [(*match.span(), MARKUP_RULE, "\n" if match["block"] else "") for match in _MARKUP.finditer(text)]
        found += [(*match.span(), TOKEN_RULE, "\n") for match in _TOKEN.finditer(text)]
    found += [(*match.span(), TOKEN_RULE, "\n") for match in _ROLE.finditer(text)]
    found += [(match.start(), match.end() - 1, SPEAKER_RULE, "") for match in _SPEAKER.finditer("\n" + text)]
    if has_one(text.lower(), ("user", "human")) and (user := _USER.search(text)):
        begin = 0 if re.match(r"\s*(<\|im_start\|>)?system\b", text) else user.start()
        if text[:begin].strip():  # a conversation that the model made up behind its turn
            found.append((begin, len(text), SPEAKER_RULE, ""))
        elif spoken := list(_ASSISTANT.finditer(text, user.start())):  # the prompt before its turn
            found.append((begin, spoken[-1].end(), SPEAKER_RULE, ""))
    clean, shown, noise, at = list(text.translate(_FULL_WIDTH)), list(text), [], 0
    for start, end, rule, becomes in sorted(found, key=lambda item: (item[0], -item[1])):
        start = max(start, at)
        if start >= end:
            continue
        at = end
        clean[start:end] = [char if char.isspace() else " " for char in text[start:end]]
        if becomes and end - start > 1:
            end -= 1
            clean[end] = shown[end] = becomes
        for line in text[start:end].splitlines(keepends=True):  # a removal lies within a line
            if line.strip():
                noise.append((start, start + len(line.rstrip("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029")), rule))
            start += len(line)
    return Clean("".join(clean), "".join(shown), noise, answer)


# --- JSON, also broken -----------------------------------------------------------------------------------------------

_OBJECT = _compiled(r"""\{(?<![\w\\].)\s{0,20}(?=\"[^\"\n]{1,40}\"\s?:|'[^'\n]{1,40}'\s?:|{field}\s?:)
    |\A\s{0,9}(?=\"{field}\"\s?:)""")
_OPENING = _compiled(r"((```[ \t]*\w{0,10}|^json)\s{0,4})?(\[\s{0,4})?\Z")
# A value ends at a quotation mark that a comma, a bracket or the end follows, so that unescaped marks may stand in it.
_PIECE = _compiled(r"""(?s-i:(?P<key>(\"[^\"\n]{1,40}\"|'[^'\n]{1,40}'|(?<=[{,\s])[^\W\d]\w{0,30})\s{0,4}:)|\"
    (?P<double>([^\"\\]++|\\.|\"(?!{comma}))*+)(\"|\\?\Z)|'(?P<single>([^'\\]++|\\.|'(?!{comma}))*+)('|\\?\Z)|
    (?P<bare>[^\s\"'{}\[\],:`]([^\n\"{}\[\],]|,(?!\s{0,9}[\w\"']{1,30}\s?:)){0,2000})|(?P<sign>[{}\[\],:])|```|\s+
    |.)""")
_CLOSING = _compiled(r"[\s}\]]{0,4}[,.]?(\s{0,4}```)?")
_ESCAPE = re.compile(r"\\(?:u([Dd][89ABab]\w\w)\\u([Dd]\w{3})|u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ANSWER_KEY = _compiled(r"""ans|option|choice|choose|chosen|\bpred|select|pick|guess|letter|label|final|verdict
    |conclusion|result|decision|response|output|答|选|選|정답|답|antwort|respuesta|resposta|risposta|r[ée]ponse|ответ
    |उत्तर|جواب|إجاب|cevap""")
_TEXT_KEY = _compiled(r"""reason|expla|rational|thought|think|analy|descri|justif|observ|evidence|caption|step|cot
    |chain|why|detail|summary|narrat|(?<!answer|option|choice)(?<!answer.|option.|choice.)(content|text)|解|理|说明
    |이유|설명|begründ|erkl|motiv|pourquoi|объясн|рассужд|обоснов|कारण|सبب|شرح|açıkla|gerek""")
_OTHER_KEY = _compiled(r"""wrong|incorrect|second|alternativ|reject|eliminat|\bnot|least|question|first|initial|all
    |options|choices|candidates|truth|confiden|score|prob|rank|\bid\b|type|version|^(video|model|status|time)|^[A-J]$
    |(answer|option|choice).?(content|text)""")


def _json(text: str) -> tuple[list[tuple[int, int, str, str]], str | None]:
    """Return what stands around the texts of the JSON objects in a response, and what their answer fields say. The
    former are (start, end, rule, becomes): the last character of text[start:end] is read as `becomes`, if given."""
    text = re.sub("[“”]", '"', text) if "”:" in text else text
    noise: list[tuple[int, int, str, str]] = []
    answers: list[tuple[str, str]] = []
    at = 0
    while opened := _OBJECT.search(text, at):
        gap = next(_OPENING.finditer(text, max(at, opened.start() - 40), opened.start())).start()
        at, depth, key, another = opened.end(), 1, "", False
        count = len(noise) + len(answers)
        while depth and (piece := _PIECE.match(text, at)):
            at, kind = piece.end(), piece.lastgroup
            if kind == "sign":
                depth += {"{": 1, "}": -1}.get(piece[0], 0)
            elif kind == "key":
                key, another = piece[0].strip("\"': \n"), False
            elif kind:
                value = piece[kind]
                words, other = len(value.split()), _OTHER_KEY.search(key) or value in ("", "null")
                if words <= 12 and _ANSWER_KEY.search(key) and not _TEXT_KEY.search(key) and not other:
                    if another:  # a list's next value
                        value = f"{answers.pop()[1]}, {value}"
                    answers.append((key, value))
                    another = True
                elif (_TEXT_KEY.search(key) and (words > 1 or kind != "bare")) or (words > 2 and not other):
                    start, end = piece.span(kind)
                    noise.append((gap, start, JSON_RULE, "\n"))
                    for escape in _ESCAPE.finditer(text, start, end) if kind != "bare" else ():
                        noise.append((*escape.span(), JSON_RULE, _unescaped(escape)))
                    gap = end
        if closing := _CLOSING.match(text, at):
            at = closing.end()
        if len(noise) + len(answers) > count:
            noise.append((gap, at, JSON_RULE, "\n"))
    final = [answer for answer in answers if re.search("(?i)ans|final|correct", answer[0])] or answers
    return noise, final[-1][1] if final else None


def _unescaped(escape: re.Match[str]) -> str:
    high, low, code, char = escape.groups()
    if high:
        return bytes.fromhex(high + low).decode("utf-16-be", "replace")[:1]
    return chr(int(code, 16)) if code else {"n": "\n", "t": "\t", "r": " ", "b": " ", "f": " "}.get(char, char)


# --- sentences -------------------------------------------------------------------------------------------------------

# A tag that answers, or one around a text.
_TAG = _compiled(r"""[<◁\[](\s?(?P<closes>/?)\s?((?P<answer>(\w{1,12}[_-]|final)?(answers?|final|conclusion|choice
    |option|ans|result|prediction|select(ed|ion)|letter|label|verdict)(_\w{1,8})?)|(?P<text>(\w{1,9}:)?think(ing)?
    |thoughts?|reason(ing)?|rationale|expla(in|nation)|analysis|summary|details|descri(be|ption)|caption|observations?
    |perception|reflection|plan|evidence|solution|response|output|json|tool_call))(\s[^<>\[\]\n]{0,40})?\s?([>▷]
    |\](?!\())|(?<=<)\|(?P<box>begin|end)_of_box\|>)""")
# A sentence ends at . ! ? before white space; at a line's end; behind a boxed or bold letter that a capital follows;
# where a heading is glued to what stands before it, or a sentence to an answer's letter.
_END = _compiled("(?-i:{end})")
_MARKED_END = _compiled("(?-i:{end}|{marked})")
_GLUED_END = _compiled(r"""(?-i:{end}|{marked}|(?<=[^\s#'‘\"“])\s?(?=##+ ?[\w*])|(?<=\w)(?=\*\*{heading})
    |[.!?](?={heading})|\b(?!the |my |final |correct |best )[a-z]+[,;)]? (?={heading}[*_]{0,2} ?:[*_]{0,2} ?\(?[A-J]\b)
    |(?<=[:\s*(][A-J])[).:,;|]{0,2} ?(([|/–—]|--?-?) )?(?={heading}[*_]{0,2} ?:)|((?<=: [A-J])
    |(?<=:[A-J]))[.)]{0,2}(?=[A-Z][a-z]+ ))""")
_GLUE = ("##", "nswer", "NSWER", "xplan", "eason", "onclu", "ational")
# It does not end behind what numbers it ("1.", "C.", "Step 2.", "Option B.") or behind an abbreviation.
_ENUMERATOR = _compiled(r"[\s#*_>\-•(\[]{0,12}((option|choice|step|frame)\s)?(\d{1,3}|[A-Z])[)\]]?")
_ABBREVIATION = _compiled(r"\b(e\.g|i\.e|vs|etc|fig|dr|mrs?|ms|approx|cf|eq|st|no|[A-Z]\.[A-Z])$")
_SPOKEN = re.compile(r"[^\W_]")


class Sentence(NamedTuple):
    """A sentence of a text, `words` = text[start:end], or a tag. line: counted from 0; a tag ends one. after_blank: an
    empty line precedes it. tag: the name of a tag, "answer" for all that answer, with a slash if it closes."""

    start: int
    end: int
    words: str
    line: int
    after_blank: bool
    tag: str = ""


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences of a text in order. None crosses a line; those without a letter or digit are left out."""
    at, number, blank = 0, 0, False
    for line in text.splitlines(keepends=True):
        if line.isspace():
            blank = True
        else:
            for start, words, tag in _pieces(line):
                yield Sentence(at + start, at + start + len(words), words, number, blank, tag)
                number, blank = number + bool(tag), False
        at, number = at + len(line), number + 1


@lru_cache(maxsize=4096)  # a response is read, refined, and checked for what is left: most lines come three times
def _pieces(line: str) -> list[tuple[int, str, str]]:
    """Return the sentences and tags of a line as (start, words, name of the tag or "")."""
    found, at = [], 0
    ends = _GLUED_END if has_one(line, _GLUE) else _MARKED_END if "**" in line or "boxed" in line else _END
    if "<" in line or "◁" in line or "[" in line:
        for tag in _TAG.finditer(line):
            found += _split(line, at, tag.start(), ends)
            closes = "/" if tag["closes"] or tag["box"] == "end" else ""
            found.append((tag.start(), tag[0], closes + (tag["text"] or "answer").lower()))
            at = tag.end()
    return [*found, *_split(line, at, len(line.rstrip()), ends)]


def _split(line: str, begin: int, stop: int, ends: re.Pattern[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the sentences of line[begin:stop]."""
    for mark, end in [*(match.span() for match in ends.finditer(line, begin, stop)), (stop, stop)]:
        if end == stop or not _goes_on(line, begin, mark, end):
            words = line[begin:end].strip()
            if _SPOKEN.search(words):
                yield line.index(words, begin), words, ""
            begin = end


def _goes_on(line: str, begin: int, mark: int, end: int) -> bool:
    """Return True when the sentence that begins at `begin` does not end with the sign at `mark`, or what closes it."""
    sign = line[mark]
    lower = sign in ".?!…" and line[end : end + 2].lstrip()[:1].islower()
    if sign != ".":
        return lower or (sign in LETTERS and _ENUMERATOR.fullmatch(line, begin, mark + 1) is not None)
    if lower and (end - mark > 1 or line[mark - 1] == "."):
        return True
    if end == mark + 1 and line[mark - 1] in LETTERS and line[mark - 2] in "\"“'‘*_":  # "B. The cup" is best
        return True
    if mark - begin < 30 and _ENUMERATOR.fullmatch(line, begin, mark):
        return True
    return _ABBREVIATION.search(line, max(begin, mark - 8), mark) is not None


# --- plain text ------------------------------------------------------------------------------------------------------

_LATEX = _compiled(r"(?-i:\\(text(bf|it|rm|sf|tt)?|math(bf|rm|it|sf)|boxed|fbox|quad|qquad|left|right|[()\[\],;! ]))")
# A letter in brackets, bold or a formula is a letter for sure; plain text keeps that as "B)".
_WRAPPED = re.compile(
    r"(?<![\w\\])(?:[(\[]{1,3}\s?([A-Ja-j])\s?[)\]]{1,3}|[<{«‹「『【〔⟨]{1,3}\s?([A-J])\s?[>}»›」』】〕⟩]{1,3}|(?:\*\*"
    r"|[`\"“$'‘]|\\\()\s?([A-J])\s?(?:\*\*|[`\"”$'’]|\\\))|([b-h])\)|\\(?:boxed|fbox|text(?:bf)?|math(?:bf"
    r"|rm))\s?\{\s?(?:\\\w+\{)?\s?\(?([A-Ja-j])\)?\s?\})(?![A-Za-zÀ-ɏ\d_])"
)
_BRACKET_BEHIND = re.compile(r"(?<![\w'’.-])([A-J]) \((?=[^()])")  # "A (open door)" has no article
_DELETE = str.maketrans(
    dict.fromkeys('*`$#_"“”') | dict.fromkeys("([]{}~|<>«»‹›「」『』【】〔〕⟨⟩", " ") | {"\\": " ", "。": ". "}
)
_QUOTE = re.compile(r"""(?<=[A-J\u3040-\u9fff])["“](?=\w)""")  # 选项D"捡起球"是正确的
_SIGN = re.compile(f"[)'‘{re.escape(''.join(map(chr, _DELETE)))}]")


@lru_cache(maxsize=1024)
def plain(text: str) -> str:
    """Return a sentence without Markdown, LaTeX and brackets; "(b)", "**B**", "$B$" and "\\boxed{B}" become "B)"."""
    if _SIGN.search(text):
        text = text if text.isascii() else _QUOTE.sub(" ", text)
        text = _WRAPPED.sub(lambda match: f" {next(filter(None, match.groups())).upper()}) ", text)
        text = _BRACKET_BEHIND.sub(r"\1, ", text)
        if "\\" in text:
            text = _LATEX.sub(" ", text)
        text = text.translate(_DELETE).replace(" )", ")")
    text = " ".join(text.split()).lstrip("-–—•+.,;: '‘’=→⇒➡∴\ufe0f")
    return text.replace(" .", ".").replace(" ,", ",").replace(" :", ":")


def normalised(text: str) -> str:
    """Return the lower-case words of a text with one space between them."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def has_one(text: str, words: Sequence[str]) -> bool:
    """Return True when a text contains one of the words, also as part of a longer word."""
    for word in words:  # noqa: SIM110 - faster than any() with a generator
        if word in text:
            return True
    return False


def check_text(value: object, what: str) -> None:
    """Raise a TypeError unless the value is text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {type(value).__name__}: {value!r:.80}")


# --- removing --------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\s*(?:[-*•+]\s+|\(?\d+[.)]\s+|[#>]+\s+)")
_OPENERS = {"\\]": "\\[", "$$": "$$", "```": "```"}


def without(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """Return the text without the spans (start, end, ...), which are in order, do not overlap, and lie within a line.
    Only lines that lose something are tidied; one of which nothing is left goes, with the empty line, formula or code
    block around it."""
    lines: list[str] = []
    at = position = 0
    last_gone = -1  # how many lines had been kept when the last one went
    for line in text.splitlines(keepends=True):
        start, position = position, position + len(line)
        rest, done = [], start
        while at < len(spans) and spans[at][0] < position:
            rest.append(text[done : spans[at][0]])
            done = spans[at][1]
            at += 1
        if rest:
            end = text[max(done, start + len(line.rstrip())) : position]
            line = _tidied("".join([*rest, text[done:position]]), line, end)
            if not line:
                last_gone = len(lines)
                continue
        if last_gone >= 0:
            bare = line.strip()
            if not bare and last_gone == len(lines) and (not lines or lines[-1].isspace()):
                continue
            if bare in _OPENERS and _closes_nothing(lines, last_gone, _OPENERS[bare]):
                last_gone = len(lines)
                continue
        lines.append(line)
    return "".join(lines)


def _closes_nothing(lines: list[str], last_gone: int, opener: str) -> bool:
    """Remove the opening line of a block when all between it and its closing line has gone; tell whether it did."""
    at = next((i for i in range(len(lines) - 1, -1, -1) if not lines[i].isspace()), -1)
    bare = lines[at].strip() if 0 <= at < last_gone else ""
    if opens := bare == opener or (opener == "```" and bare.startswith(opener)):
        del lines[at:]
    return opens


def _tidied(rest: str, line: str, end: str) -> str:
    """Return what is left of a line with its gaps closed; "" when it is only a number, a bullet or punctuation."""
    bare = rest.strip()
    if not _SPOKEN.search(_NUMBER.sub("", bare + " ", count=1)):
        return ""
    bare = re.sub(r"(?<!\s)\s+", " ", bare)
    bare = re.sub(r" ([.,;:!?])", r"\1", bare)
    bare = re.sub(r"(?<![,;:])[,;:]+(?=[.!?])", "", bare)
    return line[: len(line) - len(line.lstrip())].strip("\r\n") + bare + end
