"""How languages other than English name an answer: one table of words, and the patterns made of them."""

import re
from functools import partial

from reasvqa.text import compiled, fragments, has_one

# See `text.compiled`. ALONE: an option's letter, captured; before another word, A, E and I are words themselves. at,
# names: what stands in front of it. The other rows are words: first those of scripts without spaces, then those that
# begin, and in part end, at a boundary. verdicts, agrees, takes: they name an answer only beside a letter.
FRAGMENTS = {
    "ALONE": r"(?-i:(?<![A-Za-zÀ-ɏ0-9])(?<![A-Za-zÀ-ɏ0-9]['’])([A-J])(?![A-Za-zÀ-ɏ0-9=+]|-\w|['’]\w{5}|(?<=I)['’]"
    r"|(?<=[AEI]) (?!(?:is|är|jest|weil|porque|perché|parce|puisque|ya|pues|pois|dato|und|y|et?|és?|es|ist|está?|è"
    r"|wäre|passt|trifft|stimmt|entspricht|beschreibt|décrit|descr[ei][bv]e|coincide)\b)['‘]?[A-Za-zÀ-ɏ0-9]))",
    **fragments(r"""
answers 答案|答え|正解|回答|解答|正答|更正|訂正|정답|대답|답변|(?<![대정])답|정정|उत्तर|जवाब|(ال)?[إا]جابة|(ال)?جواب
    |پاسخ|คำตอบ|תשובה|উত্তর|(?<![回解])答(?=[:是为為])|(?<![^\W\d_])(antwort|lösung|korrektur|réponse|reponse|respuesta
    |resposta|risposta|gabarito|correcci[oó]n|correção|correzione|ответ(ом)?|відповідь|исправление|cevap|cevabı?m?|yanıt
    |antwoord|svar(et)?|odpowied\w+|odpov[eě]ď|răspunsul|vastaus|válasz|đáp án|câu trả lời|jawaban(nya)?|απάντηση)
    (?![^\W\d_])
verdicts 结论|結論|判断|判斷|결론|판단|निष्कर्ष|(?<![^\W\d_])(fazit|entscheidung|(aus)?wahl|choix|elección|selección
    |solución|conclusión|escolha|seleção|solução|conclusão|scelta|selezione|soluzione|conclusione|выбор|вывод|итог|решение
    |висновок|keuze|wybór|seçimi?m?|sonuç)(?![^\W\d_])
options [选選]?[项項]|選択肢|선택지|보기|번|옵션|विकल्प|(ال)?خيار|ตัวเลือก|ข้อ|(option|opci[oó]n|op[cç][aã]o|opzione
    |alternativa?e?n?|letra|lettera|lettre|buchstabe|möglichkeit|вариант\w{0,2}|варіант\w{0,2}|seçene\w+|şıkk?ı?|optie
    |opcj\w|phương án|lựa chọn|pilihan|opsi|επιλογή)(?![^\W\d_])
right 正确|正確|正しい|[对對]的|[最更]?合[适適]|適切|最適|可能性が(最も)?高|准确|準確|最(佳|可能|符合|适合|適合|適した
    |[贴貼][切近]|恰[当當]|接近|合理|能)|맞|옳|적절|적합|정확|सही|(ال)?صح[يی]ح|ถูกต้อง|(?<![^\W\d_])(richtig|korrekt|bonne
    |correcte(?!d)|est correct(?!\w)|correcto|correcta|juste|exacte|corrett[ao]|giust[ao]|certa(?!in)|certo|corret[ao]
    |правильн|верн|верен|вірн|лучш|подходящ|doğru|juist|rätt|poprawn|đúng|benar|tepat|σωστ|mejor|melhor|miglior|meilleur
    |mieux|meglio|beste|passend|adecuad|adequad|appropriée?|apropiad|apropriad|wahrscheinlich
    |(más|mais|plus|più) probab)
choose 选择?(?![项項题])|選擇?(?![項択题])|선택(?!지)|[应應][该該]是|剩下?|可得|أختار|ตอบ|(?<![^\W\d_])(wähle( ich)?
    |entscheide mich für|choisis|choisirais|elijo|elegir[ií]a|escojo|opto por|selecciono|escolho|escolheria|seleciono
    |scelgo|sceglierei|seleziono|dirais|diría|diria|direi|выбираю|выбрала?|обираю|kies|väljer|wybieram|chọn|memilih|เลือก)
takes 選|선택|고르|चुन|seç|wählen|entscheiden|sagen
agrees 对应|對應|対応|符合|相符|一致|吻合|該当|일치|해당|(?<![^\W\d_])(entspricht|passt|stimmt|trifft zu
    |coincide(?!\w)|correspond à|corresponde(?!\w)|corrisponde|соответствует)
denies 不|非|没|ない|ません|なく|않|아니|아닙|틀|नहीं|गलत|ग़लत|ليس|غير|خاطئ|ไม่|(?<![^\W\d_])(nicht|kein|falsch|no
    |n'est pas|incorrect|incorret|scorrett|non|pas\b|não|errad|sbagliat|не|неверн|неправильн|değil|yanlış|niet|fout|inte
    |nie|weniger|menos|moins|meno|менее|(ni|né|nem|noch|ни)\b|không|sai|bukan|tidak|salah)(?![^\W\d_]{3})
links [:=→–—-]|היא|הוא|是|为|為|は、?|が|은|는|이|가|है|होगा|هي|هو|คือ|(?<![^\W\d_])(ist|lautet|wäre|es|ser(ait|[ií]a|á)?
    |est|é|è|sarebbe|is|är|jest|je|este|to|adalah|là|είναι|является|будет|on|er)(?![^\W\d_])
hence donc|daher|quindi|portanto|somit|demnach|folglich|deshalb|entonces|pertanto|dunque|par conséquent|por (lo )?tanto
    |então|dus|assim|así|ainsi|следовательно|значит|поэтому|итак|所以|因此|因而|故|よって|従って|したがって|따라서
    |그러므로
think 我(认为|認為|觉得|覺得|想)|(creo|pienso|(yo )?dir[ií]a|acho|acredito|penso|je (pense|crois|dirais)) qu[eo]?|(penso
    |credo|direi) che|ich (denke|glaube|meine)(, dass)?|я (думаю|считаю)(, что)?|думаю|大概|可能|おそらく|아마
    |wahrscheinlich|probable?mente?|probabilmente|provavelmente|скорее всего
it [就应應该該只能一定必须]{0,4}是|それは|これは|(es|das|dies) (ist|wäre|muss)|((also|dann) )?ist es|((debe|deve
    |tiene que) )?ser|es|sería|c['’]est|ce serait|doit être|è|sia|sarebbe|(deve )?essere|é|seria|это|должно быть
at (,? ?({hence}|also),? )?((?<![^\W\d_])(la|die|der|das|a|o|le|el|il|de|(à |al)?l['’]|alla|à( la)?|al) ?)?
    ({options}:? ?)?
be です|だ|입니다|이다|예요|sein
names ({answers}( {right}\w{0,4})?|{verdicts}(?=.{0,20}?{links}))([^.!?。！？।\n]{0,40}?{links})?|{choose}( ?{links})?|
    {agrees}( (mit|zu|con|com|a)|[于於])?|(?<!不)({right}\w{0,4} ?(的|な)?({options}|(?={links}))
    |{options}( (más|mais|plus|più|наиболее)|,? (que|qui|che|die)( \w+){0,3}?)? {right}\w{0,4})
    ([^.!?。！？।\n]{0,30}?{links})?
no 不[对對]|等等|いや|いえ|아니요?|nein|moment|non|no|não|нет|hayır|nee|nej
"""),
}
_compiled = partial(compiled, fragments=FRAGMENTS)

_ALONE, _SPOKEN = _compiled("{ALONE}"), re.compile(r"[^\W_]")
_DENIES = _compiled("{denies}")
_DENIES_BEFORE = _compiled("{denies} ?$")
_DENIES_NEAR = _compiled(r"[^,.;，。、]{0,12}?{denies}(?! (?-i:[A-J])(?!\w))")
_FORWARD = _compiled("{names} ?{at}{ALONE}")  # "La respuesta correcta es D", "答案：D", "故选D", "Ich wähle D"
# "Option D ist richtig", "Dが正解です", "D를 선택합니다", "选项D（捡起球）是正确的"
_BACKWARD = _compiled(r"""{ALONE}\)? ?{options}?(,? [^.,;:()!?。！？、，।\n]{1,60}?\)|( [a-z'’-]+){1,10}(?=[^\x00-ɏ])
    | [^\s.,;:，]{1,30}(?= )|,( [^\s.,;:]+){1,8},)? ?(({links}|も|を|를|을|와|과|ही|[与與和跟とに]|está|décrit
    |descr[ei][bv]e|beschreibt|описывает) ?[^.!?,;。！？、，।\n]{0,20}?)?{at}({right}|{answers}|{agrees}|{takes})""")
# "nicht B, sondern D", "BではなくD"
_SWAPPED = _compiled(r"""{denies}[^.!?。\n]{0,12}?(?-i:[A-J])\)?([,，、]? ?(sondern|sino|mais|ma|mas( sim)?|а|но|але
    |而是|बल्कि|بل|utan|maar|ale)|[,，、](?= ?{links})) ?(({links}|c['’]est|это) ?)?{at}{ALONE}|(?-i:[A-J])\)? ?(ではなく
    |じゃなく|[이가] 아니라|नहीं,?( बल्कि)?|değil),?、? ?{ALONE}""")
# A whole sentence: "Nein, D.", "Es ist D.", "所以D。", "Opción D"; "Dです", "D选项".
_WHOLE = _compiled(r"""({no} ?[,，、:!…] ?\w{0,9}[,，、]? ?({links} ?)?|(({hence}|{think}|{it})[,，、:]? ?){1,3}
    |(?={options})){at}{ALONE}(?=({be}|\W)*$)|{ALONE}\)? ?({options}|{be}){1,2}\W*$""")
_OTHERS = re.compile(
    r"\)?(?: ?(?:,|/|、|或者?|和|と|または|oder|und|ou|et|o|y|e|или|и|veya|ve|أو|و|या|और|또는) ?([A-J])(?!\w))+"
)


def _signs(*rows: str) -> list[str]:
    """Return for each word of some rows its longest part without signs of a pattern: a text with the word has it."""
    words = re.sub(r"\(\?[^()]*\)|\([^()]*\)\?|\[[^]]*\]|\\w[^|()]*|.\?", ".", "|".join(FRAGMENTS[row] for row in rows))
    parts = [re.findall(r"[^\W\d_]+(?: [^\W\d_]+)*", word) for word in re.split("[|()]", words)]
    return list(dict.fromkeys(max(part, key=len) for part in parts if part))


# Parts of words, one of which a sentence has that says "answer", or that names one, in another language.
ANSWER_SIGNS = " ".join(_signs("answers"))
SIGNS = _signs("answers", "verdicts", "right", "choose", "takes", "agrees")
_ASCII_SIGNS = [sign for sign in SIGNS if sign.isascii()]


def may_be_foreign(text: str) -> bool:
    """Return True when a text has a letter that `named_in_foreign` may name, not only one that numbers it."""
    found = _ALONE.search(text)
    if found and text[found.end() : found.end() + 2] in (". ", ": ") and not _SPOKEN.search(text, 0, found.start()):
        found = _ALONE.search(text, found.end())
    return found is not None


def named_in_foreign(text: str) -> tuple[str, bool]:
    """Return the letters that a plain sentence in another language names as the answer, "" if none, and whether it does
    nothing else."""
    if text.endswith(("?", "？")):
        return "", False
    if whole := _WHOLE.match(text):
        return whole[whole.lastindex or 1], whole.start(whole.lastindex or 1) > 0
    if len(_ALONE.findall(text)) > 1 and (swapped := _SWAPPED.search(text)):
        return swapped[swapped.lastindex or 1], True
    if not has_one(text.lower(), _ASCII_SIGNS if text.isascii() else SIGNS):
        return "", False
    for pattern in (_FORWARD, _BACKWARD):
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 8) : match.start()]
            denied = _DENIES.search(match.group()) or _DENIES_NEAR.match(text, match.end())
            if denied or _DENIES_BEFORE.search(before):
                continue
            others = _OTHERS.match(text, match.end(1))
            letters = re.findall("[A-J]", others.group()) if others else []
            return "".join(dict.fromkeys([match[1], *letters])), pattern is _FORWARD
    return "", False
