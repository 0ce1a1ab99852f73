"""Phase 1: the paper's prompt, reading answers off free text, and a run that survives being killed."""

import json
import shutil
from collections import Counter

import pytest

from reasvqa import paths
from reasvqa.generation import ReasoningError, build_prompt, generate, parse_answer, read_reasoning, swap_reasoning
from reasvqa.samples import Sample

OPTIONS = ("The blanket.", "The shoe.", "The closet/cabinet.", "The dish.")
SAMPLE = Sample(
    "Interaction_T1_0", "YSKX3.mp4", (0, 5), "Which object was tidied up by the person?", OPTIONS, 0, "Interaction"
)


def test_prompt_is_the_papers(shared):
    """Every word of A.3, in order, but for the place holders."""
    paper = " ".join((shared.parent / "paper.txt").read_text().split())
    begin = paper.index("These frames are uniformly sampled")
    template = paper[begin : paper.index('""', begin)].rstrip(".")
    expected = template.replace("###Question: question", f"###Question: {SAMPLE.question}").replace(
        "options", SAMPLE.lettered.rstrip(".")
    )
    assert build_prompt(SAMPLE).rstrip(".") == expected


def test_caption_prompts_do_not_know_the_question():
    assert "tidied" not in build_prompt(SAMPLE, "brief_caption") + build_prompt(SAMPLE, "detailed_caption")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("###Answer: C\n1. The person opens the cabinet.", 2),
        ("### Answer: B", 1),
        ("**Answer:** (B)", 1),
        ("**Answer**: B. The shoe.", 1),
        ("**The correct answer is B.**", 1),
        ("Therefore, the correct answer is (d).", 3),
        ("Thus, the correct answer is option A: The blanket.", 0),
        ("So the best option is C.", 2),
        ("Answer:\nD", 3),
        ("First I thought the answer is A. But then the person moves on. The final answer is D.", 3),
        ("Option A is wrong. The correct option is B", 1),
        ("The correct answer is a) The blanket.", 0),
        ("###Answer: A: The blanket", 0),
        ("The answer is (a) because it is held.", 0),
        (
            "###Answer: C\n\n###Detailed Explanation:\n1. **Frames**: The person opens it.\n\n**Conclusion**: It is the closet.",
            2,
        ),
        ("B", 1),
        ("(C)", 2),
        ("C. The closet/cabinet.", 2),
        ("The answer is the dish.", 3),
        ("The correct answer is: a blanket", 0),
        ("the blanket", 0),
        ("The person holds a dish and a shoe. It must be the shoe.", 1),
        ("Option D is the correct one.", 3),
        (r"\boxed{C}", 2),
        ("The person is standing in front of a cabinet.", None),
        ("It is hard to tell. It could be the blanket. or the shoe", 1),
        ("###Answer: F", None),
        ("The answer is A or B.", None),
        ("The correct answer is not among them.", None),
        ("", None),
        ("Let me think about the frames one by one.", None),
    ],
)
def test_answers_are_read(text, index):
    assert parse_answer(text, OPTIONS) == index


def test_articles_are_not_letters():
    assert parse_answer("The answer is a dish.", OPTIONS) == 3
    assert parse_answer("Answer: A dish is washed.", OPTIONS) == 3


class Counting:
    """A generator that notes what it was asked and can break off."""

    name = "counting"

    def __init__(self, stop_after=None):
        self.asked, self.stop_after = [], stop_after

    def __call__(self, samples, prompts):
        for sample in samples:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(sample.id)
            yield f"The person acts.\n###Answer: {'AB'[len(self.asked) % 2]}"


def samples(count):
    return [Sample(f"s{i}", "v.mp4", None, "q?", OPTIONS, i % 4, "Interaction") for i in range(count)]


def test_a_killed_run_continues(tmp_path):
    path, all_samples = tmp_path / "r.jsonl", samples(10)
    with pytest.raises(KeyboardInterrupt):
        generate(all_samples, Counting(stop_after=6), path, batch_size=2)
    with path.open("a") as file:  # a kill in mid-write leaves half a line
        file.write('{"id": "s6", "resp')
    second = Counting()
    table = generate(all_samples, second, path, batch_size=2)
    assert second.asked == ["s6", "s7", "s8", "s9"]
    assert table["id"].tolist() == [sample.id for sample in all_samples]
    assert generate(all_samples, Counting(stop_after=0), path).equals(table)


def test_the_file_is_the_contracts(tmp_path):
    generate(samples(2), Counting(), tmp_path / "r.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [set(row) for row in rows] == [{"id", "generator", "prompt", "response", "prediction", "correct"}] * 2
    assert (rows[0]["prediction"], rows[0]["correct"], rows[1]["prediction"], rows[1]["correct"]) == (
        1,
        False,
        0,
        False,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"line 2: not valid JSON"),
        ('{"id": "s1"}', r"line 2: field 'response'"),
        ('{"id": "s0", "response": "x"}', r"line 2: id 's0' occurs already in line 1"),
        ('{"id": "s1", "response": "x", "prediction": "B"}', r"line 2: field 'prediction'"),
        ('["s1"]', r"line 2: expected a JSON object"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "s0", "response": "x", "prediction": null, "correct": null}\n' + line + "\n")
    with pytest.raises(ReasoningError, match=message):
        read_reasoning(path)


def test_generators_do_not_mix(tmp_path):
    generate(samples(1), Counting(), tmp_path / "r.jsonl")
    other = Counting()
    other.name = "other"
    with pytest.raises(ReasoningError, match="written by counting, not other"):
        generate(samples(2), other, tmp_path / "r.jsonl")


def test_swapped_reasoning_is_about_other_videos(smoke_star, tmp_path):
    """Each question keeps its own type, correctness and answer, and gets somebody else's words; nothing is lost. The miniature's own file is made so."""
    samples = smoke_star[0]
    own = paths.reasoning(paths.dataset("smoke-star"), "sim-26b")
    shutil.copy(own, tmp_path / "x.jsonl")
    before, after = (
        read_reasoning(path).set_index("id") for path in (own, swap_reasoning(samples, tmp_path / "x.jsonl"))
    )
    assert set(after["generator"]) == {"x-swapped"} and sorted(before["response"]) == sorted(after["response"])
    types = {sample.id: sample.type for sample in samples}
    writer = {row.response: id for id, row in before.iterrows()}
    for id, row in after.iterrows():
        other = writer[row["response"]]
        assert (
            types[other] == types[id]
            and before.loc[other, "correct"] == row["correct"] == before.loc[id, "correct"]
            and row["prompt"] == before.loc[id, "prompt"]
        )
    alone = {
        key
        for key, count in Counter((types[id], bool(row["correct"])) for id, row in before.iterrows()).items()
        if count == 1
    }
    moved = [
        writer[row["response"]] != id for id, row in after.iterrows() if (types[id], bool(row["correct"])) not in alone
    ]
    assert all(moved) and len(moved) > 5
    shipped = (own.parent / "sim-26b-swapped.jsonl").read_text().replace("sim-26b-swapped", "x-swapped")
    assert (tmp_path / "x-swapped.jsonl").read_text() == shipped


def test_a_run_on_swapped_reasoning_makes_its_file(smoke_star, tmp_path):
    from reasvqa.learning import TrainConfig
    from reasvqa.learning.runs import run_key

    shutil.copytree(paths.dataset("smoke-star"), tmp_path / "s", ignore=shutil.ignore_patterns("videos"))
    (tmp_path / "s" / "reasoning" / "sim-26b-swapped.jsonl").unlink()
    config = TrainConfig(dataset="smoke-star", generator="sim-26b-swapped").resolve()
    assert run_key(config, tmp_path / "s") == run_key(config, paths.dataset("smoke-star"))
    lines = (tmp_path / "s" / "reasoning" / "sim-26b.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "s" / "reasoning" / "sim-26b.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(
        ReasoningError, match=r"sim-26b.jsonl: 1 of \d+ questions have no line.*Let the generation run to its end"
    ):
        swap_reasoning(smoke_star[0], tmp_path / "s" / "reasoning" / "sim-26b.jsonl")
    (tmp_path / "s" / "reasoning" / "sim-26b-swapped.jsonl").unlink()
    assert run_key(config, tmp_path / "s") != run_key(config, paths.dataset("smoke-star"))  # planned without the file
