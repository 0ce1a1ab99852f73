"""Phase 1: the paper's prompt, the reasoning file, and a run that survives being killed."""

import json
import os
import random
import resource
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasvqa import paths
from reasvqa.generation import (
    GenerationError,
    ReasoningError,
    UnansweredError,
    build_prompt,
    generate,
    read_reasoning,
)
from reasvqa.generation.run import HOPELESS, without_secrets
from reasvqa.learning.targets import shuffled_words, swapped
from reasvqa.samples import Sample
from reasvqa.video import VideoError

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


class Counting:
    """A generator that notes what it was asked and can break off; `bad` replaces responses, or is raised."""

    name = "counting"

    def __init__(self, stop_after=None, bad=None):
        self.asked, self.stop_after, self.bad = [], stop_after, bad or {}

    def __call__(self, samples, prompts):
        for sample in samples:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(sample.id)
            response = self.bad.get(sample.id, f"The person acts.\n###Answer: {'AB'[int(sample.id[1:]) % 2]}")
            if isinstance(response, ArithmeticError):
                raise response  # a generator that does not expect it
            yield response


def samples(count):
    return [Sample(f"s{i}", "v.mp4", None, f"What is thing {i}?", OPTIONS, i % 4, "Interaction") for i in range(count)]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- a run goes on ----------------------------------------------------------------------------------------------------


def test_an_interrupted_run_continues(tmp_path):
    path, all_samples = tmp_path / "r.jsonl", samples(10)
    with pytest.raises(KeyboardInterrupt):
        generate(all_samples, Counting(stop_after=7), path, batch_size=2)
    assert [row["id"] for row in lines_of(path)] == ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]  # half a batch as well
    with path.open("a") as file:  # a kill in mid-write leaves half a line
        file.write('{"id": "s7", "resp')
    second = Counting()
    table = generate(all_samples, second, path, batch_size=2)
    assert (
        second.asked == ["s7", "s8", "s9"] and table["correct"].tolist() == [True, True, False, False] * 2 + [True] * 2
    )
    assert {tuple(row) for row in lines_of(path)} == {
        ("id", "generator", "prompt", "response", "prediction", "correct")
    }
    assert table["id"].tolist() == [sample.id for sample in all_samples]
    assert generate(all_samples, Counting(stop_after=0), path).equals(table)
    assert (tmp_path / "r.removed").read_text() == '{"id": "s7", "resp\n'


KILLED = """
import sys, time
from reasvqa.generation import generate
from reasvqa.samples import Sample

def slow(samples, prompts):
    for sample in samples:
        time.sleep(0.002)
        yield f"Thing {sample.id} falls. ###Answer: B. " * 40

slow.name = "slow"
samples = [Sample(f"s{i}", "v.mp4", None, f"What is {i}?", ("the cat", "the dog"), i % 2, "TN") for i in range(120)]
generate(samples, slow, sys.argv[1], batch_size=3)
"""


def killed_again_and_again(folder: Path, kills: int, seed: int) -> tuple[bytes, bytes]:
    """The files of a run that is killed at random sizes of its file until it ends, and of one that nobody disturbs."""
    rng, path, whole = random.Random(seed), folder / "killed.jsonl", folder / "whole.jsonl"
    command = [sys.executable, "-c", KILLED]
    run = partial(
        subprocess.Popen, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.DEVNULL
    )
    assert run([*command, whole]).wait() == 0
    for size in sorted(rng.randrange(whole.stat().st_size) for _ in range(kills)):
        process = run([*command, path])
        while process.poll() is None and not (path.exists() and path.stat().st_size >= size):
            time.sleep(0.001)
        process.kill()
        process.wait()
        if rng.random() < 0.5 and path.exists():  # what a power cut leaves: the last write only in part
            os.truncate(path, max(0, path.stat().st_size - rng.randrange(2000)))
    assert run([*command, path]).wait() == 0
    return path.read_bytes(), whole.read_bytes()


@pytest.mark.slow
def test_kills_change_nothing(tmp_path):
    killed, whole = killed_again_and_again(tmp_path, kills=2, seed=0)
    assert killed == whole and whole.count(b"\n") == 120


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.removesuffix("\n"),  # a whole last line without its break
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\ufeff" + text,
    ],
)
def test_whole_lines_are_kept_however_they_end(tmp_path, change):
    path = tmp_path / "r.jsonl"
    before = generate(samples(4), Counting(), path)
    path.write_bytes(change(path.read_text()).encode())
    assert read_reasoning(path, samples(4)).equals(before)
    second = Counting()
    after = generate(samples(6), second, path)
    assert second.asked == ["s4", "s5"] and after.head(4).equals(before) and not (tmp_path / "r.removed").exists()
    assert read_reasoning(path, samples(6)).equals(after)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '[{"id": "s0", "response": "x"}, {"id": "s1", "response": "y"}]',
            r"line 1: .*got a list of 2 values.*one object per",
        ),
        ('{"id": "s0", "response": "x", "generator": "other"}\n{"id": "s1', r"line 1: written by other, not counting"),
        ('{"id": "s0"\n', r"line 1: not valid JSON"),
        ('{"id": "s0", "generator": "counting", "response": "x"}\n' * 2 + '{"id', r"line 2: id 's0' is already"),
    ],
)
def test_a_file_of_another_kind_is_refused_untouched(tmp_path, content, message):
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    with pytest.raises(ReasoningError, match=message):
        generate(samples(3), Counting(stop_after=0), path)
    assert path.read_text() == content and not (tmp_path / "r.removed").exists()


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_whole_response_is_ever_lost(tmp_path, data):
    """The file is damaged anyhow: whatever whole line it still holds is there after a new run, or on the side."""
    path = tmp_path / "r.jsonl"
    for old in tmp_path.glob("r.*"):
        old.unlink()
    generate(samples(4), Counting(), path)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    head, tail = content[:at], content[at:]
    damaged = data.draw(st.sampled_from([head, head + b"\0" * 9, head + b"\xff" + tail, tail, content + head]))
    path.write_bytes(damaged)
    try:
        generate(samples(5), Counting(), path)
    except ReasoningError as error:
        assert "line" in str(error) and path.read_bytes() == damaged
        return
    after = path.read_bytes() + b"".join(p.read_bytes() for p in tmp_path.glob("r.removed"))
    assert all(line in after for line in damaged.split(b"\n")) and len(read_reasoning(path, samples(5))) == 5


# --- questions without an answer --------------------------------------------------------------------------------------


REFUSAL, MISSING = GenerationError("the server refuses (400)"), VideoError("v.mp4: no such file")


@pytest.mark.parametrize("bad", [REFUSAL, MISSING, "", " \n", None, 17, ArithmeticError("crash")], ids=repr)
def test_one_bad_question_costs_that_question_only(tmp_path, bad):
    path, generator = tmp_path / "r.jsonl", Counting(bad={"s2": bad})
    with pytest.raises(UnansweredError, match=r"1 questions got no answer, e.g. 's2' .*again to retry"):
        generate(samples(7), generator, path, batch_size=4)
    assert generator.asked[-1] == "s2"  # tried again, last
    assert [row["id"] for row in lines_of(path)] == ["s0", "s1", "s3", "s4", "s5", "s6"]
    listed = lines_of(tmp_path / "r.failed.jsonl")
    assert [row["id"] for row in listed] == ["s2"] and listed[0]["error"]
    with pytest.warns(UserWarning, match=r"1 of 7 questions got no answer.*r.failed.jsonl says why"):
        table = read_reasoning(path, samples(7))  # a student can learn from the others meanwhile
    assert table["id"].tolist() == [f"s{i}" for i in range(7)]
    assert table.loc[2, "response"] == "" and table.loc[2, ["prediction", "correct"]].isna().all()
    again = Counting()
    assert len(generate(samples(9), again, path)) == 9 and again.asked == ["s7", "s8", "s2"]
    assert not (tmp_path / "r.failed.jsonl").exists()


def test_a_generator_that_fails_always_is_not_asked_34132_times(tmp_path):
    generator = Counting(bad={f"s{i}": GenerationError("down") for i in range(3, 300)})
    with pytest.raises(UnansweredError, match=rf"last {HOPELESS} in a row failed, so 280 were not asked any more"):
        generate(samples(300), generator, tmp_path / "r.jsonl", batch_size=4)
    assert len(generator.asked) == 20 and len(lines_of(tmp_path / "r.jsonl")) == 3
    # The next call begins with those that were not asked: a run of bad questions does not stand in the way for ever.
    second = Counting(bad={f"s{i}": GenerationError("down") for i in range(3, 20)})
    with pytest.raises(UnansweredError):
        generate(samples(300), second, tmp_path / "r.jsonl", batch_size=4)
    assert second.asked[0] == "s20" and len(lines_of(tmp_path / "r.jsonl")) == 283


def test_missing_videos_are_no_broken_generator(tmp_path):
    bad = {f"s{i}": VideoError(f"{i}.mp4: no such file") for i in range(50)}
    with pytest.raises(UnansweredError, match="50 questions got no answer"):
        generate(samples(60), Counting(bad=bad), tmp_path / "r.jsonl", batch_size=4)
    assert len(lines_of(tmp_path / "r.jsonl")) == 10


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["B"], "1 responses to 3"),
        (["B"] * 5, "more than 3 responses to 3"),
        (iter("BD"), "2 responses to 3"),
        ("BBB", "expected a list of responses, got str"),
        ({"0": "B", "1": "B", "2": "B"}, "expected a list of responses, got dict"),
    ],
)
def test_responses_that_cannot_be_matched_to_questions_are_not_kept(tmp_path, answers, message):
    class Other(Counting):
        def __call__(self, samples, prompts):
            return answers

    with pytest.raises(GenerationError, match=message):
        generate(samples(3), Other(), tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == ""


def test_a_generator_without_a_name_is_not_asked(tmp_path):
    with pytest.raises(GenerationError, match="needs the attribute name"):
        generate(samples(3), lambda samples, prompts: ["B"] * 3, tmp_path / "r.jsonl")
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        generate(samples(3), Counting(), tmp_path / "r.jsonl", batch_size=0)
    assert not (tmp_path / "r.jsonl").exists()


def test_half_a_character_is_replaced_and_stops_nothing(tmp_path):
    half = json.loads('"a \\ud83d b"')
    odd = [replace(samples(2)[0], question=half), samples(2)[1]]
    table = generate(odd, Counting(bad={"s1": half}), tmp_path / "r.jsonl")
    assert table.loc[1, "response"] == "a \ufffd b" and generate(odd, Counting(0), tmp_path / "r.jsonl").equals(table)


def test_ids_that_occur_twice_are_refused(tmp_path):
    with pytest.raises(ReasoningError, match="two samples have the id 's0'"):
        generate(samples(2) + samples(1), Counting(stop_after=0), tmp_path / "r.jsonl")


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    path, limits = tmp_path / "r.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    generate(samples(2), Counting(), path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1000, limits[1]))
    try:
        with pytest.raises(ReasoningError, match=r"r.jsonl: cannot be written \(File too large\). Make room"):
            generate(samples(20), Counting(), path, batch_size=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = len(read_reasoning(path))
    second = Counting()
    assert kept >= 2 and len(generate(samples(20), second, path)) == 20 and len(second.asked) == 20 - kept


def test_what_cannot_be_written_is_said_before_anything_is_asked(tmp_path):
    (tmp_path / "file").write_text("")
    generator = Counting()
    with pytest.raises(ReasoningError, match="cannot be written"):
        generate(samples(2), generator, tmp_path / "file" / "r.jsonl")
    assert generator.asked == []


def test_a_finished_file_is_only_read(tmp_path):
    path = tmp_path / "r.jsonl"
    table = generate(samples(3), Counting(), path)
    for other in tmp_path.glob("r.jsonl.*"):
        other.unlink()
    assert generate(samples(3), Counting(0), path).equals(table) and [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: Bearer sk-abcdef123456. See ...",
        "Incorrect API key provided: sk-proj-abcdef123456",
        "http://user:abcdef123456@host:80/v1: no answer",
        "http://host/v1?api_key=abcdef123456&x=1",
        "header 'Authorization: Basic abcdef123456=='",
        "HTTP 401 my-key-abcdef123456!",
    ],
)
def test_secrets_are_cut_out_of_messages(monkeypatch, text):
    monkeypatch.setenv("OPENAI_API_KEY", "my-key-abcdef123456")
    for shown in (without_secrets(text), str(GenerationError(text)), repr(UnansweredError(text))):
        assert "abcdef" not in shown and "[secret]" in shown


# --- responses belong to questions ------------------------------------------------------------------------------------


def test_changed_questions_are_asked_anew(tmp_path):
    path = tmp_path / "r.jsonl"
    generate(samples(6), Counting(), path)
    old = lines_of(path)
    now = samples(6)
    now[1] = replace(now[1], question="Why?")
    now[2] = replace(now[2], options=OPTIONS[::-1])
    now[3] = replace(now[3], options=OPTIONS[:3], answer=0)
    now[4] = replace(now[4], options=(*OPTIONS, "The bag."))
    for number, sample in enumerate(now[1:5], 2):
        with pytest.raises(ReasoningError, match=rf"line {number}: its prompt does not ask what '{sample.id}' asks"):
            read_reasoning(path, [sample])
    second = Counting()
    with pytest.warns(UserWarning, match=r"4 questions or their options have changed.*the old lines move to r.removed"):
        table = generate(now, second, path)
    assert second.asked == ["s1", "s2", "s3", "s4"] and table["id"].tolist() == [s.id for s in now]
    assert lines_of(tmp_path / "r.removed") == old[1:5] and read_reasoning(path, now).equals(table)


def test_rows_that_moved_do_not_keep_their_neighbours_responses(tmp_path):
    """A row added on top, with ids by row: no line fits any more."""
    path = tmp_path / "r.jsonl"
    generate(samples(5), Counting(), path)
    first = replace(samples(1)[0], question="A new one?")
    moved = [first, *(replace(s, id=f"s{i + 1}") for i, s in enumerate(samples(5)))]
    for attempt in (lambda: read_reasoning(path, moved[:5]), lambda: generate(moved, Counting(0), path)):
        before = path.read_bytes()
        with pytest.raises(ReasoningError, match=r"asks? (what|now)"):
            attempt()
        assert path.read_bytes() == before


def test_correct_follows_the_label(tmp_path):
    path = tmp_path / "r.jsonl"
    assert generate(samples(4), Counting(), path)["correct"].tolist() == [True, True, False, False]
    corrected = [replace(s, answer=a) for s, a in zip(samples(4), (1, 1, 0, None), strict=True)]
    assert read_reasoning(path, corrected)["correct"].tolist() == [False, True, True, pd.NA]
    assert generate(corrected, Counting(0), path)["correct"].tolist() == [False, True, True, pd.NA]
    assert read_reasoning(path)["correct"].tolist() == [True, True, False, False]  # as the file has it


def test_a_file_with_ids_and_responses_is_enough(tmp_path):
    path = tmp_path / "theirs.jsonl"
    path.write_text('{"response": "So the answer is (c).", "id": "s1"}\n{"id": "s0", "response": "Hm."}\n')
    table = read_reasoning(path, samples(2))
    assert table["id"].tolist() == ["s0", "s1"] and table["prediction"].tolist() == [pd.NA, 2]
    assert table["correct"].tolist() == [False, False] and table["generator"].isna().all()
    with pytest.raises(ReasoningError, match=r"theirs.jsonl: 1 of 3 questions have no line, e.g. 's2'"):
        read_reasoning(path, samples(3))
    path.write_text('{"id": "s0", "response": "x", "prediction": 4}\n')
    with pytest.raises(ReasoningError, match=r"line 1: prediction 4, but 's0' has 4 options, counted from 0"):
        read_reasoning(path, samples(1))


@pytest.mark.parametrize(
    ("prompt", "fits"),
    [
        ("", True),
        ("p", True),  # says nothing
        (None, True),
        (SAMPLE.question, True),
        ("Look: " + SAMPLE.question.replace("tidied", "put"), False),
        (f"Q: {SAMPLE.question} (A) The blanket (B) The shoe (C) The closet/cabinet (D) The dish", True),
        (f"Q: {SAMPLE.question} (A) The shoe (B) The blanket (C) The closet/cabinet (D) The dish", False),
        (f"Q: {SAMPLE.question[:-9]} dog? (A) The blanket (B) The shoe (C) The closet/cabinet (D) The dish", False),
        (f"Q: {SAMPLE.question} (A) The blanket (B) The shoe (C) The closet/cabinet (D) The dish (E) The bag", False),
        (f"Q: {SAMPLE.question} (A) The blanket (B) The shoe (C) The closet/cabinet", False),
        ("Watch.\n" + build_prompt(SAMPLE).partition("reliable. ")[2], True),  # another version of ours
        (build_prompt(replace(SAMPLE, question=SAMPLE.question + " Why?")), False),
        (build_prompt(replace(SAMPLE, options=OPTIONS[:3])), False),
    ],
)
def test_prompts_by_others_are_understood(tmp_path, prompt, fits):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"id": SAMPLE.id, "prompt": prompt, "response": "###Answer: A"}) + "\n")
    if fits:
        assert read_reasoning(path, [SAMPLE])["correct"].tolist() == [True]
    else:
        with pytest.raises(ReasoningError, match="line 1: its prompt does not ask"):
            read_reasoning(path, [SAMPLE])


def test_captions_and_reasoning_do_not_mix(tmp_path):
    path = tmp_path / "r.jsonl"
    captions = generate(samples(2), Counting(), path, "brief_caption")
    assert captions["prediction"].isna().all() and captions["correct"].isna().all()
    assert read_reasoning(path, samples(2), "brief_caption").equals(captions)
    for kind in ("reasoning", "detailed_caption"):
        message = f"line 1: its prompt asks for brief_caption, not {kind}"
        with pytest.raises(ReasoningError, match=message):
            generate(samples(3), Counting(0), path, kind)
        with pytest.raises(ReasoningError, match=message):
            read_reasoning(path, samples(2), kind)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"line 2: not valid JSON"),
        ('{"id": "s1"}', r"line 2: field 'response'"),
        ('{"id": 1, "response": "x"}', r"line 2: field 'id' is missing or not text"),
        ('{"id": "s0", "response": "x"}', r"line 2: id 's0' is already in line 1"),
        ('{"id": "s1", "response": "x", "prediction": "B"}', r"line 2: field 'prediction'"),
        ('{"id": "s1", "response": "x", "prediction": true}', r"line 2: field 'prediction'"),
        (f'{{"id": "s1", "response": "x", "prediction": {10**30}}}', r"line 2: field 'prediction'.*from 0 to 9"),
        ('{"id": "s1", "response": "x", "prediction": ' + "9" * 5000 + "}", r"line 2: not valid JSON \(Exceeds"),
        ('{"id": "s1", "response": "x", "correct": 1}', r"line 2: field 'correct'"),
        ('{"id": "s1", "response": "x", "generator": ["a"]}', r"line 2: field 'generator' is not text"),
        ('{"id": "s1", "response": "x", "prompt": {}}', r"line 2: field 'prompt' is not text"),
        ('["s1"]', r"line 2: expected a JSON object, got a list of 1 values"),
        ("[" * 100_000, r"line 2: not valid JSON \(nested too deeply"),
        ('{"id": "s1", "response": "\udcff"}', r"line 2: not valid JSON \(bytes that are not UTF-8"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    first = '{"id": "s0", "response": "x", "prediction": null, "correct": null}\n'
    path.write_bytes((first + line + "\n").encode(errors="surrogateescape"))
    with pytest.raises(ReasoningError, match=f"r.jsonl, {message}"):
        read_reasoning(path)


def test_a_damaged_list_of_failures_is_named(tmp_path):
    generate(samples(1), Counting(), tmp_path / "r.jsonl")
    (tmp_path / "r.failed.jsonl").write_text("[1]\n")
    with pytest.raises(ReasoningError, match=r"r.failed.jsonl: damaged .*Remove it"):
        read_reasoning(tmp_path / "r.jsonl", samples(2))


def test_reading_keeps_little_more_than_the_responses(tmp_path):
    """Prompts are twice as long as the responses here; memory stays below that of the texts and 200 bytes a line."""
    path, count = tmp_path / "r.jsonl", 5_000
    with path.open("w") as file:
        for i in range(count):
            row = {"id": f"s{i}", "generator": "g", "prompt": "p" * 1000, "response": f"{i}" + "r" * 500}
            file.write(json.dumps(row | {"prediction": 1}) + "\n")
    tracemalloc.start()
    table = read_reasoning(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == count and peak < count * (500 + 2 * 50 + 200) and table["generator"].dtype == "category"


# --- controls ---------------------------------------------------------------------------------------------------------


def test_swapped_reasoning_is_about_other_videos(smoke_star):
    """Each question keeps its own type, correctness and answer, and gets somebody else's words; nothing is lost."""
    own = smoke_star[0]
    before = read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"), own)
    after = swapped(before.sample(frac=1, random_state=0), own)
    assert after.drop(columns="response").equals(before.drop(columns="response"))
    assert sorted(after["response"]) == sorted(before["response"]) and after.equals(swapped(before, own))
    writer = dict(zip(before["response"], zip(own, before["correct"], strict=True), strict=True))
    moved = 0
    for sample, row in zip(own, after.itertuples(), strict=True):
        other, correct = writer[row.response]
        assert other.type == sample.type and correct == row.correct
        moved += other.id != sample.id
    kinds = Counter((s.type, bool(c)) for s, c in zip(own, before["correct"], strict=True))
    assert moved == sum(count for count in kinds.values() if count > 1) > 5


@given(
    videos=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    answered=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_swapping_avoids_the_own_video_wherever_that_can_be(videos, answered):
    own = [Sample(f"s{i}", f"{v}.mp4", None, "q?", OPTIONS, 0, "TN") for i, v in enumerate(videos)]
    texts = [f"text {i}" if yes else "" for i, yes in zip(range(len(own)), answered, strict=False)]
    table = pd.DataFrame({"id": [s.id for s in own], "response": texts, "correct": pd.array([True] * len(own))})
    after = swapped(table, own)["response"]
    assert sorted(after) == sorted(texts) and all((a == "") == (b == "") for a, b in zip(after, texts, strict=True))
    used = [video for video, text in zip(videos, texts, strict=True) if text]
    if used and max(Counter(used).values()) * 2 <= len(used):
        assert all(videos[int(text.split()[1])] != video for text, video in zip(after, videos, strict=True) if text)


def test_controls_on_words():
    text = "The person opens the cabinet, and then the cat's bowl is put into it."
    mixed = shuffled_words(text, "s1")
    assert sorted(mixed.split()) == sorted(text.split()) and mixed != text
    assert shuffled_words(text, "s1") == mixed != shuffled_words(text, "s2")
