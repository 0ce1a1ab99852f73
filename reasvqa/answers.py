"""How free text names its answer. Phase 1 reads the answer off; phase 2 removes the sentences that give it away.

Everything works sentence by sentence on plain text (no Markdown, no LaTeX, no brackets). Every pattern looks a
bounded number of words ahead, so reading takes time in proportion to the text's length, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from reasvqa.languages import ANSWERS, LINKS, SIGNS, named_abroad
from reasvqa.samples import LETTERS
from reasvqa.text import Sentence, check_text, cleaned, normalised, plain, sentences

# --- patterns, on plain text -----------------------------------------------------------------------------------------

QUALIFIER = (
    r"(?:final|correct|right|best|chosen|selected|remaining|predicted|(?:most )?(?:likely|plausible|suitable"
    r"|appropriate|logical|reasonable|accurate|probable|fitting"
    r"|consistent)|proper|closest|nearest|only|true|valid)"
)
_NOUN = r"(?:(?:answer )?(?:option|choice|letter)|answer)s?"
_X = r"([A-J])(?<![\w'’^.].)(?<!\w-.)(?![\w'’^=+]|-\w|\.\w)"
_LETTER = re.compile(_X)
_COPULA = (
    r"(?:is|are|was|would be|should be|must be|has to be|will be|might be|could be|seems to be|appears to be|becomes"
    r"|remains|being)"
)
_WORD = r"[^\s:.;]+"
_SOFTENER = (
    r"(?:(?:therefore|thus|hence|clearly|likely|most likely|probably|most probably|definitely|indeed|simply|then|still"
    r"|both|either|given by|represented by"
    r"|described by|the|that of|for|in)[,:]? )"
)
# "answer", "final answer", "the best option", "my choice", "Conclusion" ... what a letter answers.
_MARK = (
    rf"\b(?:answers?|ans|conclusion|verdict|(?:{QUALIFIER}|my|our) (?:\w+ )?(?:option|choice|match|selection|pick|one"
    rf"|fit|answer|prediction|guess|bet)|my guess|(?:{QUALIFIER}|my) (?:option|choice))\b"
)
_LINK = rf"(?:(?: {_WORD}){{0,8}}?(?: ?[:：=→]+>?| ?[–—]| -+>?| {_COPULA}\b))[ :=–—→-]{{0,6}}"
_MARKED = re.compile(
    rf"(?i:{_MARK}{_LINK}{_SOFTENER}{{0,3}}(?:(?:the )?{_NOUN}:? )?)"
    r"(?:([A-J])(?![\w'’^=+]|-\w|\.\w)|(?P<low>[a-j])(?=\)|[.:,] |[.:]?$)|(?P<many>[A-J]{2,5})(?!\w))"
)
_MARKING = "ans conclusion verdict option choice match selection pick one fit prediction guess bet".split()
_LABELLED = re.compile(
    r"(?i:(?:(?:so|thus|therefore|hence|final|my|the|correct|best|predicted|chosen|selected|step|\d+)[,.:]? ){0,4}"
    r"(?:answer|ans|option|choice|conclusion|decision|prediction|verdict|selection|pick|solution|result|response|final"
    r"|correct|output))"
    rf"(?: ?[:：=–—→-]{{1,3}}>? ?|(?<=[rR]) (?=[A-J][).]? ?$))"
    rf"{_SOFTENER}?(?i:(?:{_NOUN}:? )?){_X}(?:\)|[.:]? ?$|[.:,] )"
)
_ALTERNATIVE = re.compile(
    rf"[).:]?(?: ?(?:,|/|&|or\b|and\b)){{1,3}} ?(?i:{_NOUN} )?([A-J])(?=\W*$|[).,;:/}}]| ?(?:,|or|and|are|both"
    rf"|depending)\b)"
)
_OPENS = re.compile(
    r"(?i:(?:(?:so|thus|therefore|hence|consequently|accordingly|overall|finally|ultimately|in (?:conclusion|summary"
    r"|short)|to conclude|wait|no|actually|hmm|but|however|and"
    r"|okay|ok|well|then|now|clearly|step \d+|\d+|for these reasons|as a result|given (?:this|that)|based on (?:this"
    r"|that|the above))[,.:;]? ){0,4}"
    r"(?:(?:the|my|our|this|that|your) )?(?:\w+ ){0,2}?)$"
)

_ADVERB = (
    r"(?:(?:also|clearly|therefore|thus|indeed|likely|definitely|probably|hence|overall|then|very|by far|evidently"
    r"|obviously|certainly|highly|strongly|actually|perhaps|arguably"
    r"|still|simply|directly|fully|well|just|all) )"
)
_MOST = (
    r"(?:most (?:\w+ly )?\w+|best|closest|closer|nearest|correct|right(?= (?:answer|option|choice|one|match|pick"
    r"|description)\b|[.,;:)]|$)|accurate|answer|true|valid|winner|choice|pick|selection|final (?:answer|choice)"
    r"|one(?=[.,;!]|$)"
    r"|only (?:\w+ )?(?:option|choice|one|answer|possibility|candidate|match|description|explanation|alternative)"
    r"|(?:more|better) (?:likely|plausible|consistent|suitable|accurate|fitting"
    r"|appropriate|supported|aligned|suited|reasonable|probable|logical|option|choice|match|fit)|consistent with"
    r"|(?:\w+ly )?supported(?: by)?|confirmed|chosen|selected|favou?red|aligned with|in (?:line|accordance|agreement"
    r"|keeping) with"
    r"|what (?:happens|happened|we|the|is|I)|(?:perfect|good|strong|clear|direct|exact|great|accurate|suitable|close"
    r"|plausible|likely|reasonable) (?:match|fit|option|choice|candidate|answer)|backed (?:up )?by|justified|better"
    r"|one (?:that|which)|\w+est (?:option|choice|answer|candidate|match|fit|description|explanation))"
)
_IS = (
    r"(?:is|was|are|seem(?:s|ed)?|appears?|remains|looks|becomes|stands out|stays|would be|must be|should be|has to be"
    r"|to be|being|emerges|turns out)(?: to be| as| like)?"
)
_BEST = (
    r"(?:best|better|most \w+ly|most|closely|more closely|perfectly|correctly|accurately|directly|clearly|exactly"
    r"|precisely|nicely|well)"
)
_FITS = (
    r"(?:fits|matches|aligns|describes|represents|explains|captures|corresponds|reflects|answers|summari[sz]es|agrees"
    r"|resembles|suits|characteri[sz]es|depicts|accounts for|makes (?:the )?most sense"
    r"|makes sense|stands out|is left)"
)
# Words that may stand before a letter without "option"; any other makes it a name ("vitamin C", "segment A").
_FREE = frozenset(
    "why therefore thus so hence that and but because is as with think believe say answer option choice options choices"
    " letter only makes making leaving leaves then conclude concludes however overall clearly consequently"
    " accordingly finally here statement description scenario possibility these those them which or be to indicates"
    " suggests means for it conclusion yes ultimately indeed since while although final".split()
)
_APPOSITION = (
    r"(?:[).:,;–—-]{0,2}(?: (?!(?:not|is|was|are|does|do|did|can|could|would|might|may|cannot|seems|appears|has|had"
    r"|will|if|[A-J])\b)[^\s.;:]+){0,10}?,? )"
)
_SUBJECT = rf"(?:(?i:{_NOUN}):? [A-J]\b{_APPOSITION}|{_X}(?:[).:]{_APPOSITION}|,? ))"
_SAYS = (
    rf"(?i:{_ADVERB}{{0,2}}(?:{_IS} {_ADVERB}{{0,2}}(?:(?:the|our|my|an?|that|in) )?(?:{_ADVERB}{{0,1}}){_MOST}\b"
    rf"|makes (?:the )?(?:most|more|best) sense\b|{_BEST} {_FITS}\b|{_FITS} (?:the )?{_BEST}\b"
    rf"|{_FITS}(?: \w+){{1,4}}? (?:best|better|perfectly|most closely|very well)\b|(?:might|could"
    rf"|may)(?: well)? be (?:the|my) (?:best|most|correct|right|closest|only)\b|(?:provides|offers|gives|has|contains"
    rf"|presents|is) (?:the|an?) (?:best|most|closest|clearest|strongest|correct|perfect|accurate|better)\b))"
)
_ASIDE = re.compile(
    rf"\((?i:{_NOUN}):?\s([A-J])\)[.!*_\s]{{0,6}}$"
    r"|(?i:\b(?:therefore|thus|hence|most|best|closest|consistent with|match(?:es)?|corresponds to|indicates"
    r"|suggests)\b).{0,120}\(([A-J])\)[.!*_\s]{0,6}$"
)
_WEAK_ASIDE = re.compile(r"\w(?:\W{0,4} \(|, [*_]{1,3})([A-J])(?:\)|[*_])[.!*_\s]{0,6}$")


class Phrase(NamedTuple):
    """A way to name an option in passing. `words`: parts of words of which a sentence has one, or "" where any
    sentence may match; `pattern`: its last group, or else its first letter, is the option's; `weak`: a contrast
    behind it ("but ...") takes it back; `behind`: the letter stands behind other words."""

    name: str
    words: str
    pattern: str
    weak: bool = False
    behind: bool = False


# Searched in this order; the first that finds a letter decides. To add a phrase, add a row.
PHRASES = [
    # "option B is the best", "B fits best"
    Phrase(
        "praised",
        "ost best clos near correct right accurate answer true valid winner choice pick select final one only likel plausib better consistent support confirm chosen favo line accord agree keeping what candidate backed justified sense est ly fit match align describ represent explain captur correspond reflect summari resembl suit character depict account stand left",
        rf"{_SUBJECT}(?:{_SAYS})",
    ),
    # "makes B the best choice"
    Phrase(
        "made",
        "as the our my",
        rf"(?:(?i:{_NOUN}):? |(?i:mak(?:es?|ing)|leav(?:es?|ing)|consider(?:s|ing)?|deem(?:s|ing)?|with|only) ){_X}\)?,?"
        rf" (?i:(?:as (?:the |our |my )?|the |our |my )(?:\w+ )?{_MOST}\b)",
        behind=True,
    ),
    # "option B matches the frames"
    Phrase(
        "held",
        "fit match align describ represent explain captur correspond reflect answers summari agree resembl suit character depict account make stand left",
        rf"(?:(?i:{_NOUN}):? [A-J]\b{_APPOSITION}|{_X}\) )"
        rf"(?i:{_ADVERB}{{0,2}}{_FITS}\b(?! (?:neither|none|no|less|poorly|only|partially|partly|in part)))"
        rf"|{_X}\.{_APPOSITION}(?i:{_ADVERB}{{0,2}}(?:fits|matches|aligns with|corresponds to)\b)",
        weak=True,
    ),
    # "I would go with B"
    Phrase(
        "chosen",
        "choos chos mark select pick go opt settl lean stick vote decide conclude confident arrive with say take answer",
        rf"(?i:\b(?:choose|choosing|chose|chosen|mark|select|selecting|selected|pick|picked|picking|go with|going with"
        rf"|go for|opt for|opting for|settle (?:on|for)|settled on|lean(?:ing)? towards?|stick(?:ing)? with"
        rf"|vote for|decide (?:on|for)|conclude with|confident (?:in|about|with)|arrive at|answer with|respond with|(?:i'd"
        rf"|i'll|i would|i will|let's|let us) (?:say|answer|take)|my answer is"
        rf"|answer is):? (?:the )?(?:\w+ )?(?:{_NOUN}:? )?){_X}",
        behind=True,
    ),
    # "this corresponds to option B"
    Phrase(
        "leads",
        "option answer choice as consistent compatible line match correspond resembl align fit",
        rf"(?i:\b(?:match(?:es|ed|ing)?|correspond(?:s|ed|ing)? (?:\w+ ){{0,2}}?(?:to|with)|align(?:s|ed"
        rf"|ing)? (?:\w+ )*?(?:with|to)|consistent with|equivalent to|lead(?:s|ing)? (?:us |me )?to|point(?:s|ed"
        rf"|ing)? (?:\w+ )?(?:to|towards?|at)"
        rf"|support(?:s|ed|ing)?|suggest(?:s|ed|ing)?|indicat(?:es|ed|e|ing)|favou?r(?:s|ed|ing)?|impl(?:y|ies)"
        rf"|confirm(?:s|ed|ing)?|resembl(?:es|ed|e|ing)|leav(?:es|e|ing)|left with|down to|(?:described|represented|given"
        rf"|captured"
        rf"|reflected|shown|depicted|explained|answered|supported|expressed|stated|provided|covered|found|listed) (?:by|in"
        rf"|as|with)|clos(?:est|e|er) to|agree(?:s|ing)? with|in favou?r of|makes?|making|fits?(?: with)?|fitting|yields?"
        rf"|which is|that is|namely|i\.e\.|meaning|it is|it's|that's|must be|has to be|would be|should be|is|are|be|hence"
        rf"|therefore|thus|so|equals?)"
        rf"[,:]?(?: (?:us|me|the|only|mostly|best|strongly|most|closely|directly|clearly|likely|with|just|therefore|thus"
        rf"|indeed|probably|definitely|exactly|well|given|choice|to)){{0,3}} (?:answer|option|choice)s?(?: choice"
        rf"| option)?:? ){_X}"
        rf"|(?i:\b(?:best (?:\w+ )?\w+s|match(?:es|ing)?(?: {_WORD}){{1,5}}? (?:in|of|for|from|under|by)) {_NOUN}:? ){_X}"
        rf"|(?i:\b(?:points? (?:clearly )?(?:to|towards?)|identif(?:y|ies)|leav(?:es?|ing)|suggests?"
        rf"|favou?rs?) ){_X}(?=\)? as (?:the|our|my) )"
        rf"|(?i:\b(?:most (?:\w+ly )?(?:consistent|compatible|in line) with|(?:most closely |best |closely "
        rf"|also )?(?:matches|corresponds to|resembles|aligns with|fits)) (?:\w+ )?){_X}(?=[).:])",
        behind=True,
    ),
    # "the closest of these is B"
    Phrase(
        "closest",
        "best clos near correct right proper accurate most only",
        rf"(?i:\b(?:best|closest|nearest|correct|right|proper|accurate|most \w+|only)(?: {_WORD}){{0,16}}?(?: ?[:=]"
        rf"| {_COPULA}\b| are\b)(?:[: ]{{1,2}}(?:therefore|likely|clearly|given by|represented by|indeed|in|thus"
        rf"|for|from|with|found in|that of|shown in|as|as in|to|to be"
        rf"|the)){{0,3}}[: ]{{1,2}}(?:{_NOUN}:? ?)?){_X}(?=[).,;:]|$| (?:because|since|as|with|which|for)\b)",
        behind=True,
    ),
    # "Thus, B."
    Phrase(
        "short",
        "",
        r"(?i:(?:\b(?:so|thus|hence|therefore|definitely|obviously|clearly|certainly|probably|most likely|surely|that's"
        r"|that is"
        r"|i think|i believe|i guess|i'd say|overall|yes|consequently|ultimately|finally|that leaves|this leaves|leaving"
        r"|which leaves|only|must be)|^then|^okay|^ok)"
        r"[,:]? ?(?:i think |i believe |i'd say |it is |it's |it must be |it has to be |it should be |that is |this is "
        r"|that's |is "
        rf"|must be |the )?(?:{_NOUN}:? )?){_X}[).,:]?(?: it is| then| remains| is left)?[.! ]*$"
        rf"|^(?i:(?:so|okay|ok|yes|yeah|then)[,]? )?(?i:{_NOUN} )?{_X}\)?"
        r"(?: (?i:it is|remains|it must be)[.! ]*$|[,–—:-]? ?(?:[–—-] )?(?i:because|since)\b)",
    ),
    # "it must be B"
    Phrase(
        "it is",
        "it that this which fit match suit describ best all every none nothing any",
        rf"(?i:\b(?:it|that|this|which)(?: has to be| can only be| should be| must be| would be| is"
        rf"|'s) (?:{_NOUN} )?){_X}(?=\)?(?:[.,;!]|$| (?:because|since|as)\b))"
        rf"|(?i:\bmak(?:es|ing) it (?:{_NOUN} )?){_X}(?=\)?[.,;! ]*$)"
        rf"|(?i:\b(?:fits|matches|suits|describes) ){_X}\)? (?i:best|perfectly|exactly|most closely)\b"
        rf"|(?i:\bbest (?:described|explained|captured|represented|summari[sz]ed|answered) (?:as|by"
        rf"|with) ){_X}(?=\)?(?:[.,;! ]|$))"
        rf"|(?i:\b(?:all|everything|every|none|nothing|any)(?: {_WORD}){{0,3}}? (?:but|except|besides"
        rf"|apart from)(?: for)? (?:{_NOUN} )?){_X}",
        behind=True,
    ),
    # "B ✓"
    Phrase(
        "ticked",
        "✓ ✔ ✅ ☑ correct right best",
        rf"(?:✓|✔|✅|☑)\W{{0,6}}(?i:(?:{_NOUN}:? )?){_X}|^\W{{0,6}}(?i:(?:{_NOUN}:? )?){_X}.{{0,90}}?(?:✓|✔|✅|☑"
        rf"|[:–—,-] ?(?i:(?:this is )?(?:the )?(?:correct|right answer|best (?:match|option|choice|fit|answer)))\b)",
    ),
    # "Based on the analysis, the machine accepts option A."
    Phrase(
        "concluded",
        "option choice answer letter",
        rf"^(?i:(?:therefore|thus|hence|so|consequently|accordingly|overall|ultimately|in conclusion|based on|given"
        rf"|considering|from|among|of)\b.{{0,80}}?\b{_NOUN}:? ){_X}"
        r"(?! (?:can|cannot|could|does|has|would|(?:is|was|seems|appears) (?:not|un|in|im|less|ruled|elim|excl|out|contra"
        r"|also|too|irr)\w*)\b)",
        weak=True,
        behind=True,
    ),
    # "Therefore, the sum is B."
    Phrase(
        "is letter",
        "is are be with to by",
        rf"^(?i:(?:therefore|thus|hence|so|consequently|accordingly|overall|ultimately|considering"
        rf"|the {_NOUN})\b.{{0,160}}?\b(?:is|are|be|with|to|by) (?:\w+ ){{0,2}}?){_X}(?:\)[. ]*$|[.] ?[^.]{{0,80}}\.?$|$)",
        weak=True,
        behind=True,
    ),
    # "B. the cup: this matches"
    Phrase(
        "item",
        "match fit align correct accurate consistent right best support describ correspond",
        rf"^(?i:(?:{_NOUN}:? )?){_X}[).:] (?:.{{0,90}}?[:–—,.(-] ?)?(?i:(?:this |these |the \w+ |option |clearly "
        rf"|directly |closely |accurately |correctly |which |is |the ){{0,3}}"
        r"(?:match(?:es)?|fits?|aligns?|aligning|aligned|fitting|matching|correct|correctly|accurately|consistent with"
        r"|corresponds to|right answer|best (?:match|option|choice|fit|answer))\b)"
        rf"|^(?i:(?:{_NOUN}:? )?){_X}[).:] .{{0,200}}?\b(?i:match(?:es)?|fits?|supports?|corresponds to"
        rf"|describes) (?i:this|the) (?i:{_NOUN})\b"
        rf"|^(?i:{_NOUN}:? ){_X}[^:]{{0,80}}: (?i:(?:this |it |which |that )?(?:is )?(?:clearly |closely |directly )?"
        r"(?:matches|fits|aligns|correct|consistent with|corresponds to))\b",
        weak=True,
    ),
]
_DENIED = re.compile(
    r"(?i:\b(?:not|never|neither|nor|least|incorrect|wrong|unlikely|cannot|if|whether|unless|rather than|instead of"
    r"|than|suppose|supposing|assume|assuming|before|(?<!no )doubt|hardly|none|nothing|nobody|no(?! doubt"
    r"| question)|unlike|against|to see|to check)|n['’]t)\b[^.;:,]{0,30}$"
)
_RULED_OUT = re.compile(r"(?i:\bleast|incorrect|wrong|distractor|eliminat(?:e|ing)|exclud|rul(?:e|ed|es|ing)\b)")
_OPTION_BEFORE = re.compile(rf"(?i:{_NOUN}):? $")
_CONTRAST = re.compile(
    r"(?i:\b(?:but|however|although|though|while|whereas|yet|not|neither|no|only|less|could|might|may|if|lacks?|without|different|another|other|wrong|opposite)\b|n['’]t)"
)

# --- corrections -----------------------------------------------------------------------------------------------------

_RETRACTS = (
    r"(?:on (?:\w+ ){0,2}(?:thought|reflection|look|inspection|consideration|examination|review)s?|upon (?:re|further |closer )\w+(?: \w+)?|after (?:re|further |closer )\w+"
    r"|correction|wait(?: a \w+)?|actually|sorry|apologies|oops|my (?:mistake|bad)|(?:scratch|strike) that|make that|i (?:mean|meant)"
    r"|or rather|(?:edit|updated?|revised|corrected|no|nope|hmm+|instead|better|rather)(?=[,.:;–—…-])"
    r"|(?:let me|i(?:'ll| will| must| need to| have to| should| would)?) (?:correct|revise|change|switch|reconsider|rethink)\b"
    r"|(?:changing|revising|correcting|switching|changed|reconsidering|re-?examining|re-?thinking|re-?checking|looking)\b"
    r"|(?:new|updated|revised|amended|corrected) (?:answer|choice)|it should (?:be|have been)"
    r"|(?:that|this|which|it|[A-J])(?:'s| is| was) (?:incorrect|wrong|not (?:right|correct)|a mistake|mistaken))"
)
_FILL = (
    r"(?:(?:no|wait|actually|sorry|oh|it|it's|that|that's|this|is|was|i|i'd|i'll|think|believe|see|the|my|our|answer|choice|option"
    r"|letter|correct|right|should|must|be|been|have|would|will|to|with|as|for|choose|pick|say|go|final|best|let's|rather|more"
    r"|again|closer|likely|probably|really|clearly|made|make|mind|mistake|instead|now|and|so|its|a|from [A-J]\)?)[,.:;]? )"
)
# "Answer: B. Correction: D", "B, no wait, D", "I change my answer from B to D", "Answer: B -> D"
_CORRECTED = re.compile(
    rf"(?i:\b{_RETRACTS}[\s,.:;–—…-]{{0,4}}{_FILL}{{0,7}}){_X}"
    r"(?=\)?(?:[.,;:!]| ?$| (?:is|was|fits|seems|matches|because|since|instead|rather|as|not|best|makes)\b))"
    r"(?!\)? (?:is|was|seems) (?:not|wrong|in|un|less|out|im|also|ruled|elim|excl))"
)
_CORRECTING = (
    "thought reflection look inspection consider examin review further closer careful upon after correct wait actually sorry apolog oops mistake scratch strike make mean rather edit"
    " updat revis no, no. no: no; no– nope hmm instead better change changing switch recons rethink reexam re-exam recheck re-check"
    " looking should wrong not n't n’t → - ="
).split()
_RETRACTING = re.compile(rf"(?i:(?:(?:but|oh|ah|and|however|so),? )?{_RETRACTS})")
_NOT_BUT = re.compile(  # "not B but D"
    rf"(?i:(?:\bnot|n['’]t|\bneither|\brather than|\binstead of) (?:the )?(?:{_NOUN}:? )?)\(?[A-J]\)?(?: (?:n?or) [A-J]\)?)?[,;.–—-]{{0,2}}"
    rf" ?(?i:(?:but|it is|it's|rather|instead)(?: rather| instead)?,? (?:it is |it's |the )?(?:{_NOUN}:? )?){_X}"
)
_INITIAL = re.compile(r"(?i:\b(?:initial|first|previous|original|earlier|old|wrong|incorrect)(?:ly)? (?:\w+ )?(?:answer|guess|choice)\b)")
_ARROW = re.compile(r"(?<!\w)[A-J]\)?\s?(?:→|[-=]{1,2}>)\s?\(?([A-J])(?!\w)")

_BOXED = re.compile(
    r"\\boxed\s?\{\s?(?:\\\w+\{)?\s?(?:(?:[Tt]he )?(?:[Oo]ption|[Aa]nswer|[Cc]hoice):?\s)?"
    r"(?:\\\w+\{)?\s?\(?([A-J])\)?(?![\w^=+])"
)
_BARE = re.compile(rf"(?i:(?:the )?(?:{_NOUN}:? ?)?){_X}[).:! ]*$")
_FIRST = re.compile(rf"(?i:(?:{_NOUN}:? )?){_X}[).:]")


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
    if _LETTER.search(sentence) or _HIDDEN.search(sentence):
        naming = _named(plain(sentence), sentence)
        if naming.letters:
            return naming
    if abroad and has_one(sentence.lower(), SIGNS):
        letters, explicit = named_abroad(plain(sentence))
        if letters:
            return Naming(letters, explicit)
    if sentence.rstrip(" \t*_`\"'.\\[($").lower().endswith(_OPEN_ENDS) and _ANNOUNCES.search(plain(sentence)[-400:]):
        return Naming("", announces=True)
    return _NOTHING


_HIDDEN = re.compile(r"[^\w]\(?[a-j](?:[).\s]|$)|[A-J]{2,5}\b|[A-J]_|['‘][A-J]['’]")  # letters that plain text shows


def _named(text: str, raw: str) -> Naming:
    """The same of a sentence that may name something, given plain and as it stands."""
    bare = _BARE.match(text) if len(text) < 60 else None
    if bare:
        return Naming(bare.group(1), explicit=True, bare=True)
    if "boxed" in raw:
        boxed = _BOXED.search(raw)
        if boxed:
            return Naming("".join([boxed.group(1), *_alternatives(raw, boxed.end(1))]), explicit=True)
    folded, leading = text.lower(), _only_leads(text)
    if not leading and not text.endswith("?") and has_one(folded, _CORRECTING):
        corrected = [match for match in _CORRECTED.finditer(text) if _is_letter(text, match.end(1))]
        if corrected:
            return Naming(corrected[-1].group(1), explicit=True)
        swapped = _NOT_BUT.search(text) or _ARROW.search(raw)
        if swapped and (swapped.start() < 4 or re.search(f"(?i:{_NOUN})", text)):
            return Naming(swapped.group(1), explicit=True)
    explicit, letters = False, []
    for match in _MARKED.finditer(text) if has_one(folded, _MARKING) else ():
        before = text[max(0, match.start() - 120) : match.start()]
        if text.endswith("?") or _hypothetical(before[-60:], match.group()) or _INITIAL.search(before[-20:] + match.group()):
            continue
        if match.group("many"):
            letters += match.group("many") if _BARE_MANY.match(text, match.end()) else ""
        elif match.group("low"):
            letters.append(match.group("low").upper())
        elif _is_letter(text, match.end(1)):
            letters.append(match.group(1))
            letters += _alternatives(text, match.end(1))
        else:
            continue
        explicit = explicit or (match.start() < 120 and bool(_OPENS.match(before)))
    if not letters:
        label = _LABELLED.match(text) if not leading else None
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
        aside = _ASIDE.search(raw) if ")" in raw[-12:] else None
        if not letters and aside and not _CONTRAST.search(text):
            letters.append(aside.group(1) or aside.group(2))
    explicit = explicit or (bool(letters) and _RETRACTING.match(text) is not None)
    return Naming("".join(dict.fromkeys(letters)), explicit and bool(letters))


_BARE_MANY = re.compile(r"[).: ]*(?:$|\()")


def _alternatives(text: str, at: int) -> list[str]:
    """The letters that follow one as its equals: "A or B", "A, C and E"."""
    found = []
    while alternative := _ALTERNATIVE.match(text, at):
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
    return text[end - 1] not in "AI" or not _ARTICLE.match(text, end)


_ARTICLE = re.compile(
    r" (?!(?:is|it is|as|because|since|based|for|due|which|with|and|or|in)\b)[a-z]"
    r"| (?!(?:The|This|That|These|He|She|They|It|We|His|Her|Their|Because|Since|As|Based|Given|In|From|For|Here|Looking"
    r"|There|Both|When|After|Before|During|Explanation|Detailed|Reason\w*|Rationale|Analysis|Justification|Step|Frame|Option"
    r"|Correct|Final)\b)[A-Z]\w"
)


def has_one(text: str, words: Sequence[str]) -> bool:
    """Return True when one of the words stands in a text, as a word or in one."""
    for word in words:  # faster than any() with a generator
        if word in text:
            return True
    return False


def _only_leads(text: str) -> bool:
    """Return True when the only letter is that of a list's item, at the beginning."""
    return text[:1] in LETTERS and text[1:2] in (")", ".", ":") and not _LETTER.search(text, 2)


@lru_cache(maxsize=4)
def _compiled(phrases: tuple[Phrase, ...]) -> list[tuple[Phrase, list[str], re.Pattern[str]]]:
    return [(phrase, phrase.words.split(), re.compile(phrase.pattern)) for phrase in phrases]


def _affirmed(text: str, match: re.Match[str], phrase: Phrase) -> list[str]:
    """The letters of an affirming match, unless it is denied, supposed, an article, or a name."""
    if match.lastindex:
        at = match.start(match.lastindex)
    else:  # a subject: the letter is the first one
        at = match.start() + next(_LETTER.finditer(match.group())).start()
    before = text[max(0, match.start() - 60) : match.start()]
    if _DENIED.search(before) or _DENIED.search(text[match.start() : at]) or _hypothetical(before, match.group()):
        return []
    if phrase.weak and _CONTRAST.search(text, match.end() if phrase.name == "held" else at, match.end() + 200):
        return []
    if phrase.name == "leads" and _RULED_OUT.search(before):
        return []
    if not _OPTION_BEFORE.search(text[max(0, at - 12) : at]):
        word = re.search(r"([\w'’]+) ?$", text[max(0, at - 24) : at])
        if phrase.name != "praised":
            if not _is_letter(text, at + 1):
                return []
        elif word and text[at + 1 : at + 2] != ")" and word.group(1).casefold() not in _FREE:
            return []
    first = re.search(rf"(?<!\w)([A-J])\)?,? (?:and|or|&) (?i:{_NOUN} )?$", text[max(0, at - 20) : at])
    return [*(first.groups() if first else ()), text[at], *_alternatives(text, at + 1)]


# --- announcements ---------------------------------------------------------------------------------------------------

_ANNOUNCES = re.compile(
    rf"(?i:(?:{_MARK}{_LINK}{_SOFTENER}{{0,3}}(?:the )?(?:{_NOUN}:? ?)?"
    rf"|\b(?:best|closest|nearest|correct|right|proper|most \w+)(?: {_WORD}){{0,3}}? (?:answer|option|choice|match"
    rf"|description|explanation|interpretation|candidate|fit|conclusion|one|expression|value)"
    rf"(?: {_WORD}){{0,12}}?(?: ?:| {_COPULA}\b| are\b)(?: (?:therefore|likely|clearly|thus|for|in|the|to"
    rf"|as)){{0,3}}(?: {_NOUN})?[ :–—-]{{0,6}}"
    rf"|\b(?:choose|choosing|select|selecting|pick|identify|determine|decide on|find)(?: \w+){{0,3}} (?:option|answer"
    rf"|choice)[ .:–—-]{{0,4}}"
    rf"|^(?:(?:the|my|final|correct|so|thus|therefore|step \d+|\d+)[.,:]? ){{0,4}}(?:answer|verdict)[ :.–—-]*))$"
)


def lists_option(sentence: str) -> bool:
    """True for a sentence that begins like an option's line: "B", "(B) The cup", "- **Option B:** the cup"."""
    text = plain(sentence)
    return bool(_FIRST.match(text) or _BARE.match(text))


_OPEN_ENDS = ("answer", "option", "choice", "verdict", ":", "：", "–", "—", "-", " is", " be", " to", " are")


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
    abroad = has_one(text.lower(), SIGNS)
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
        elif announced and not naming.letters and (first := _FIRST.match(plain(raw))):
            naming = Naming(first.group(1), explicit=True)
        if naming.letters and retracted:
            naming = naming._replace(explicit=True)
        retracted = len(raw) < 30 and not naming.letters and _RETRACTING.match(plain(raw)) is not None
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
        elif unnamed and (aside := _WEAK_ASIDE.search(raw)) and not _CONTRAST.search(raw):  # "He opens it (B)."
            found[i] = (piece, raw, Naming(aside.group(1)))
    return found


def _lone_letter(found: Sequence[tuple[Sentence, str, Naming]], i: int) -> str | None:
    """The letter with which the first (i = 0) or the last sentence begins its line, if the line beside has none."""
    line, raw = found[i][0].line, found[i][1]
    begins = _FIRST.match(plain(raw[:200]))
    if begins is None or raw.startswith("I."):
        return None
    few = found[:6] if i == 0 else found[:-7:-1]
    beside = [said for piece, said, _ in few if piece.line != line and not piece.tag]
    if i == 0 and not beside and found[-1][0].line == line and not _CONTRAST.search(raw):
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
        headings = [_HEADING.match(heading), _HEADING.match(raw)]
        if i == j + 1 and all(headings) and len({match and match.group().casefold() for match in headings}) == 1:
            # "Answer: A", "Answer: B"
            return "".join(dict.fromkeys(other.letters + naming.letters))
    return naming.letters


_HEADING = re.compile(r"[\s#*_>-]{0,8}(?:final )?answer\W{0,6}:", re.IGNORECASE)


# --- options' texts --------------------------------------------------------------------------------------------------

_MARKER_ALONE = re.compile(
    rf"(?i:{_MARK}{_LINK}{_SOFTENER}{{0,3}}(?:(?:the )?{_NOUN}:? )?|^{_RETRACTS}[,:…] ?(?:it is |it's )?"
    rf"|{ANSWERS}[^.!?。！？।\n]{{0,40}}?{LINKS} ?)"
)


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
        listed = _FIRST.match(plain(line[:400]))
        if listed and listed.group(1) in LETTERS[: len(options)]:
            index = LETTERS.index(listed.group(1))
            if normal[index] and normal[index] in normalised(line[:400]):
                return index
    for i in range(len(pieces) - 1, -1, -1):
        piece = plain(pieces[i][-600:])
        markers = list(_MARKER_ALONE.finditer(piece))
        if markers:
            rest = piece[markers[-1].end() :] or (pieces[i + 1][:400] if i + 1 < len(pieces) else "")
            index = _begins_with(normalised(rest), normal)
            if index is None and rest and _HEADING.match(piece):  # it does answer, so nothing before it counts
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
