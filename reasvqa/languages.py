"""How languages other than English name an answer: one table of words, and three patterns made of them."""

from __future__ import annotations

import re
from functools import partial

from reasvqa.text import compiled, fragments, has_one

# See `text.compiled`. ALONE: an option's letter, captured. at, names: what stands in front of it. The other rows are
# words: first those of scripts without spaces, then those that begin, and in part end, at a boundary.
FRAGMENTS = {
    "ALONE": r"(?-i:(?<![A-Za-zÀ-ɏ0-9'’])([A-J])(?![A-Za-zÀ-ɏ0-9=+]|-\w|['’]\w{5}))",
    **fragments(r"""
answers 答案|答え|正解|回答|解答|正答|更正|訂正|정답|대답|답변|답|정정|उत्तर|जवाब|(ال)?[إا]جابة|(ال)?جواب|پاسخ|คำตอบ
    |תשובה|উত্তর|答(?=[:是为為])|(?<![^\W\d_])(antwort|lösung|korrektur|r[ée]ponse|respuesta|resposta|risposta|gabarito
    |correcci[oó]n|correção|correzione|ответ(ом)?|відповідь|исправление|cevap|cevabı?m?|yanıt|antwoord|svar(et)?
    |odpowiedź|odpov[eě]ď|răspunsul|vastaus|válasz|đáp án|câu trả lời|jawaban(nya)?|απάντηση)(?![^\W\d_])
options [选選]?[项項]|選択肢|선택지|보기|번|विकल्प|(ال)?خيار|ตัวเลือก|ข้อ|(option|opci[oó]n|op[cç][aã]o|opzione
    |alternativa?e?n?|letra|lettera|lettre|buchstabe|möglichkeit|вариант|варіант|seçene\w+|şıkk?ı?|optie|opcj\w
    |phương án|lựa chọn|pilihan|opsi|επιλογή)(?![^\W\d_])
right 正确|正確|正しい|合适|適切|最(佳|可能|符合|适合|適合|贴切|恰当|准确)|맞|옳|적절|정확|सही|(ال)?صحيح|ถูกต้อง|
    (?<![^\W\d_])((más|mais|plus|più|наиболее) )?(richtig|korrekt|bonne|correct[eoa]|juste|exacte|corrett[ao]|giust[ao]
    |cert[ao]|corret[ao]|правильн|верн|верен|вірн|лучш|подходящ|doğru|juist|rätt|poprawn|đúng|benar|tepat|σωστ|mejor
    |melhor|miglior|meilleur|beste|passend|adecuad|adequad|appropriée?|probab|wahrscheinlich)
choose 选择?(?![项項题])|選擇?(?![項択题])|선택(?!지)|[应應][该該]是|أختار|ตอบ|(?<![^\W\d_])(wähle( ich)?|entscheide
     mich für|choisis|elijo|elegiría|escojo|escolho|scelgo|выбираю|обираю|kies|väljer|wybieram|chọn|memilih|เลือก)
denies 不|非|没|ない|ません|なく|않|아니|아닙|틀|नहीं|गलत|ग़लत|ليس|غير|خاطئ|ไม่|(?<![^\W\d_])(nicht|kein|falsch|no
    |n'est pas|incorrect|incorret|scorrett|non|pas\b|não|errad|sbagliat|не|неверн|неправильн|değil|yanlış|niet|fout|inte
    |nie|không|sai|bukan|tidak|salah)(?![^\W\d_]{3})
links [:=→–—-]|היא|הוא|是|为|為|は、?|が|은|는|이|가|है|होगा|هي|هو|คือ|(?<![^\W\d_])(ist|lautet|wäre|es|ser[ií]a|será
    |est|é|è|sarebbe|is|är|jest|je|este|to|adalah|là|είναι|является|будет|on|er)(?![^\W\d_])
at ((donc|also|daher|quindi|portanto) )?((?<![^\W\d_])(la|die|der|das|a|o|le|el|il|de|l['’]) ?)?({options}:? ?)?
be です|だ|입니다|이다|예요
names {answers}([^.!?。！？।\n]{0,40}?{links})?|{choose}( ?{links})?|^{options}:?(?= ?(?-i:[A-J])({be}|\W)*$)|(?<!不)
    ({right}\w{0,4} ?(的|な)?({options}|(?={links}))|{options} {right}\w{0,4})([^.!?。！？।\n]{0,20}?{links})?
no 不[对對]|等等|いや|いえ|아니요?|nein|moment|non|no|não|нет|hayır|nee|nej
"""),
}
_compiled = partial(compiled, fragments=FRAGMENTS)

_DENIES = _compiled("{denies}")
_DENIES_NEAR = _compiled("[^,.;，。、]{0,8}?{denies}")
_FORWARD = _compiled("{names} ?{at}{ALONE}")  # "La respuesta correcta es D", "答案：D", "故选D", "Ich wähle D"
# "Option D ist richtig", "Dが正解です", "D를 선택합니다"
_BACKWARD = _compiled(r"""{ALONE}(\)? ?{options}? ?(({links}|も|を|를|을|ही) ?[^.!?,;。！？、，।\n]{0,20}?)?{at}
    ({right}|{answers}|選|선택|고르|चुन|seç|wählen|trifft zu|passt)|(?<=^.)\)? ?({options}|{be}){1,2}\W*$)""")
# "nicht B, sondern D", "BではなくD"; "Nein, D."
_SWAPPED = _compiled(r"""{denies}[^.!?。\n]{0,12}?(?-i:[A-J])\)?[,，、]? ?(sondern|sino|mais|ma|mas|а|но|але|而是|बल्कि
    |بل|utan|maar|ale) ?({links} ?)?{at}{ALONE}|(?-i:[A-J])\)? ?(ではなく|じゃなく|[이가] 아니라|नहीं,?( बल्कि)?
    |değil),?、? ?{ALONE}|^{no}[,，、:!… ]{1,2}\w{0,9}[,，、]? ?({links} ?)?{at}{ALONE}(?=({be}|\W)*$)""")
_OTHERS = re.compile(
    r"\)?(?: ?(?:,|/|、|或者?|和|と|または|oder|und|ou|et|o|y|e|или|и|veya|ve|أو|و|या|और|또는) ?([A-J])(?!\w))+"
)
_JOINS = frozenset(
    "ist est es é è is är jest weil porque car perché denn da parce puisque ya pues pois dato und y et e".split()
)
# Parts of words, one of which a sentence has that says "answer", or that names one, in another language.
ANSWER_SIGNS = (
    "antwort lösung réponse reponse respuesta resposta risposta gabarito correcc correz correção korrektur ответ"
    " відпов исправл cevap cevab yanıt antwoord svar odpowied odpověď odpoveď răspuns vastaus válasz đáp án câu trả"
    " jawab απάντηση 答 解 正 更正 訂正 정 답 उत्तर जवाब جاب جواب پاسخ คำตอบ תשובה উত্তর"
)
SIGNS = tuple(
    f"{ANSWER_SIGNS} です 입니다 项 項 번 应 應 最 ข้อ ตอบ أختار passt trifft passend seçen şık верен лучш подход"
    " adecuad adequad 適 不 いや 아니 perdón non, nein não нет korrekt richtig wähle entscheide opcion opción opção"
    " opzione mejor melhor miglior meilleur beste elijo escojo escolho scelgo choisis correcta correcto correcte"
    " corret letra lettre вариант bonne doğru kies juist väljer rätt wybieram poprawn chọn đúng memilih benar σωστ"
    " выбираю обираю правильн верн вірн 选 選 맞 옳 선택 고르 विकल्प चुन सही خيار صحيح เลือก alternativa appropriée"
    " elegir ถูก".split()
)
_ASCII_SIGNS = tuple(sign for sign in SIGNS if sign.isascii())
_FOREIGN_LETTERS = re.compile("[À-ÖØ-öø-ɏͰ-῿\u3040-\ud7ff]")


def may_be_foreign(text: str) -> bool:
    """Return True when a text may name an answer in another language, after a quick look that overlooks none."""
    foreign = not text.isascii() and _FOREIGN_LETTERS.search(text)
    return has_one(text.lower(), SIGNS if foreign else _ASCII_SIGNS)


def named_in_foreign(text: str) -> tuple[str, bool]:
    """Return the letters that a plain sentence in another language names as the answer, "" if none, and whether it does
    nothing else."""
    if text.endswith(("?", "？")):
        return "", False
    if swapped := _SWAPPED.search(text):
        return swapped[swapped.lastindex or 1], True
    for pattern in (_FORWARD, _BACKWARD):
        for match in pattern.finditer(text):
            at = match.end(1)
            behind = text[at : at + 12] if pattern is _FORWARD else text[at : match.end() + 8]
            word = re.match(r"\)? ([a-zà-ÿ]+)", text[at:]) if match.group(1) in "AEI" else None
            if _DENIES.search(match.group()) or _DENIES_NEAR.match(behind) or (word and word[1] not in _JOINS):
                continue
            others = _OTHERS.match(text, at)
            letters = re.findall("[A-J]", others.group()) if others else []
            return "".join(dict.fromkeys([match[1], *letters])), pattern is _FORWARD
    return "", False
