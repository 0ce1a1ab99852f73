"""Views for notebooks and the two drawn figures: what they show is what was given, and nothing of it is markup."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reasvqa.companion import display, drawings
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.mini.generator import claims
from reasvqa.mini.world import Event, Story
from reasvqa.refinement import refine
from reasvqa.samples import Sample

SAMPLE = Sample("q1", "v.mp4", None, "Which object was taken ?", ("The cup.", "The towel."), 0, "Interaction")


PLOT = [("lift", "cup", "hall"), ("open", "towel", "garden"), ("kick", "box", "hall"), ("push", "bag", "kitchen")]
STORY = Story(
    "x", "girl", tuple(Event(verb, thing, room, 0, ((1, "lamp"),)) for verb, thing, room in PLOT), 0, 3, "lamp"
)


def test_a_broken_sentence_keeps_its_place():
    """By hand: the words of the truth went from the first two, and what stands behind is judged in its own frame."""
    text = (
        "First, the girl the cup near the lamp. Second, the girl opens the. Third, the girl kicks the box in the hall."
    )
    text += " Fourth, the girl pushes the bag."
    assert [claim.true for claim in claims(text, STORY)] == [None, None, True, True]
    assert [claim.event.object for claim in claims(text, STORY)] == ["cup", "towel", "box", "bag"]
    only_near = "First, the girl lifts the cup near the and the box. Second, the girl kicks the towel near the."
    assert [claim.true for claim in claims(only_near, STORY)] == [True, False]
    assert [claim.true for claim in claims(text + " Fourth, the girl pushes the bag.", STORY)][-1] is None  # a fifth


def test_what_a_student_writes_is_marked_sentence_by_sentence():
    said = ["First, the girl lifts the cup", "Second, the girl kicks the towel", "It <b>rains</b>"]
    said += ["After the cup the girl opens the towel"]
    page = display.marked_reasoning(". ".join(said) + ".", STORY).data
    shown = [line.replace("<b>", "&lt;b&gt;").replace("</b>", "&lt;/b&gt;") for line in said]
    assert re.findall("[✓✗–] [^\n<]*", page) == [f"{mark} {line}." for mark, line in zip("✓✗–✓", shown, strict=True)]
    assert "1 of 4 events" in page


def test_who_chose_what_is_told_by_marks_and_words():
    page = display.question(SAMPLE, {"STL_QA": 1, "<b>MTL": 0, "nobody": None}).data
    rows = re.findall("<tr.*?</tr>", page)
    assert "&#10003;" in rows[0] and "&lt;b&gt;MTL" in rows[0] and "nobody" not in page
    assert "&#10007;" in rows[1] and "STL_QA" in rows[1]
    assert "right answer" in display.question(SAMPLE, {"STL_QA": 1}).data


def test_only_the_rules_that_are_on_remove():
    text = "She lifts the box. Therefore, the answer is B."
    assert "<del" in display.refinement(text).data
    page = display.refinement(text, rules=["tag"]).data
    assert "<del" not in page and "nothing" in page


def test_the_conclusion_and_the_words_of_the_truth_are_removed_pieces():
    parts = drawings.pieces("She takes the cup. Therefore, the answer is B.", "The cup.", False)
    assert [text.strip() for text, kept in parts if not kept] == ["cup", "Therefore, the answer is B."]


RESPONSES = st.lists(
    st.sampled_from(["The girl takes the cup.", "Therefore, the answer is A.", "### Answer: B", "She smiles.", "\n"]),
    min_size=1,
    max_size=30,
).map(" ".join)


@given(RESPONSES, st.booleans())
def test_pieces_are_the_response_and_the_kept_ones_hold_what_remains(response, correct):
    parts = drawings.pieces(response, "The cup.", correct)
    assert "".join("".join(text for text, _ in parts).split()) == "".join(response.split())
    letters = iter("".join("".join(text for text, kept in parts if kept).split()))
    remaining = "".join(refine(response, "The cup.", correct).split())  # further passes may remove more, never less
    assert all(letter in letters for letter in remaining)


@given(RESPONSES, st.integers(100, 400))
def test_a_shortened_text_keeps_what_is_removed(response, letters):
    parts = drawings.pieces(response, "The cup.", False)
    short = drawings.shortened_pieces(parts, letters)
    assert [text for text, kept in short if not kept] == [text for text, kept in parts if not kept]
    assert sum(len(text) for text, _ in short) <= max(sum(len(text) for text, _ in parts), letters)


@pytest.mark.slow
def test_no_word_leaves_its_box_or_the_page():
    """The drawn figures: every text lies on the page, for a short and for a very long response."""
    pictures = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    for response in ("The girl takes the towel. ### Answer: B", "She takes the towel out. " * 200 + "### Answer: B"):
        samples, responses = Samples([SAMPLE], Path()), pd.DataFrame()
        example = drawings.WrongAnswer(TrainConfig(), samples, responses, SAMPLE, response, 1, pictures)
        drawn = drawings.pipeline(example, "mini"), drawings.example(example, "mini")
        for figure in drawn:
            width, height = figure.get_size_inches() * figure.dpi
            renderer = FigureCanvasAgg(figure).get_renderer()
            for text in figure.axes[0].texts:
                box = text.get_window_extent(renderer)
                assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text.get_text()
            assert "miniature" in figure.axes[0].texts[0].get_text()
            assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 7  # it is as wide as a page's text
