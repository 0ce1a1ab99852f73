"""The phrases in which English names an option as the answer, as patterns on plain text.

`PHRASES` is the table of those that name one in passing. Each pattern looks a bounded number of words ahead, so reading
takes time in proportion to the length of a text.
"""

from functools import partial

from reasvqa import languages
from reasvqa.text import compiled, fragments

# Fragments of the patterns below, see `text.compiled`. J: an option's letter; L: the same, captured; X: an L that
# stands alone. mark, link: "the best option", "is" ... in front of a letter; retracts: "On second thought".
FRAGMENTS = {
    **languages.FRAGMENTS,
    "J": "(?-i:[A-J])",
    "L": "(?-i:([A-J]))",
    "X": r"(?-i:([A-J]))(?<![\w'’^.].)(?<!\w-.)(?![\w^=+]|['’]\w|-\w|\.[A-Za-z\d]|\)? ?[❌✗✘])",
    **fragments(r"""
noun ((answer )?(option|choice|letter)|answer|hint)s?
item ({noun}:? )?{X}
behind [).:]|(、| [–—-]{1,2}>? | ?(→|=>) ?)(?!{J}\b)
concluding final|correct|right|best|chosen|selected|remaining|predicted|(most )?(likely|plausible|suitable|appropriate
    |logical|reasonable|accurate|probable|fitting|consistent)|proper|closest|nearest
qualifier {concluding}|only|true|valid
thus so|thus|therefore|hence|consequently|accordingly|overall|finally|ultimately|in (conclusion|summary|short)
    |to (conclude|sum up)|as a result
copula is|are|was|(would|should|must|will|might|could) {adverb}?be|has {adverb}?to be|seems to be|appears to be
    |becomes|remains|being
word [^\s:.;]+
softener (therefore|thus|hence|(most )?(likely|probably)|clearly|definitely|indeed|simply|then|still|both|either|(given
    |represented|described) by|the|that of|for|in)[,:]?[ ]
thing answer|option|choice|match|fit|pick|one|candidate|description|explanation|interpretation|possibility|alternative
    |selection|prediction|guess|bet
mark \b(answers?|ans|conclusion|verdict|({qualifier}|my|our) (\w+ )?{thing})\b
link ( {word}){0,8}?( ?[:：=→]+>?| ?[–—]| -+>?|( {copula}|['’]s)\b)[ :=–—→'‘-]{0,6}
opening {mark}{link}{softener}{0,3}
adverb (also|therefore|thus|indeed|hence|overall|then|very|by far|perhaps|still|well|just|all|both|(?!un|part|poor|on
    |hard|bare|rare|near)\w+ly)[ ]
most most (\w+ly )?\w+|best|closest|closer|nearest|correct|right(?= {thing}\b|[.,;:)]|$)|accurate|answer|true|valid
    |winner|choice|pick|selection|final (answer|choice)|one(?= that| which|[.,;!]|$)|only (\w+ )?{thing}|(more
    |better) (likely|plausible|consistent|suitable|accurate|fitting|appropriate|supported|aligned|suited|reasonable
    |probable|logical|option|choice|match|fit)|(consistent|aligned|in (line|accordance|agreement|keeping))[ ]with|
    (\w+ly )?supported( by)?|confirmed|chosen|selected|favou?red|what (happens|happened|we|the|is|I)|(perfect|good
    |strong|clear|direct|exact|great|accurate|suitable|close|plausible|likely|reasonable|\w+est) {thing}|backed (up )?by
    |justified|better
is (is|was|are|seem(s|ed)?|appears?|remains|looks|becomes|stands out|stays|would be|must be|should be|has to be|to be
    |being|emerges|turns out)( to be| as| like)?
evidence (this|that|which|these|those|everything|all|evidence|(clue|cue|detail|frame|image|observation|action)s?|video
    |sequence|analysis|scene|context)( (of|in) (this|it|them|the \w+))?( \w+ly)?
partly neither|none|no|less|poorly|only|partially|partly|in part
best best|better|most \w+ly|most|closely|more closely|perfectly|correctly|accurately|directly|clearly|exactly|precisely
    |nicely|well
fits fits|matches|aligns|describes|represents|explains|captures|corresponds|reflects|answers|summari[sz]es|agrees
    |resembles|suits|characteri[sz]es|depicts|accounts for|makes (the )?most sense|makes sense|stands out|is left
apposition [).:,;–—-]{0,2}( (?!(?-i:not|is|was|are|does|do|did|can|could|would|might|may|cannot|seems|appears|has|had
    |will|if|[A-J])\b)[^\s.;:]+){0,10}?,?[ ]
says {adverb}{0,2}(works (best|well)\b|{is} {adverb}{0,2}((the|our|my|an?|that|in) )?{adverb}{0,1}{most}\b
    |makes (the )?(most|more|best) sense\b|{best} {fits}\b|{fits} (the )?{best}\b|{fits}( \w+){1,4}? (best|better
    |perfectly|most closely|very well)\b|(might|could|may)( well)? be (the|my) (best|most|correct|right|closest|only)\b
    |(provides|offers|gives|has|contains|presents|is) (the|an?) (best|most|closest|clearest|strongest|correct|perfect
    |accurate|better)\b)
retracts in (hindsight|retrospect)|to correct( (myself|this|that|it))?|((up)?on|after) (\w+ ){0,2}(thought|reflection
    |look|inspection|consideration|examination|review|analysis)s?|((upon|after) (re|double.?check)\w+|re-?(consider
    |examin|think|check|evaluat|assess|view)ing)( (the|all) (\w+ )?(frames|video|images|options)( again)?)?|(correction
    |wait|hold on)( a \w+)?|actually|(sorry|apologies|i apologi[sz]e)( for [\w ]{1,30})?|oops|my (mistake|bad)
    |i (made a mistake|was (wrong|mistaken))|(scratch|strike|make|take) (that|it)( back)?|never ?mind|i (mean|meant)
    |or rather|(edit|erratum|updated?|revised|corrected|amended|mistake|second thoughts|not quite|oh|no|nope|nah|hmm+
    |instead|better|rather)(?= ?[,.:;–—…-])|(let me|i('ll|'d like to| will| must| need to| want to| have to| should
    | would)?) (correct|revise|change|switch|reconsider|rethink|double.?check)\b|(changing|revising|correcting
    |switching|changed|thinking|looking)\b|however, (?=({noun} )?{J} is (the )?(correct|right)( {thing})?[.! ]*$)
    |(corrected|changed|revised|updated) to|(new|updated|revised|amended|corrected) (answer|choice)|(it|that
    |{J}\)?,?) should (be|have been)|(that|this|which|it|[A-J])('s| is| was) (incorrect|wrong|not (right|correct)
    |a mistake|mistaken)
fill (no|wait|actually|sorry|oh|it|it's|that|that's|this|is|was|i|i'd|i'll|think|believe|see|the|my|our|answer|choice
    |option|letter|correct|right|should|must|be|been|have|would|will|to|with|as|for|choose|pick|say|go|final|best|let's
    |rather|more|again|closer|likely|probably|really|clearly|made|make|mind|mistake|instead|now|and|so|its|a
    |from [A-J]\)?)[,.:;]?[ ]
"""),
}
_compiled = partial(compiled, fragments=FRAGMENTS)

LETTER, FIRST = _compiled("{X}"), _compiled("{item}{behind}")
ITEM = _compiled(r"{X}{behind} ?\w")
MARKED = _compiled(r"""{opening}((the )?{noun}:? )?({X}|(?-i:(?P<low>[a-j]))(?=\)|[.:,] |[.:]?$)|
    (?-i:(?P<many>[A-J]{2,5}))(?!\w))""")
LABELLED = _compiled(r"""(({thus}|final|my|the|correct|best|predicted|chosen|selected|step|\d+)[,.:]? ){0,4}({thing}|ans
    |decision|verdict|solution|result|response|summary|tl;?dr|final|correct|output)( is (clear|obvious|evident))?
    ( is| ?[:：=–—→-]{1,3}>?) ?(?-i:{softener}?){item}(\)
    |[.:]? ?$|[.:,] )""")
ALTERNATIVE = _compiled(r"""[).:]?( ?(,|/|&|(?-i:or\b|and\b))){1,3} ?({noun} )?{L}(?=\W*$|[).,;:/}]| ?(?-i:,|or|and|are
    |both|depending)\b)""")
OPENS = _compiled(r"""([^;]{1,90}; )?(({thus}|wait|no|actually|hmm|but|however|and|okay|ok|well|then|now|clearly
    |(step )?\d+|for these reasons|given (this|that)|based on (this|that|the above))[,.:;]? ){0,4}((the|my|our|this
    |that|your) )?(\w+ ){0,2}?$""")
ASIDE = _compiled(r"""\({noun}:?\s{L}\)[.!*_\s]{0,6}$|\b(therefore|thus|hence|most|best|closest|consistent with|match
    (es)?|corresponds to|indicates|suggests)\b.{0,120}\({L}\)[.!*_\s]{0,6}$""")
WEAK_ASIDE = _compiled(r"\w(\W{0,4} \(|, [*_]{1,3}){L}(\)|[*_])[.!*_\s]{0,6}$")


# How a sentence names an option in passing; the last group of a pattern is the letter. Tried in this order; the first
# that finds a letter decides. To add a phrase, add a row.
PHRASES = fragments(r"""
# "option B is the best", "B fits best"
praised ({noun}:? {L}\b{apposition}|{X}([).:]{apposition}|,? |,( [^\s.;:()]+){1,10}?[),] )){says}
# "makes B the best choice", "points to B as the answer"
made \b(mak(es?|ing)|leav(es?|ing)|consider(s|ing)?|with|only|points? (\w+ )?to\w*|suggests?|favou?rs?)[ ]
    ({noun}:? )?{X}\)?,? (as )?(the |our |my )(\w+ )?{most}\b
# "option B matches the frames", "only B fits"
held ({noun}:? {L}\b{apposition}|{X}\) ){adverb}{0,2}{fits}\b(?! {partly})|{X}\.{apposition}{adverb}{0,2}(fits|matches
    |aligns with|corresponds to)\b|({noun}:? {L}|{X}) {adverb}{0,2}(fits|matches|works|aligns
    |makes sense)\b(?! {partly})
# "I would go with B"
chosen \b(cho(ose|osing|se|sen)|mark|(select|pick|lean)(ed|ing)?( towards?)?|(go|going|stick|sticking|conclude|confident
    |answer|respond) (with|in|about)|go for|opt(ing)? for|vote for|settled? (on|for)|decide (on|for)|arrive at|(i'd|i'll
    |i would|i will|let's|let us) (say|answer|take)|answer is):? (the )?(\w+ )?({noun}:? )?{X}
# "this corresponds to option B"
leads \b((match|support|suggest|indicat|favou?r|confirm|resembl|leav|mak|fit|yield|equal)\w*
    |correspond\w* (\w+ ){0,2}?(to|with)|align\w* (\w+ )*?(with|to)|consistent with|equivalent to|lead\w* (us |me )?to
    |point\w* (\w+ )?(to|towards?|at)|impl(y|ies)|left with|down to|(described|represented|given|captured|reflected
    |shown|depicted|explained|answered|supported|expressed|stated|provided|covered|found|listed) (by|in|as|with)
    |close\w* to|agree\w* with|which is|that is|namely|i\.e\.|meaning|it is|it's|that's|(must|has to|would|should) be
    |is|are|be|hence|therefore|thus|so)[,:]?( (us|me|the|only|\w+ly|best|most|with|just|therefore|thus|indeed|well
    |given|choice|to)){0,3} (answer|option|choice)s?( choice| option)?:? {X}|\b(best (\w+ )?\w+s|match(es
    |ing)?( {word}){1,5}? (in|of|for|from|under|by)) {noun}:? {X}|\b(most (\w+ly )?(consistent|compatible|in line) with
    |consistent with|matches|corresponds to|resembles|aligns with|fits|{evidence} ((points?( me| us)?|leads? (me
    |us)) to(wards?)?|(support|suggest|indicate|confirm|show|depict)s?))[ ]({noun} |only |just )?{X}(?=[).:]|$)
# "the closest of these is B"
closest \b(best|closest|nearest|correct|right|proper|accurate|most \w+|only|(correspond
    |match)ing)( {word}){0,16}?( ?[:=]| {copula}\b| are\b)([: ]{1,2}(therefore|likely|clearly|given|represented|by
    |indeed|in|thus|for|from|with|found|that|of|shown|as|to|be|the)){0,3}[: ]{1,2}({noun}:? ?)?{X}(?=[).,;:]|$
    | (?-i:because|since|as|with|which|for)\b)
# "Thus, B."
short (\b({thus}|\w+ly|that('s| is)|i (think|believe|guess)|i'd say|yes|(that |this |which )?leav(es|ing)( (us
    |me))?( (only|with))?|must be|(we|i) get|given (this|that|these|\w+ \w+)|elimination)|^then
    |^ok(ay)?)[,:]? ?((i think|i believe|i'd say|it's|that's|(it |this |that )?(is|must be|has to be|should be)
    |the) )?({noun}:? )?{X}[).,:]?(?-i: it is| then| remains| is left)?[.! ]*$|^((so|okay|ok|yes|yeah
    |then),? )?{item}\)?( (it is|remains|it must be)[.! ]*$|[,–—:-]? ?([–—-] )?(because|since)\b)
# "it must be B"
it_is \b(it|that|this|which)( (has to|can only|could only|should|must|would|seems to|appears to) be| looks like| is
    |'s) ({noun} )?{X}(?=\)?([.,;!]|$| (?-i:because|since|as)\b))|\bmak(es|ing) it ({noun} )?{X}(?=\)?[.,;! ]*$)
    |\b(fits|matches|suits|describes) {X}\)? (best|perfectly|exactly|most closely)\b|\bbest (described|explained
    |captured|represented|summari[sz]ed|answered) (as|by|with) {X}(?=\)?([.,;! ]|$))|\b(all|everything|every|none
    |nothing|any)( {word}){0,3}? (but|except|besides|apart from)( for)? ({noun} )?{X}
# "B ✓"
ticked [✓✔✅☑]\W{0,6}({noun}:? )?{X}|^\W{0,6}{item}.{0,90}?([✓✔✅☑]|[:–—,-] ?(this is )?(the )?(correct|right answer
    |best (match|option|choice|fit|answer))\b)
# "Based on the analysis, the machine accepts option A."
concluded ^({thus}|based on|given|considering|from|among|of)\b.{0,80}?\b{noun}:? {X}(?! (?-i:can|cannot|could|does|has
    |would|(is|was|seems|appears) (not|un|in|im|less|ruled|elim|excl|out|contra|also|too|irr)\w*)\b)
# "Therefore, the sum is B."
is_letter ^({thus}|considering|the {noun})\b.{0,160}?\b(is|are|be|with|to|by) (\w+ ){0,2}?{X}(\)[. ]*$
    |[.] ?[^.]{0,80}\.?$|$)
# "B. the cup: this matches"
item ^{item}[).:] ((.{0,90}?[:–—,.(-] ?)?(this |these |the \w+ |option |clearly |directly |closely |accurately[ ]
    |correctly |which |is |the ){0,3}(match(es|ing)?|fit(s|ting)?|align(s|ed|ing)?|correct|correctly|accurately
    |consistent with|corresponds to|right answer|best {thing})\b|.{0,200}?\b(match(es)?|fits?|supports?|corresponds to
    |describes) (this|the) {noun}\b)
""")
# Parts of words, one of which a sentence with the phrase has; without a row here all sentences are tried.
SIGNS = fragments("""
praised ost|est|clos|near|correct|right|accurate|answer|true|valid|winner|choice|pick|select|final|one|ly|plausib
    |better|consistent|support|confirm|chosen|favo|line|accord|agree|keeping|what|candidate|backed|justified|sense|fit
    |match|align|describ|represent|explain|captur|correspond|reflect|summari|resembl|suit|character|depict|account
    |stand|left
made the|our|my
held fits|work|match|align|describ|represent|explain|captur|correspond|reflect|answers|summari|agree|resembl|suit
    |character|depict|account|make|stand|left
chosen choos|chos|mark|select|pick|go|opt|settl|lean|stick|vote|decide|conclude|confident|arrive|with|say|take|answer
leads option|answer|choice|as|consistent|compatible|line|match|correspond|resembl|align|fit|point|lead|support|suggest
    |indicat|confirm
closest best|clos|near|correct|right|proper|accurate|most|only|ing
short so|thus|hence|therefore|ly|that|think|believe|guess|i'd|all|yes|leav|must|then|ok|because|since|is|remains|get
    |elim
it_is it|that|this|which|fit|match|suit|describ|best|all|every|none|nothing|any
ticked ✓|✔|✅|☑|correct|right|best
""")
TABLE = [(name, SIGNS.get(name, "").split("|"), _compiled(text)) for name, text in PHRASES.items()]
WEAK = ("held", "concluded", "is_letter", "item")  # a contrast behind it ("but ...") takes it back
BEGINNING = ("praised", "held", "short", "ticked", "item")  # those of which the letter may be the first word
DENIED = _compiled(r"""(\b(not|never|neither|nor|least|incorrect|wrong|unlikely|cannot|if|whether|unless|rather than
    |instead of|than|suppose|supposing|assume|assuming|before|(?<!no )doubt|hardly|none|nothing|nobody|no(?! doubt
    | question)|unlike|against|to see|to check)|n['’]t)\b[^.;:,]{0,30}$""")
SUPPOSES = _compiled(r"\b(if|whether|unless|suppose|assum(e|ing)|not that|why|how|what)(?-i: the| my)?( \w+)? ?$")
WOULD_BE, CONDITION = _compiled(r"\bwould be|could be\b"), _compiled(r"\b(if|were|had)\b")
NAMES_OPTION, OPTION_BEFORE = _compiled("{noun}"), _compiled("{noun}:? $")
LAST_WORD = _compiled(r"(?P<word>[\w'’]+) ?$")
# Words that may stand before a letter without "option"; any other makes it a name ("vitamin C", "segment A").
FREE = frozenset(
    "why therefore thus so hence that and but because is as with think believe say answer option choice options"
    " choices letter only makes making leaving leaves then conclude concludes however overall clearly consequently"
    " accordingly finally here statement description scenario possibility these those them which or be to indicates"
    " suggests means for it conclusion yes ultimately indeed since while although final".split()
)
ONE_BEFORE = _compiled(r"(?<!\w){L}\)?,? (?-i:and|or|&) ({noun} )?$")
RULED_OUT = _compiled(r"\bleast|incorrect|wrong|distractor|eliminat(e|ing)|exclud|rul(e|ed|es|ing)\b")
CONTRAST = _compiled(r"""\b(but|however|although|though|while|whereas|yet|not|neither|no|only|less|could|might|may|if
    |lacks?|without|different|another|other|wrong|opposite)\b|n['’]t""")

# --- corrections: "Answer: B. Correction: D", "B, no wait, D", "I change my answer from B to D", "Answer: B -> D" -----

CORRECTED = _compiled(r"""\b{retracts}[\s,.:;–—…-]{0,4}{fill}{0,7}{X}(?=\)?([.,;:!]| ?$| (?-i:is|was|fits|seems|matches
    |because|since|instead|rather|as|not|best|makes)\b))(?!\)? (?-i:(is|was|seems) (not|wrong|in|un|less|out|im|also
    |ruled|elim|excl)))""")
CORRECTING = (
    "thought flection look inspection consider examin review upon after correct wait actually sorry apolog oops bad"
    " hindsight retrospect hold scratch strike make take mean rather edit errat updat amend revis no, no. no: no; no–"
    " nope nah oh, hmm instead better chang switch think check evaluat assess mind should wrong however,"
    " not neither n't n’t → original initial first"
).split()
RETRACTING = _compiled(
    r"((but|oh|ah|and|however|so),? )?{retracts}|.{1,60}(\b{J}\)? instead|, not ({noun} )?{J})\)?[.!]*$"
)
NOT_BUT = _compiled(r"""(\bnot|n['’]t|\bneither|\brather than|\binstead of|^originally|^initially|^at first
    ),? (the )?({noun}:? )?\(?{J}\)?(?-i: n?or [A-J]\)?)?[,;.–—-]{0,2} ?((but|it is|it's|rather|instead|now)( rather
    | instead| now)?,? (it is |it's |the )?({noun}:? )?|(?=\(?(?-i:[A-J])\W*$)){X}""")
INITIAL = _compiled(r"""\b(initial|first|previous|original|earlier|old|wrong|incorrect)(ly)? (\w+ )?(answer|guess
    |choice)\b|\b(initially|first) \w+ (that )?(the )?answer\b""")
ARROW = _compiled(r"(?<!\w){J}\)?(\s\(\w+\))?\s?(→|[-=]{1,2}>)\s?\(?{L}(?!\w)")
BOXED = _compiled(r"(?-i:\\?b?oxed)\s?\{\s?(\\\w+\{)?\s?((the )?{noun}:?\s)?(\\\w+\{)?\s?\(?{L}\)?(?![\w^=+])")
BARE = _compiled(r"(the )?({noun}:? ?)?{X}(\)?,? (instead|actually|after all))?[).:! ]*[,;]?$")
BARE_MANY = _compiled(r"[).: ]*($|\()")
ARTICLE = _compiled(r"""(?-i: (?!(is|it is|as|because|since|based|for|due|which|with|and|or|in)\b)[a-z]| (?!(The|This
    |That|These|He|She|They|It|We|His|Her|Their|Because|Since|As|Based|Given|In|From|For|Here|Looking|There|Both|When
    |After|Before|During|Explanation|Detailed|Reason\w*|Rationale|Analysis|Justification|Step|Frame|Option|Correct
    |Final)\b)([A-Z]\w|[A-Z]-|\d+(-| year)))""")
# Letters that only plain text shows.
HIDDEN = _compiled(r"""(?-i:[\WA-J]((?<=\W)([a-j]([).]|\s*($|[^\w\s])|\s+_)|(?<=['‘])[A-J]['’])|(?<=[A-J])([A-J]{1,4}\b
    |_)))""")
ANNOUNCES = _compiled(r"""({opening}(the )?({noun}:? ?)?|\b(best|closest|nearest|correct|right|proper|most \w+)
    ( {word}){0,3}?[ ]({thing}|conclusion|expression|value)( {word}){0,12}?( ?:| {copula}\b| are\b)( (therefore|likely
    |clearly|thus|for|in|the|to|as)){0,3}( {noun})?[ :–—-]{0,6}|\b(choose|choosing|select|selecting|pick|identify
    |determine|decide on|find)( \w+){0,3} (option|answer|choice)[ .:–—-]{0,4}|^(final )?(answer|verdict))$""")
MARKING = (
    "ans verdict option choice match selection pick one fit diction guess bet description explanation interpretation"
    " candidate possibility alternative conclusion expression value"
).split()
OPEN_ENDS = ("answer", "option", "choice", "verdict", ":", "：", "–", "—", "-", " is", " be", " to", " are")
HEADING = _compiled(r"[\s#*_>-]{0,8}(final )?answer\W{0,6}:")
MARKER_ALONE = _compiled("""{opening}((the )?{noun}:? )?|^{retracts}[,:…] ?(it is |it's )?|{answers}
    [^.!?。！？।\n]{0,40}?{links} ?""")
