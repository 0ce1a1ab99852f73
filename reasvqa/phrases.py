"""The phrases in which English names an option as the answer, as patterns on plain text.

`PHRASES` is the table of those that name one in passing. Each pattern looks a bounded number of words ahead, so reading
takes time in proportion to the length of a text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from reasvqa.languages import ANSWERS, LINKS

QUALIFIER = (
    r"(?:final|correct|right|best|chosen|selected|remaining|predicted|(?:most )?(?:likely|plausible|suitable"
    r"|appropriate|logical|reasonable|accurate|probable|fitting|consistent)|proper|closest|nearest|only|true|valid)"
)
NOUN = r"(?:(?:answer )?(?:option|choice|letter)|answer)s?"
_X = r"([A-J])(?<![\w'’^.].)(?<!\w-.)(?![\w'’^=+]|-\w|\.\w)"
LETTER = re.compile(_X)
_ITEM = rf"(?i:(?:{NOUN}:? )?){_X}"
THUS = (
    r"(?:so|thus|therefore|hence|consequently|accordingly|overall|finally|ultimately|in (?:conclusion|summary|short)"
    r"|to (?:conclude|sum up)|as a result)"
)
_COPULA = (
    r"(?:is|are|was|would be|should be|must be|has to be|will be|might be|could be|seems to be|appears to be|becomes"
    r"|remains|being)"
)
_WORD = r"[^\s:.;]+"
_SOFTENER = (
    r"(?:(?:therefore|thus|hence|(?:most )?(?:likely|probably)|clearly|definitely|indeed|simply|then|still|both|either"
    r"|(?:given|represented|described) by|the|that of|for|in)[,:]? )"
)
_THING = (
    r"(?:answer|option|choice|match|fit|pick|one|candidate|description|explanation|interpretation|possibility"
    r"|alternative|selection|prediction|guess|bet)"
)
# "answer", "final answer", "the best option", "my choice", "Conclusion" ... what a letter answers.
_MARK = rf"\b(?:answers?|ans|conclusion|verdict|(?:{QUALIFIER}|my|our) (?:\w+ )?{_THING})\b"
_LINK = rf"(?:(?: {_WORD}){{0,8}}?(?: ?[:：=→]+>?| ?[–—]| -+>?| {_COPULA}\b))[ :=–—→-]{{0,6}}"
MARKED = re.compile(
    rf"(?i:{_MARK}{_LINK}{_SOFTENER}{{0,3}}(?:(?:the )?{NOUN}:? )?)(?:([A-J])(?![\w'’^=+]|-\w|\.\w)"
    rf"|(?P<low>[a-j])(?=\)|[.:,] |[.:]?$)|(?P<many>[A-J]{{2,5}})(?!\w))"
)
LABELLED = re.compile(
    rf"(?i:(?:(?:{THUS}|final|my|the|correct|best|predicted|chosen|selected|step|\d+)[,.:]? ){{0,4}}(?:{_THING}|ans"
    r"|decision|verdict|solution|result|response|final|correct"
    rf"|output)) ?[:：=–—→-]{{1,3}}>? ?{_SOFTENER}?{_ITEM}(?:\)|[.:]? ?$|[.:,] )"
)
ALTERNATIVE = re.compile(
    rf"[).:]?(?: ?(?:,|/|&|or\b|and\b)){{1,3}} ?(?i:{NOUN} )?([A-J])(?=\W*$|[).,;:/}}]| ?(?:,|or|and|are|both"
    r"|depending)\b)"
)
OPENS = re.compile(
    rf"(?i:(?:(?:{THUS}|wait|no|actually|hmm|but|however|and|okay|ok|well|then|now|clearly|step \d+|\d+"
    rf"|for these reasons|given (?:this|that)|based on (?:this|that|the above))[,.:;]? ){{0,4}}(?:(?:the|my|our|this"
    rf"|that|your) )?(?:\w+ ){{0,2}}?)$"
)

_ADVERB = (
    r"(?:(?:also|therefore|thus|indeed|hence|overall|then|very|by far|perhaps|still|well|just|all|both|(?!un|part|poor"
    r"|on|hard|bare|rare|near)\w+ly) )"
)
_MOST = (
    rf"(?:most (?:\w+ly )?\w+|best|closest|closer|nearest|correct|right(?= {_THING}\b|[.,;:)]|$)|accurate|answer|true"
    rf"|valid|winner|choice|pick|selection|final (?:answer|choice)|one(?= that| which|[.,;!]|$)|only (?:\w+ )?{_THING}"
    r"|(?:more|better) (?:likely|plausible|consistent|suitable|accurate|fitting|appropriate|supported|aligned|suited"
    r"|reasonable|probable|logical|option|choice|match|fit)|(?:consistent|aligned|in (?:line|accordance|agreement"
    r"|keeping)) with|(?:\w+ly )?supported(?: by)?|confirmed|chosen|selected|favou?red|what (?:happens|happened|we"
    r"|the|is|I)|(?:perfect|good|strong|clear|direct|exact|great|accurate|suitable|close|plausible|likely|reasonable"
    rf"|\w+est) {_THING}|backed (?:up )?by|justified|better)"
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
    r"|resembles|suits|characteri[sz]es|depicts|accounts for|makes (?:the )?most sense|makes sense|stands out|is left)"
)
# Words that may stand before a letter without "option"; any other makes it a name ("vitamin C", "segment A").
FREE = frozenset(
    "why therefore thus so hence that and but because is as with think believe say answer option choice options"
    " choices letter only makes making leaving leaves then conclude concludes however overall clearly consequently"
    " accordingly finally here statement description scenario possibility these those them which or be to indicates"
    " suggests means for it conclusion yes ultimately indeed since while although final".split()
)
_APPOSITION = (
    r"(?:[).:,;–—-]{0,2}(?: (?!(?:not|is|was|are|does|do|did|can|could|would|might|may|cannot|seems|appears|has|had"
    r"|will|if|[A-J])\b)[^\s.;:]+){0,10}?,? )"
)
_SUBJECT = rf"(?:(?i:{NOUN}):? [A-J]\b{_APPOSITION}|{_X}(?:[).:]{_APPOSITION}|,? ))"
_SAYS = (
    rf"(?i:{_ADVERB}{{0,2}}(?:{_IS} {_ADVERB}{{0,2}}(?:(?:the|our|my|an?|that|in) )?(?:{_ADVERB}{{0,1}}){_MOST}\b"
    rf"|makes (?:the )?(?:most|more|best) sense\b|{_BEST} {_FITS}\b|{_FITS} (?:the )?{_BEST}\b"
    rf"|{_FITS}(?: \w+){{1,4}}? (?:best|better|perfectly|most closely|very well)\b|(?:might|could"
    r"|may)(?: well)? be (?:the|my) (?:best|most|correct|right|closest|only)\b|(?:provides|offers|gives|has|contains"
    r"|presents|is) (?:the|an?) (?:best|most|closest|clearest|strongest|correct|perfect|accurate|better)\b))"
)
ASIDE = re.compile(
    rf"\((?i:{NOUN}):?\s([A-J])\)[.!*_\s]{{0,6}}$|(?i:\b(?:therefore|thus|hence|most|best|closest|consistent with"
    rf"|match(?:es)?|corresponds to|indicates|suggests)\b).{{0,120}}\(([A-J])\)[.!*_\s]{{0,6}}$"
)
WEAK_ASIDE = re.compile(r"\w(?:\W{0,4} \(|, [*_]{1,3})([A-J])(?:\)|[*_])[.!*_\s]{0,6}$")


class Phrase(NamedTuple):
    """A way to name an option in passing.

    pattern: its last group is the letter; without groups, its first letter is. words: parts of words, one of which a
    matching sentence has; "" tries all. weak: a contrast behind it ("but ...") takes it back.
    """

    name: str
    pattern: str
    words: str = ""
    weak: bool = False


# Tried in this order; the first that finds a letter decides. To add a phrase, add a row.
PHRASES = [
    Phrase(
        "praised",  # "option B is the best", "B fits best"
        rf"{_SUBJECT}(?:{_SAYS})",
        "ost est clos near correct right accurate answer true valid winner choice pick select final one ly plausib"
        " better consistent support confirm chosen favo line accord agree keeping what candidate backed justified"
        " sense fit match align describ represent explain captur correspond reflect summari resembl suit character"
        " depict account stand left",
    ),
    Phrase(
        "made",  # "makes B the best choice", "points to B as the answer"
        r"(?i:\b(?:mak(?:es?|ing)|leav(?:es?|ing)|consider(?:s|ing)?|with|only|points? (?:\w+ )?to\w*|suggests?"
        rf"|favou?rs?) (?:{NOUN}:? )?){_X}\)?,? (?i:(?:as )?(?:the |our |my )(?:\w+ )?{_MOST}\b)",
        "the our my",
    ),
    Phrase(
        "held",  # "option B matches the frames"
        rf"(?:(?i:{NOUN}):? [A-J]\b{_APPOSITION}|{_X}\) )(?i:{_ADVERB}{{0,2}}{_FITS}\b(?! (?:neither|none|no|less"
        rf"|poorly|only|partially|partly|in part)))|{_X}\.{_APPOSITION}(?i:{_ADVERB}{{0,2}}(?:fits|matches|aligns with"
        r"|corresponds to)\b)",
        "fits match align describ represent explain captur correspond reflect answers summari agree resembl suit"
        " character depict account make stand left",
        weak=True,
    ),
    Phrase(
        "chosen",  # "I would go with B"
        r"(?i:\b(?:cho(?:ose|osing|se|sen)|mark|(?:select|pick|lean)(?:ed|ing)?(?: towards?)?|(?:go|going|stick"
        r"|sticking|conclude|confident|answer|respond) (?:with|in|about)|go for|opt(?:ing)? for|vote for"
        r"|settled? (?:on|for)|decide (?:on|for)|arrive at|(?:i'd|i'll|i would|i will|let's|let us) (?:say|answer"
        rf"|take)|answer is):? (?:the )?(?:\w+ )?(?:{NOUN}:? )?){_X}",
        "choos chos mark select pick go opt settl lean stick vote decide conclude confident arrive with say take"
        " answer",
    ),
    Phrase(
        "leads",  # "this corresponds to option B"
        r"(?i:\b(?:(?:match|support|suggest|indicat|favou?r|confirm|resembl|leav|mak|fit|yield|equal)\w*"
        rf"|correspond\w* (?:\w+ ){{0,2}}?(?:to|with)|align\w* (?:\w+ )*?(?:with|to)|consistent with|equivalent to"
        r"|lead\w* (?:us |me )?to|point\w* (?:\w+ )?(?:to|towards?|at)|impl(?:y|ies)|left with|down to|(?:described"
        r"|represented|given|captured|reflected|shown|depicted|explained|answered|supported|expressed|stated|provided"
        r"|covered|found|listed) (?:by|in|as|with)|close\w* to|agree\w* with|which is|that is|namely|i\.e\.|meaning"
        r"|it is|it's|that's|(?:must|has to|would|should) be|is|are|be|hence|therefore|thus|so)[,:]?(?: (?:us|me|the"
        rf"|only|\w+ly|best|most|with|just|therefore|thus|indeed|well|given|choice|to)){{0,3}} (?:answer|option"
        rf"|choice)s?(?: choice| option)?:? ){_X}|(?i:\b(?:best (?:\w+ )?\w+s|match(?:es"
        rf"|ing)?(?: {_WORD}){{1,5}}? (?:in|of|for|from|under|by)) {NOUN}:? ){_X}"
        r"|(?i:\b(?:most (?:\w+ly )?(?:consistent|compatible|in line) with|matches|corresponds to|resembles"
        rf"|aligns with|fits) (?:\w+ )?){_X}(?=[).:])",
        "option answer choice as consistent compatible line match correspond resembl align fit",
    ),
    Phrase(
        "closest",  # "the closest of these is B"
        rf"(?i:\b(?:best|closest|nearest|correct|right|proper|accurate|most \w+|only)(?: {_WORD}){{0,16}}?(?: ?[:=]"
        rf"| {_COPULA}\b| are\b)(?:[: ]{{1,2}}(?:therefore|likely|clearly|given|represented|by|indeed|in|thus|for|from"
        rf"|with|found|that|of|shown|as|to|be|the)){{0,3}}[: ]{{1,2}}(?:{NOUN}:? ?)?){_X}(?=[).,;:]|$| (?:because"
        r"|since|as|with|which|for)\b)",
        "best clos near correct right proper accurate most only",
    ),
    Phrase(
        "short",  # "Thus, B."
        rf"(?i:(?:\b(?:{THUS}|\w+ly|that(?:'s| is)|i (?:think|believe|guess)|i'd say|yes|(?:that |this "
        r"|which )?leav(?:es|ing)|must be)|^then|^ok(?:ay)?)[,:]? ?(?:(?:i think|i believe|i'd say|it's|that's|(?:it "
        rf"|this |that )?(?:is|must be|has to be|should be)|the) )?(?:{NOUN}:? )?){_X}[).,:]?(?: it is| then| remains"
        rf"| is left)?[.! ]*$|^(?i:(?:so|okay|ok|yes|yeah|then),? )?{_ITEM}\)?(?: (?i:it is|remains|it must be)[.! ]*$"
        r"|[,–—:-]? ?(?:[–—-] )?(?i:because|since)\b)",
        "so thus hence therefore ly that think believe guess i'd all yes leav must then ok because since is remains",
    ),
    Phrase(
        "it is",  # "it must be B"
        r"(?i:\b(?:it|that|this|which)(?: (?:has to|can only|should|must|would) be| is"
        rf"|'s) (?:{NOUN} )?){_X}(?=\)?(?:[.,;!]|$| (?:because|since|as)\b))|(?i:\bmak(?:es"
        rf"|ing) it (?:{NOUN} )?){_X}(?=\)?[.,;! ]*$)|(?i:\b(?:fits|matches|suits|describes) ){_X}\)? (?i:best"
        r"|perfectly|exactly|most closely)\b|(?i:\bbest (?:described|explained|captured|represented|summari[sz]ed"
        rf"|answered) (?:as|by|with) ){_X}(?=\)?(?:[.,;! ]|$))|(?i:\b(?:all|everything|every|none|nothing"
        rf"|any)(?: {_WORD}){{0,3}}? (?:but|except|besides|apart from)(?: for)? (?:{NOUN} )?){_X}",
        "it that this which fit match suit describ best all every none nothing any",
    ),
    Phrase(
        "ticked",  # "B ✓"
        rf"[✓✔✅☑]\W{{0,6}}(?i:(?:{NOUN}:? )?){_X}|^\W{{0,6}}{_ITEM}.{{0,90}}?(?:[✓✔✅☑]"
        r"|[:–—,-] ?(?i:(?:this is )?(?:the )?(?:correct|right answer|best (?:match|option|choice|fit|answer)))\b)",
        "✓ ✔ ✅ ☑ correct right best",
    ),
    Phrase(
        "concluded",  # "Based on the analysis, the machine accepts option A."
        rf"^(?i:(?:{THUS}|based on|given|considering|from|among|of)\b.{{0,80}}?\b{NOUN}:? ){_X}(?! (?:can|cannot|could"
        r"|does|has|would|(?:is|was|seems|appears) (?:not|un|in|im|less|ruled|elim|excl|out|contra|also|too"
        r"|irr)\w*)\b)",
        weak=True,
    ),
    Phrase(
        "is letter",  # "Therefore, the sum is B."
        rf"^(?i:(?:{THUS}|considering|the {NOUN})\b.{{0,160}}?\b(?:is|are|be|with|to"
        rf"|by) (?:\w+ ){{0,2}}?){_X}(?:\)[. ]*$|[.] ?[^.]{{0,80}}\.?$|$)",
        weak=True,
    ),
    Phrase(
        "item",  # "B. the cup: this matches"
        rf"^{_ITEM}[).:] (?:(?:.{{0,90}}?[:–—,.(-] ?)?(?i:(?:this |these |the \w+ |option |clearly |directly |closely "
        rf"|accurately |correctly |which |is |the ){{0,3}}(?:match(?:es|ing)?|fit(?:s|ting)?|align(?:s|ed|ing)?"
        rf"|correct|correctly|accurately|consistent with|corresponds to|right answer|best {_THING})\b)"
        rf"|.{{0,200}}?\b(?i:match(?:es)?|fits?|supports?|corresponds to|describes) (?i:this|the) (?i:{NOUN})\b)",
        "match fit align correct accurate consistent right best support describ correspond",
        weak=True,
    ),
]
DENIED = re.compile(
    r"(?i:\b(?:not|never|neither|nor|least|incorrect|wrong|unlikely|cannot|if|whether|unless|rather than|instead of"
    r"|than|suppose|supposing|assume|assuming|before|(?<!no )doubt|hardly|none|nothing|nobody|no(?! doubt| question)"
    r"|unlike|against|to see|to check)|n['’]t)\b[^.;:,]{0,30}$"
)
SUPPOSES = re.compile(
    r"(?i:\b(?:if|whether|unless|suppose|assum(?:e|ing)|not that|why|how|what))(?: the| my)?(?: \w+)? ?$"
)
WOULD_BE, CONDITION = re.compile(r"(?i:\bwould be|could be\b)"), re.compile(r"(?i:\b(?:if|were|had)\b)")
NAMES_OPTION, LAST_WORD = re.compile(f"(?i:{NOUN})"), re.compile(r"([\w'’]+) ?$")
ONE_BEFORE = re.compile(rf"(?<!\w)([A-J])\)?,? (?:and|or|&) (?i:{NOUN} )?$")
RULED_OUT = re.compile(r"(?i:\bleast|incorrect|wrong|distractor|eliminat(?:e|ing)|exclud|rul(?:e|ed|es|ing)\b)")
OPTION_BEFORE = re.compile(rf"(?i:{NOUN}):? $")
CONTRAST = re.compile(
    r"(?i:\b(?:but|however|although|though|while|whereas|yet|not|neither|no|only|less|could|might|may|if|lacks?"
    r"|without|different|another|other|wrong|opposite)\b|n['’]t)"
)

# --- corrections -----------------------------------------------------------------------------------------------------

_RETRACTS = (
    r"(?:(?:(?:up)?on|after) (?:\w+ ){0,2}(?:thought|reflection|look|inspection|consideration|examination|review"
    r"|analysis)s?|(?:upon|after) re\w+|correction|wait(?: a \w+)?|actually|sorry|apologies|oops|my (?:mistake|bad)"
    r"|(?:scratch|strike|make) that|i (?:mean|meant)|or rather|(?:edit|updated?|revised|corrected|no|nope|hmm+|instead"
    r"|better|rather)(?=[,.:;–—…-])|(?:let me|i(?:'ll| will| must| need to| have to| should| would)?) (?:correct"
    r"|revise|change|switch|reconsider|rethink)\b|(?:changing|revising|correcting|switching|changed|reconsidering"
    r"|re-?examining|re-?thinking|re-?checking|looking)\b|(?:new|updated|revised|amended|corrected) (?:answer|choice)"
    r"|it should (?:be|have been)|(?:that|this|which|it|[A-J])(?:'s| is| was) (?:incorrect|wrong|not (?:right|correct)"
    r"|a mistake|mistaken))"
)
_FILL = (
    r"(?:(?:no|wait|actually|sorry|oh|it|it's|that|that's|this|is|was|i|i'd|i'll|think|believe|see|the|my|our|answer"
    r"|choice|option|letter|correct|right|should|must|be|been|have|would|will|to|with|as|for|choose|pick|say|go|final"
    r"|best|let's|rather|more|again|closer|likely|probably|really|clearly|made|make|mind|mistake|instead|now|and|so"
    r"|its|a|from [A-J]\)?)[,.:;]? )"
)
# "Answer: B. Correction: D", "B, no wait, D", "I change my answer from B to D", "Answer: B -> D"
CORRECTED = re.compile(
    rf"(?i:\b{_RETRACTS}[\s,.:;–—…-]{{0,4}}{_FILL}{{0,7}}){_X}(?=\)?(?:[.,;:!]| ?$| (?:is|was|fits|seems|matches"
    r"|because|since|instead|rather|as|not|best|makes)\b))(?!\)? (?:is|was|seems) (?:not|wrong|in|un|less|out|im|also"
    r"|ruled|elim|excl))"
)
CORRECTING = (
    "thought flection look inspection consider examin review upon after correct wait actually sorry apolog oops"
    " mistake scratch strike make mean rather edit updat revis no, no. no: no; no– nope hmm instead better chang"
    " switch think recheck re-check should wrong not neither n't n’t →"
).split()
RETRACTING = re.compile(rf"(?i:(?:(?:but|oh|ah|and|however|so),? )?{_RETRACTS})")
NOT_BUT = re.compile(  # "not B but D"
    r"(?i:(?:\bnot|n['’]t|\bneither|\brather than"
    rf"|\binstead of) (?:the )?(?:{NOUN}:? )?)\(?[A-J]\)?(?: (?:n?or) [A-J]\)?)?[,;.–—-]{{0,2}} ?(?i:(?:but|it is|it's"
    rf"|rather|instead)(?: rather| instead)?,? (?:it is |it's |the )?(?:{NOUN}:? )?){_X}"
)
INITIAL = re.compile(
    r"(?i:\b(?:initial|first|previous|original|earlier|old|wrong|incorrect)(?:ly)? (?:\w+ )?(?:answer|guess|choice)\b)"
)
ARROW = re.compile(r"(?<!\w)[A-J]\)?\s?(?:→|[-=]{1,2}>)\s?\(?([A-J])(?!\w)")

BOXED = re.compile(
    rf"\\boxed\s?\{{\s?(?:\\\w+\{{)?\s?(?:(?i:(?:the )?{NOUN}):?\s)?(?:\\\w+\{{)?\s?\(?([A-J])\)?(?![\w^=+])"
)
BARE = re.compile(rf"(?i:(?:the )?(?:{NOUN}:? ?)?){_X}[).:! ]*$")
FIRST = re.compile(rf"{_ITEM}[).:]")
ARTICLE = re.compile(
    r" (?!(?:is|it is|as|because|since|based|for|due|which|with|and|or|in)\b)[a-z]| (?!(?:The|This|That|These|He|She"
    r"|They|It|We|His|Her|Their|Because|Since|As|Based|Given|In|From|For|Here|Looking|There|Both|When|After|Before"
    r"|During|Explanation|Detailed|Reason\w*|Rationale|Analysis|Justification|Step|Frame|Option|Correct"
    r"|Final)\b)[A-Z]\w"
)
# Letters that only plain text shows.
HIDDEN = re.compile(r"[a-j](?<=\W.)(?:[).]|\s*(?:$|\W))|[A-J](?:[A-J]{1,4}\b|_)|['‘][A-J]['’]")
BARE_MANY = re.compile(r"[).: ]*(?:$|\()")
ANNOUNCES = re.compile(
    rf"(?i:(?:{_MARK}{_LINK}{_SOFTENER}{{0,3}}(?:the )?(?:{NOUN}:? ?)?|\b(?:best|closest|nearest|correct|right|proper"
    rf"|most \w+)(?: {_WORD}){{0,3}}? (?:{_THING}|conclusion|expression|value)(?: {_WORD}){{0,12}}?(?: ?:| {_COPULA}\b"
    rf"| are\b)(?: (?:therefore|likely|clearly|thus|for|in|the|to|as)){{0,3}}(?: {NOUN})?[ :–—-]{{0,6}}|\b(?:choose"
    rf"|choosing|select|selecting|pick|identify|determine|decide on|find)(?: \w+){{0,3}} (?:option|answer"
    rf"|choice)[ .:–—-]{{0,4}}|^(?:final )?(?:answer|verdict)))$"
)
MARKING = (
    "ans verdict option choice match selection pick one fit diction guess bet description explanation interpretation"
    " candidate possibility alternative conclusion expression value"
).split()
OPEN_ENDS = ("answer", "option", "choice", "verdict", ":", "：", "–", "—", "-", " is", " be", " to", " are")
HEADING = re.compile(r"[\s#*_>-]{0,8}(?:final )?answer\W{0,6}:", re.IGNORECASE)
MARKER_ALONE = re.compile(
    rf"(?i:{_MARK}{_LINK}{_SOFTENER}{{0,3}}(?:(?:the )?{NOUN}:? )?|^{_RETRACTS}[,:…] ?(?:it is |it's )?"
    rf"|{ANSWERS}[^.!?。！？।\n]{{0,40}}?{LINKS} ?)"
)
