"""How responses name their answer: phrasings, real responses, and the rules that benchmarks publish."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelled import LETTERS, labelled
from reasvqa.answers import named, parse_answer, plain, sentences
from reasvqa.generation import build_prompt
from reasvqa.samples import Sample

OPTIONS = ("The blanket.", "The shoe.", "The closet/cabinet.", "The dish.", "The phone.")

# Ways to name C, one a line: headings, tags, LaTeX, Markdown, and sentences in which the option is what fits.
NAMES_C = r"""
Option C is the most plausible explanation.
Thus, option C it is.
The best fit is therefore (C).
Among the options provided, the one that best matches is C.
Of the given choices, option C best captures what is happening.
Hence, my answer is C.
I would go with C.
I'd go for option C.
My choice is C.
This corresponds to option C.
This aligns with option C.
So the answer must be C.
So, it's C.
It must be option C.
Therefore, C.
Therefore, the answer is **C**.
**Answer: C**
Answer - C
ANSWER: C
Ans: C
Final Answer: C
**Final Answer:** C
Final answer → C
Correct option: C
Correct answer: (C)
The right option is C.
The option that fits is C.
The most fitting option is C.
Option (C) is supported by the frames.
The evidence supports option C.
All of this supports option C.
That leaves C.
This leaves us with option C.
Only option C remains.
Only C is consistent with what we see.
C is the only option consistent with the video.
C seems to be the best answer.
C appears to be correct.
C would be the best choice.
Option C looks right.
Option C makes the most sense.
Thus, answer C is correct.
Thus (C) is correct.
Choice C is the right one.
The video shows him eating, so C is correct.
The video shows him eating, which corresponds to option C.
The video shows him eating, making C the correct answer.
The video shows him eating, which makes option C the most likely.
The man is eating (option C).
He is eating an apple (C), so that is the answer.
Given these observations, option C is the best.
Based on the visual evidence, I conclude that the answer is C.
After examining the frames, I choose C.
I select option C because he smiles.
I am confident that option C is correct.
I believe the correct answer is C.
I think it is C.
I think C is right.
We can conclude that option C is the right answer.
We can therefore conclude that C is the answer.
It can be concluded that the answer is option C.
It is clear that option C is the answer.
The answer to the question is C.
The answer to "why did he run?" is C.
The answer here is C, because he runs.
The answer is option (C).
The answer is: C
The answer is "C".
The answer would be C.
The answer is most likely C.
The answer is likely to be C.
The correct choice among the given options is C.
The correct letter is C.
The only remaining option is C.
The most accurate answer is option C.
The most logical conclusion is option C.
The most reasonable choice would be C.
The best description of the scene is C.
The best answer to this question is thus C.
The best way to describe the action is option C.
The action is best described as option C.
The action in the video matches option C.
The action most closely matches option C.
The scene is most consistent with (C).
The scene most closely resembles option C.
\boxed{C}
$\boxed{C}$
The final answer is $\boxed{\text{C}}$.
\[\boxed{\text{Answer: C}}\]
<answer>C</answer>
<answer> (C) The closet </answer>
<answer>The answer is C.</answer>
Conclusion: C
**Conclusion:** Option C.
### Conclusion: (C)
In conclusion, option C is correct.
In summary, the best answer is C.
To sum up, C is the answer.
Verdict: C
My final answer is C.
Option C stands out as the most accurate.
Option C accurately describes the action.
Option C perfectly matches what is shown.
Option C is in line with the observed frames.
Option C is consistent with the visual evidence.
Option C best explains why he runs.
So option C seems right.
So, the correct one is C.
Therefore, I pick C.
Therefore option C.
Therefore, the correct answer should be C.
✅ C
- C: eating an apple ✅
C. eating – correct.
C is therefore the answer.
By elimination, C is the answer.
By process of elimination, we are left with option C.
This points to C as the answer.
This suggests that C is the correct answer.
This indicates option C.
These cues indicate that the answer is C.
Everything points towards option C.
Hence the option to choose is C.
The letter of the correct option is C.
The option which best answers the question is C.
Which option fits? Option C.
Looking at the options, C is the one that matches.
From the options, C fits best.
With that in mind, option C is the strongest candidate.
With that, the answer becomes C.
Answer: Option C
Answer: c
answer: (c)
The correct answer is c.
(C)
**C**
C.
Option C
"C"
`C`
The answer is C: The closet.
<|begin_of_box|>C<|end_of_box|>
Let me choose: C
Selected option: C
Selected answer: C
Prediction: C
Choice: C
Final choice: C.
Final decision: C
I'm going with option C.
I'll go with C.
I will choose option C.
Let's go with C.
So I'll say C.
So I'd say the answer is C.
Judging from the frames, option C is the most suitable.
Considering all the options, the best one is C.
Option C provides the best description of the action.
Option C offers the most accurate explanation.
Option C is what the video shows.
Option C reflects this best.
Option C describes exactly this.
This is exactly option C.
That is option C.
That's C.
Which is option C.
So the final answer: C
Option C ("The closet") is the best answer.
Option C, "The closet," is the most likely.
Option C: The closet is the most likely answer.
C) The closet is the best answer.
C. The closet is the correct answer.
The answer is (C) The closet.
"The closet" (C) is the best fit.
The closet (Option C) is the correct choice.
the correct response is C
The correct answer is indeed C.
The correct answer, then, is C.
The correct answer, based on the frames, is C.
Correct! C is the answer.
Therefore, the most suitable answer among the options is: C
Answer is C.
Answer C.
The answer: C.
Answer:C
Answer：C
###Answer:C
###Answer: [C]
###Answer: {C}
### **Answer: C**
#### Answer: **C**
> Answer: C
* Answer: C
1. Answer: C
Answer: C) The closet
Answer: **C) The closet**
Answer: C - The closet
Answer: C, The closet
""".strip().splitlines()

NAMES_NOTHING = """
Option C can be ruled out because no bag is visible.
Option C is not visible in any frame.
Option C is not supported by the frames.
Option C is less likely, because the man is alone.
Option C is unlikely.
Option C would require a second person.
Options A and B involve a table, which is absent.
Option A mentions a dog, but there is no dog.
Option A is the least likely.
Option A is incorrect because he sits.
A: The man is not running.
- A. running: the man stands still.
- Option B: He does not jump in any frame.
A man is standing in the kitchen.
A boy best known to the camera runs.
A is not the case since nobody runs.
He chooses a red apple from the basket.
The person picks a book from the shelf.
The man selects the best apple.
I can see a man in the first frame.
I think the man is tired.
The best view of the door is in frame 3.
The most visible object is the red cup.
The girl gives the correct answer to the teacher and smiles.
She answers the phone.
The answer machine blinks on the desk.
The man has no other option than to wait.
The sign reads "Exit B".
Vitamin C is on the label.
Team A is the best team in the video.
Player C is closest to the ball.
The child in group B matches the colours.
The woman matches the socks.
The key fits the lock.
He is right of the door.
The boy is right behind the girl.
In conclusion of the show, they bow.
Based on the frames, the man is wearing a red shirt.
From the window, light falls on the table.
With the evidence bag in his hand, the officer leaves.
Given the low light, his face is hard to see.
If option A were true, he would hold a cup.
If the answer were B, we would see a ball.
Let us check whether option B is correct.
Is option B correct?
Could it be option D?
To find the correct answer, let us look at the frames.
To answer the question, we need to look at his hands.
Now let's evaluate each option.
Let's examine options A, B, C and D.
The options mention a dog, a cat, a bird and a fish.
He explains his choice to the woman.
The other objects mentioned in the hints, such as the table and clothes, are not visible or being interacted with.
Therefore, the man cannot be running.
Thus, he must have opened the door before the second frame.
So the cup was moved from the table to the shelf.
This suggests that the boy is playful.
He writes the letter A on the board.
The teacher points to the letter B.
She got a B on her test.
The train leaves from platform C.
Grade A milk stands on the counter.
The man seems happy because the children laugh.
The frame at the end shows the final position of the hands.
The final frame shows that the door is closed.
The correct way to hold the tool is shown in frame 2.
The closest person to the camera is a girl.
A closer look shows that the cup is empty.
The plan is on the wall: first A, then B.
The explanation of the coach makes the team laugh.
The man concludes his speech and steps back.
Finally, the boy runs to the door.
Overall, the room is bright and tidy.
In summary, the frames show a man who first sits and then walks.
Between frames A and B the light changes.
In frame C the boy is closest to the door.
At point B, the ball touches the ground.
The car turns right.
The correct order of the events is: he sits, he stands, he walks.
It is most likely evening, since the lamps are on.
""".strip().splitlines()


@pytest.mark.parametrize("text", NAMES_C)
def test_each_way_to_name_an_option_is_read(text):
    assert parse_answer("The person walks into the room.\n" + text, OPTIONS) == 2


@pytest.mark.parametrize("text", NAMES_NOTHING)
def test_what_names_no_answer_is_not_read_as_one(text):
    assert not named(text).letters


@pytest.mark.parametrize(
    "text",
    [
        "Answer: A, E",
        "Answer: A or B",
        "Answer: AC",
        "**Answer:** A and C",
        "The answer is either A or B.",
        "Both C and D are correct.",
        "The answer could be A or C.",
        "Options A and B are both correct.",
        "Answer: A\nAnswer: B",
        r"\boxed{A, B}",
        "Answer: There was an error. Please check the options.",
        "Answer: none of them",
        "The answer is G.",
        "<answer></answer>",
        "<think>The person enters.</think>",
        "",
        " \n",
        "### Answer",
    ],
)
def test_two_or_none_is_none(text):
    assert parse_answer(text, OPTIONS) is None


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("<think>The answer is A. Wait, no: the answer is B.</think><answer>D</answer>", 3),
        ("<think>So option A is correct.</think>\nThe person lifts the shoe. Option B fits best.", 1),
        ("###Answer: B\n\nOption A is a possible answer, but nobody folds anything. Option B is most consistent with it.", 1),
        ("Answer: B (not A)", 1),
        ("Answer: A. (D)", 0),
        ("I first thought that the answer is A. Therefore, option B is correct.", 1),
        ("If it were folded, the answer would be A. The answer is B.", 1),
        ("The correct answer is (a) because it is held.", 0),
        ("Answer: (A) a blanket", 0),
        ("Answer: I think it is the shoe", 1),
        ("B. The shoe.\n\nThe person ties it.", 1),
        ("The answer is the closet/cabinet.", 2),
        ("Answer: **A) The blanket.**", 0),
        ("\\[\n\\text{Answer: D}\n\\]", 3),
        ("Answer: $E", 4),
        ("The person does it.\n\nTherefore, the correct answer is:\n\n**D. The dish.**", 3),
    ],
)
def test_what_a_response_settles_on(text, index):
    assert parse_answer(text, OPTIONS) == index


@pytest.mark.parametrize("part", ["development", "kept_aside"])
def test_labelled_responses_are_read(part):
    responses = labelled(part)
    read = [parse_answer(r.text, r.options) for r in responses]
    stated = [LETTERS.index(r.stated) if r.stated in LETTERS else None for r in responses]
    assert sum(a == b for a, b in zip(read, stated, strict=True)) >= 0.97 * len(responses)


@pytest.mark.parametrize(("text", "options"), [(None, OPTIONS), (3, OPTIONS), (["B"], OPTIONS), ("B", ("The cup", 4)), ("B", (None, "x"))])
def test_what_is_no_text_is_an_error(text, options):
    with pytest.raises(TypeError, match="must be text, not"):
        parse_answer(text, options)


# --- real responses ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared) -> list[dict]:
    lines = (shared / "responses" / "gpt4o_cot.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def letter(index: int | None) -> str | None:
    return None if index is None else "ABCDEFGHIJKLMN"[index]


def test_final_lines_of_real_responses_are_read(real):
    stated = [row for row in real if row["final_line"]]
    right = sum(letter(parse_answer(row["response"], row["options"])) == row["final_line"] for row in stated)
    assert right >= 0.995 * len(stated)


# The rules by which benchmarks read a letter, as their papers and documentation describe them; where they guess at random
# or ask another model, they read nothing here.


def mmmu(text: str, options: list[str]) -> str | None:
    """MMMU: "(A)", else "A" between blanks, else, in a response of more than five words, an option's text; the last of them."""
    text = f" {text.strip(''.join(',.!?;:' + chr(39)))} "
    letters = "ABCDEFGHIJKLMN"[: len(options)]
    for form in ("({})", " {} "):
        if found := {choice: text.rfind(form.format(choice)) for choice in letters if form.format(choice) in text}:
            return max(found, key=found.get)
    if len(text.split()) > 5:
        found = {c: text.lower().rfind(o.lower()) for c, o in zip(letters, options, strict=True) if o.lower() in text.lower()}
        if found:
            return max(found, key=found.get)
    return None


def lmms_eval(text: str, options: list[str]) -> str | None:
    """lmms-eval's letter extraction: well-known openings are cut off, and the first capital among the choices' letters is taken."""
    for opening in ("The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is",
                    "The correct option is", "Best answer:", "Best option:", "Answer:"):  # fmt: skip
        text = text.replace(opening, "")
    found = re.search(f"[{'ABCDEFGHIJKLMN'[: len(options)]}]", text)
    return found.group() if found else None


def vlmevalkit(text: str, options: list[str]) -> str | None:
    """VLMEvalKit's exact matching: the one choice's letter that stands alone once punctuation is blanked, else the one option
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
    rows = [(row["response"], row["options"], row["final_line"]) for row in real if row["final_line"]]
    rows += [(r.text, r.options, r.stated) for part in ("development", "kept_aside") for r in labelled(part) if r.stated in LETTERS]
    ours = sum(letter(parse_answer(text, options)) == stated for text, options, stated in rows)
    theirs = sum(rule(text, options) == stated for text, options, stated in rows)
    assert ours >= theirs


# --- properties -------------------------------------------------------------------------------------------------------


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


# --- prompts ----------------------------------------------------------------------------------------------------------

SAMPLE = Sample("1", "v.mp4", None, "Which object was tidied up by the person?", OPTIONS, 0, "Interaction")


def test_the_tagged_prompt_asks_for_what_is_read():
    prompt = build_prompt(SAMPLE, "tagged")
    assert SAMPLE.question in prompt and SAMPLE.lettered.rstrip(".") in prompt
    example = re.search(r"<answer>[A-J]</answer>", prompt).group()
    assert parse_answer(f"<think>The answer may be D.</think>{example}", OPTIONS) == 0


def test_an_unknown_prompt_is_an_error():
    with pytest.raises(ValueError, match="kind='tags' names no prompt; there are reasoning, tagged, brief_caption"):
        build_prompt(SAMPLE, "tags")
