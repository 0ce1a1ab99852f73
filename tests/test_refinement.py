"""Phase 2: the paper's patterns, the variants models write, responses labelled by hand, and properties of any text."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import LETTERS, Response, labelled

from reasvqa.answers import named, namings
from reasvqa.companion import display
from reasvqa.generation import parse_answer
from reasvqa.refinement import RULES, WORD_RULE, Rule, leaks, refine, removals
from reasvqa.text import cleaned, plain

STEP = "The person is standing in front of a wooden cabinet with slatted doors."

# Appendix A.4, each pattern as a model would write it, and the Markdown variants of the design.
CONCLUDING = [
    "###Answer: C",
    "**Answer**: C",
    "**Answer**: C. The closet.",
    "###Conclusion: The person tidied up the closet.",
    "**Conclusion**: The person tidied up the closet.",
    "###Detailed Explanation of the frames:",
    "The correct answer can be seen in the last frame.",
    "The correct answer is C.",
    "Thus, the correct answer is C: The closet.",
    "Based on these observations, the person tidied up the closet.",
    "Given these observations and the context, it is the closet.",
    "**Answer:** (B)",
    "**The correct answer is B.**",
    "Therefore, the answer is the closet.",
    "So, the best option is C.",
    "Option B is the correct choice.",
    "Hence the most likely answer is (D).",
    "B",
]


@pytest.mark.parametrize("sentence", CONCLUDING)
@pytest.mark.parametrize("text", ["{step}\n{sentence}", "{sentence}\n{step}", "{step}\n\n{sentence}\n\n{step}"])
def test_conclusions_go_and_steps_stay(sentence, text):
    refined = refine(text.format(step=STEP, sentence=sentence))
    assert STEP in refined
    assert len(refined.replace(STEP, "").strip()) == 0


@pytest.mark.parametrize("sentence", [s for s in CONCLUDING if s[0] not in "#*B"])
def test_conclusions_go_within_a_paragraph(sentence):
    assert refine(f"{STEP} {sentence}") == STEP


def test_ground_truth_words_go_only_where_the_generator_was_wrong():
    text = "The person holds the blanket. Blankets lie around. The dish is not used."
    assert refine(text, "The blanket.", correct=True) == text
    assert (
        refine(text, "The blanket.", correct=False)
        == "The person holds the. Blankets lie around. The dish is not used."
    )


def test_words_not_substrings_and_stop_words_stay():
    text = "They put the cat in the category of the pets, and Cat's toys too."
    assert refine(text, "put the cat in", correct=False) == "They the in the category of the pets, and toys too."


def test_figure_2(shared):
    """The paper's example: the two quoted steps stay, the conclusion goes."""
    response = (
        "###Answer: C\n###Detailed Explanation: 1. The individual is standing in front of a wooden cabinet with "
        "slatted doors. 2. The person moves the blanket.\nThe other objects mentioned in the hints, such as the table "
        "and clothes, are not visible or being interacted with. "
        "Based on these observations, the closet/cabinet is tidied up."
    )
    refined = refine(response, "The blanket.", correct=False)
    for quote in re.findall(
        r"We take a refined example in Figure 2, \"(.*?)\".*?while \"(.*?)\"",
        (shared.parent / "paper.txt").read_text(),
        re.S,
    )[0]:
        assert quote.rstrip(".") in refined
    assert "blanket" not in refined and "Based on" not in refined and "C" not in refined


def test_strict_refinement_removes_what_restates_the_choice():
    text = (
        "The man lifts the lid. A closet stands in the room. Therefore, he tidied up the closet. "
        "He tidied up the closet. He leaves."
    )
    assert refine(text, "The dish.", False) == text
    strict = refine(text, "The dish.", False, chosen="Tidied up the closet.")
    assert strict == "The man lifts the lid. A closet stands in the room. He leaves."
    assert refine(text, chosen="The dish.") == text


def test_the_chosen_option_behind_a_letter_goes():
    assert refine("The answer is B. The sun shines brightly here.", "the sun shines brightly here") == ""


def test_leaks():
    options = ("The blanket.", "The shoe.", "The shoe and the dish.", "to")
    assert leaks("The answer is B. He takes the shoe.", options, 0, 1) == {
        "letter": True,
        "option text": True,
        "true option's words": False,
        "wrongly chosen option's words": True,
    }
    right = leaks("The person opened the box. A box.", ("open the box", "eat"), 0, 0)
    assert right == {
        "letter": False,
        "option text": True,
        "true option's words": True,
        "wrongly chosen option's words": None,
    }
    assert leaks("He takes the shoe. He takes the dish.", options, 0, 2)["option text"] is False  # in two sentences
    # what both options have in common tells nothing about the wrong one; an option of stop words has no words to leak
    assert leaks("The shoe.", options, 1, 2)["wrongly chosen option's words"] is False
    assert leaks("The shoe.", options, 3, None) == {
        "letter": False,
        "option text": None,
        "true option's words": None,
        "wrongly chosen option's words": None,
    }


def test_a_rule_is_a_row_of_the_table(monkeypatch):
    text = "The man lifts the cup. The broom is never used.\n###Answer: C"
    assert "never" in refine(text)
    row = Rule("never used", "a sentence that says what is never used", "#123456", r"\bnever used\b")
    monkeypatch.setitem(RULES, row.name, row)
    assert refine(text) == "The man lifts the cup."
    assert [removal.rule for removal in removals(text)] == ["never used", "answer heading"]
    assert "#123456" in display.refinement(text).data and "never used" in display.refinement(text).data
    monkeypatch.delitem(RULES, "answer heading")
    assert refine(text) == "The man lifts the cup.\n###Answer: C"


@pytest.mark.parametrize("arguments", [(None,), (b"x",), ({"response": "x"},), ("x", 3, False), ("x", ["a"])])
def test_what_is_no_text_is_an_error(arguments):
    with pytest.raises(TypeError, match="must be text, not"):
        refine(*arguments)
    with pytest.raises(TypeError, match="the chosen option must be text, not int"):
        refine("x", chosen=4)


def test_each_removal_has_a_rule_and_its_place():
    text = f"###Answer: C\n{STEP} Therefore, the correct answer is C.\nThe blanket lies there."
    found = removals(text, "The blanket.", correct=False)
    assert [(text[r.start : r.end], r.rule) for r in found] == [
        ("###Answer: C", "answer heading"),
        ("Therefore, the correct answer is C.", "correct answer"),
        ("blanket", "ground-truth word"),
    ]
    assert set(RULES) >= {r.rule for r in found[:2]}


# --- responses labelled by hand -----------------------------------------------------------------------------------


def outcome(responses: list[Response]) -> dict[str, list[str]]:
    """Units by what became of them: "removed" and "left" of those that have to go, "lost" and "kept" of the others. A
    unit is lost if one letter of it is, and left unless all of it has gone. Words of the true answer do not count."""
    found = {"removed": [], "left": [], "lost": [], "kept": []}
    for r in responses:
        gone = set()
        for removal in removals(r.text, r.options[r.answer], r.stated == LETTERS[r.answer]):
            if removal.rule != WORD_RULE:
                gone.update(range(removal.start, removal.end))
        for unit in r.units:
            letters = {i for i in range(unit.start, unit.end) if r.text[i].isalnum()}
            if unit.goes:
                kind = "removed" if letters <= gone else "left"
            else:
                kind = "lost" if letters & gone else "kept"
            found[kind].append(r.text[unit.start : unit.end])
    return found


@pytest.mark.parametrize("part", ["development", "kept_aside"])
def test_precision_and_recall_on_labelled_responses(part, record_property):
    found = outcome(labelled(part))
    removed = len(found["removed"])
    recall, precision = removed / (removed + len(found["left"])), removed / (removed + len(found["lost"]))
    record_property("recall", recall)
    record_property("precision", precision)
    assert removed >= 30 and len(found["kept"]) >= 90
    assert recall >= 0.95, found["left"]
    assert precision >= 0.95, found["lost"]


# --- real responses -----------------------------------------------------------------------------------------------


def names_choice(text: str, letter: str) -> bool:
    """A second, independent look: does a sentence praise the letter? (Words before it or behind it, none of doubt.)"""
    letter = rf"\W{{0,8}}(?<![\w'’]){letter}(?![\w'’])"
    praise = r"\b(?i:correct|best|closest|right|answer|most (?:likely|consistent|plausible|closely|accurate))\b"
    names = re.compile(
        rf"{praise}.{{0,60}}?(?i:\bis|\boption|\bchoice|\banswer|:){letter}"
        rf"|(?:^|(?i:option|choice)){letter}\W{{0,4}}(?i:is|fits|matches|seems)\b.{{0,25}}{praise}"
    )
    doubt = re.compile(r"(?i:\b(?:not|least|incorrect|wrong|if|whether|neither|none)\b|n't)")
    return any(names.search(said) and not doubt.search(said) for said in re.split(r"(?<=[.!?])\s|\n", text))


def test_real_responses_do_not_name_their_choice_after_refinement(shared):
    rows = [json.loads(line) for line in (shared / "responses" / "gpt4o_cot.jsonl").read_text().splitlines()]
    named = before = kept = 0
    for row in rows:
        index = parse_answer(row["response"], row["options"])
        answer = "ABCDEFGHIJKL".index(row["answer"])
        refined = refine(row["response"], row["options"][answer], index == answer)
        kept += len(refined) / len(row["response"])
        if index is not None:
            before += names_choice(row["response"], LETTERS[index])
            named += names_choice(refined, LETTERS[index])
    assert before > 0.8 * len(rows)  # the second look sees what there is to see
    assert named <= 0.01 * len(rows)
    assert kept > 0.85 * len(rows)


# --- properties ---------------------------------------------------------------------------------------------------

words = st.sampled_from(
    (
        "the person opens box blanket. Blanket's answer Answer: ###Answer: **Answer** C (B) is correct option"
        " Therefore, conclusion ### Conclusion: 1. 2) - A. Based on these observations frames show that and ! ? ,"
        " because B D. it best matches fits not <think> </think> <answer> </answer> <CONCLUSION> \\boxed{B} \\("
        " \\) \\[ \\] $B$ \\text{Answer: D} ``` ```python | --- $$ é 中文。 🙂 “C” ✅ ◁think▷ is: option, most closely"
        ' likely only final <|im_end|> Assistant: User: {"answer": "D", "reasoning": "S1."} Antwort: 答案：D <b> </b>'
        " ~~B~~ Wait, Actually, but D ```json"
    ).split()
    + ["\n", "\n\n", "\u2028", "\x85", "\x0b"]
)
texts = st.one_of(
    st.text(max_size=300),
    st.lists(words, max_size=60).map(" ".join),
    st.lists(words, max_size=40).map("\n".join),
    st.lists(st.sampled_from([*CONCLUDING, STEP, "1. ", "\n", "```", "\\[", "\\]"]), max_size=12).map("\n".join),
    st.lists(st.sampled_from([r.text for r in labelled("development")]), min_size=1, max_size=3).map("\n".join),
)
answers = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.sampled_from(["The blanket.", "open the box", "the", "C", "(a+b", "correct answer is"]),
)


@given(texts, answers, st.booleans())
def test_strict_refinement_only_removes_more(text, answer, correct):
    strict = refine(text, answer, correct, chosen="open the box")
    assert refine(strict, answer, correct, chosen="open the box") == strict
    assert len("".join(strict.split())) <= len("".join(refine(text, answer, correct).split()))


@given(texts, answers, st.booleans())
def test_idempotent_and_a_subsequence(text, answer, correct):
    once = refine(text, answer, correct)
    assert refine(once, answer, correct) == once
    letters = iter("".join(text.split()))
    assert all(letter in letters for letter in "".join(once.split()))


@given(texts)
def test_never_leaves_a_letter_as_the_answer(text):
    options = ("zebra 1", "zebra 2", "zebra 3", "zebra 4")  # texts that do not occur: only letters can name them
    assert parse_answer(refine(text), options) is None


@given(texts, st.sampled_from(["blanket", "the box", "open the box"]))
def test_no_word_of_the_ground_truth_stays(text, answer):
    refined = refine(text, answer, correct=False)
    assert not set(re.findall(r"(?<![\w\-])\w+(?![\w\-])", refined.casefold())) & (set(answer.split()) - {"the"})


GROWING = [
    ",;:", "the answer is ", "Answer:", "Answer:\n", "The answer is:\n\n", "### ", "*", "((A) ", "<answer>",
    "<think></think>", "<", "```\n", "\\[\n", "\\boxed{", "\\boxed{A", "A ", "A. ", "B\n", "the best ",
    "option A is ", "most likely ", "A or ", "choose A or B ", "if the answer is A ", ". ", ".", "? ", "\n", "  \n",
    "a", "1. ", "Conclusion:\n", "Conclusion: ", "the closet, ", "closet,;:", "“A” ", "$A$ ", "**A** ", "中", "🙂 ",
    "option B matches ", "Thus, B. ", "(Option A) ", "the best description of the the ", "- A. x - ", "◁think▷",
    '{"a": ', '{"answer": "', '"answer": "D", ', "{'", "<|x|>", "User: ", "Assistant: ", "~~", "~~B", "<b>",
    "[", "\nUser:", "\nAI:", "答案", "答案是B", "Antwort: ", "Antwort ist ", "Wait, ", "not B but ", "B -> ",
    "Answer: D ", "a Answer: B", "##",
    "\\text{", "so the answer ", "A, B and ", "or, ",
]  # fmt: skip


@pytest.mark.slow
def test_time_grows_with_length_and_not_with_its_square():
    """Four times the text takes four times as long, or at least not sixteen times. The claim is about time, so this one
    measures it: processor time only, and one of three tries is enough, as other work on the machine disturbs single
    ones; a square would fail all three."""

    def seconds(piece: str, length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        for function in (named, namings, cleaned, plain):
            function.cache_clear()
        start = time.process_time()
        parse_answer(text, ("The closet.", "the shoe"))
        refine(text, "The closet.", correct=False, chosen="the shoe")
        return time.process_time() - start

    def grows_slowly(piece: str) -> bool:
        return (long := seconds(piece, 40_000)) < 0.5 or long < 10 * seconds(piece, 10_000) + 0.5

    assert not [piece for piece in GROWING if not any(grows_slowly(piece) for _ in range(3))]


@settings(max_examples=3)
@given(st.lists(words, min_size=50, max_size=200).map(" ".join), st.sampled_from(["The blanket.", "open the box"]))
def test_long_texts_settle(text, answer):
    text = (text + "\n") * (100_000 // (len(text) + 1) + 1)
    once = refine(text, answer, correct=False)
    assert refine(once, answer, correct=False) == once
