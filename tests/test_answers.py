"""How responses name their answer: phrasings, real responses, and the rules that benchmarks publish."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import LETTERS, labelled

from reasvqa.answers import named, parse_answer
from reasvqa.generation import build_prompt
from reasvqa.refinement import refine
from reasvqa.samples import Sample
from reasvqa.text import compiled, plain, sentences

OPTIONS = ("The blanket.", "The shoe.", "The closet/cabinet.", "The dish.", "The phone.")

DATA = Path(__file__).parent / "data"
NAMES_C = (DATA / "names_option_c.txt").read_text(encoding="utf-8").splitlines()
NAMES_NOTHING = (DATA / "names_no_option.txt").read_text(encoding="utf-8").splitlines()
SITUATIONS = (DATA / "situations.txt").read_text(encoding="utf-8").splitlines()


def test_each_way_to_name_an_option_is_read_and_removed():
    before, after = "The person walks into the room.", "The room is dark."
    wrong = []
    for text in NAMES_C:
        read, refined = parse_answer(f"{before}\n{text}", OPTIONS), refine(f"{before}\n{text}\n{after}")
        if (
            read != 2
            or refined[: len(before)] != before
            or refined[-len(after) :] != after
            or re.search(r"\bC\b", refined)
        ):
            wrong.append((text, read, refined))
    assert not wrong


def test_what_names_no_answer_is_not_read_as_one_and_stays():
    text_around = "The person walks into the room.\n{}\nHe sits down."
    wrong = [t for t in NAMES_NOTHING if named(t).letters or t not in refine(text_around.format(t))]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("", None),
        (" \n", None),
        ("<think>So option A is correct.</think>\nThe person lifts the shoe. Option B fits best.", 1),
        ("Answer: (A) a blanket", 0),
        ("Answer: I think it is the shoe", 1),
        ("B. The shoe.\n\nThe person ties it.", 1),
        ("The answer is the closet/cabinet.", 2),
        ("Answer: **A) The blanket.**", 0),
        ("The person does it.\n\nTherefore, the correct answer is:\n\n**D. The dish.**", 3),
    ],
)
def test_what_a_response_settles_on(text, index):
    assert parse_answer(text, OPTIONS) == index


def test_responses_of_real_models_and_servers():
    """What people's models and servers send: the letter read, and the text that refinement leaves."""
    options = ("open door", "feed dog", "wave", "pick up the ball", "sit down")
    wrong = []
    for row in SITUATIONS:
        if row[0] != "#":
            stated, left, response = (field.replace("\\n", "\n") for field in row.split("\t"))
            found = letter(parse_answer(response, options)) or "-", refine(response)
            if found != (stated, left):
                wrong.append((row, *found))
    assert not wrong


@pytest.mark.parametrize("part", ["development", "kept_aside"])
def test_labelled_responses_are_read(part):
    responses = labelled(part)
    read = [parse_answer(r.text, r.options) for r in responses]
    stated = [LETTERS.index(r.stated) if r.stated in LETTERS else None for r in responses]
    assert sum(a == b for a, b in zip(read, stated, strict=True)) >= 0.97 * len(responses)


@pytest.mark.parametrize(
    ("text", "options"), [(None, OPTIONS), (3, OPTIONS), (["B"], OPTIONS), ("B", ("The cup", 4)), ("B", (None, "x"))]
)
def test_what_is_no_text_is_an_error(text, options):
    with pytest.raises(TypeError, match="must be text, not"):
        parse_answer(text, options)


# --- real responses -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared) -> list[tuple[str, list[str], str, str | None]]:
    """(response, options, letter of its final line, letter read) of the real responses with such a line."""
    lines = (shared / "responses" / "gpt4o_cot.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["final_line"]]
    return [
        (row["response"], row["options"], row["final_line"], letter(parse_answer(row["response"], row["options"])))
        for row in rows
    ]


def letter(index: int | None) -> str | None:
    return None if index is None else "ABCDEFGHIJKLMN"[index]


def test_final_lines_of_real_responses_are_read(real):
    right = sum(read == stated for _, _, stated, read in real)
    assert right >= 0.995 * len(real)


# The rules by which benchmarks read a letter, as their papers and documentation describe them; where they guess at
# random or ask another model, they read nothing here.


def mmmu(text: str, options: list[str]) -> str | None:
    """MMMU: "(A)", else "A" between blanks, else, beyond five words, an option's text; the last of them."""
    text = f" {text.strip(''.join(',.!?;:' + chr(39)))} "
    letters = "ABCDEFGHIJKLMN"[: len(options)]
    for form in ("({})", " {} "):
        if found := {choice: text.rfind(form.format(choice)) for choice in letters if form.format(choice) in text}:
            return max(found, key=found.get)
    if len(text.split()) > 5:
        found = {
            c: text.lower().rfind(o.lower()) for c, o in zip(letters, options, strict=True) if o.lower() in text.lower()
        }
        if found:
            return max(found, key=found.get)
    return None


def lmms_eval(text: str, options: list[str]) -> str | None:
    """lmms-eval: well-known openings are cut off, and the first capital among the choices' letters is taken."""
    for opening in ("The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is",
                    "The correct option is", "Best answer:", "Best option:", "Answer:"):  # fmt: skip
        text = text.replace(opening, "")
    found = re.search(f"[{'ABCDEFGHIJKLMN'[: len(options)]}]", text)
    return found.group() if found else None


def vlmevalkit(text: str, options: list[str]) -> str | None:
    """VLMEvalKit's exact matching: the one letter that stands alone once punctuation is blanked, else the one option
    whose text occurs; nothing when there are several."""
    letters = "ABCDEFGHIJKLMN"[: len(options)]
    tokens = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    found = [choice for choice in letters if choice in tokens]
    if len(found) == 1 and not (found == ["A"] and len(tokens) > 3):
        return found[0]
    named = [c for c, o in zip(letters, options, strict=True) if o.lower() in text.lower()]
    return named[0] if len(named) == 1 and len(text) <= 2 * sum(map(len, options)) else None


@pytest.mark.parametrize("rule", [mmmu, lmms_eval, vlmevalkit])
def test_reads_the_stated_letter_at_least_as_often_as_a_benchmarks_rule(rule, real):
    own = labelled("development") + labelled("kept_aside")
    ours = [(r.text, r.options, r.stated, letter(parse_answer(r.text, r.options))) for r in own if r.stated in LETTERS]
    for rows in (real, ours):
        right = sum(read == stated for _, _, stated, read in rows)
        theirs = sum(rule(text, options) == stated for text, options, stated, _ in rows)
        assert right >= theirs


# --- properties ---------------------------------------------------------------------------------------------------


@given(st.text(max_size=400))
def test_sentences_lie_in_order_within_lines(text):
    at = 0
    for piece in sentences(text):
        assert at <= piece.start < piece.end <= len(text)
        assert len(text[piece.start : piece.end].splitlines()) == 1
        at = piece.end


@given(st.text(max_size=300), st.lists(st.text(max_size=20), min_size=2, max_size=10))
def test_any_text_is_read(text, options):
    index = parse_answer(text, options)
    assert index is None or 0 <= index < len(options)


@given(st.text(max_size=200))
def test_plain_text_is_plain(text):
    assert not set(plain(text)) & set("*`$#_\\({[")


def test_patterns_are_written_out():
    pattern = compiled(
        r"""(a|b){word}{2}\(
        |[(x]{X}""",
        {"word": "(c|d)", "X": "([A-J])"},
    )
    assert pattern.pattern == r"(?:a|b)(?:(?:c|d)){2}\(|[(x]([A-J])"


# --- prompts ------------------------------------------------------------------------------------------------------

SAMPLE = Sample("1", "v.mp4", None, "Which object was tidied up by the person?", OPTIONS, 0, "Interaction")


def test_an_unknown_prompt_is_an_error():
    with pytest.raises(ValueError, match="kind='tags': choose one of reasoning, brief_caption"):
        build_prompt(SAMPLE, "tags")
