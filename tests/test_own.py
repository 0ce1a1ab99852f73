"""A user's own folder of videos and questions: what is read, what is refused, and that all three phases take it."""

import re

import pytest

from reasvqa.config import PRESETS
from reasvqa.datasets import DataError, load
from reasvqa.datasets.own import written_reasoning
from reasvqa.generation import ReasoningError, Written, generate
from reasvqa.learning import TrainConfig, train
from reasvqa.mini.own import make_example
from reasvqa.samples import Sample

HEADER = "video,start,end,question,a0,a1,a2,answer,split,reasoning"
GOOD = "v.mp4,,,Who?,the cat,the dog,,b,train,The dog barks. The answer is B."


def write(folder, *rows, header=HEADER):
    (folder / "questions.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")


def test_a_row_becomes_a_sample(tmp_path):
    write(tmp_path, GOOD, "sub/w.mkv,1.5,4,Where?,here,there,nowhere,,test,", ",,,,,,,,,")
    ids = [load("own", split, tmp_path)[0].id for split in ("train", "test")]
    assert re.fullmatch("v_[0-9a-f]{12}", ids[0]) and re.fullmatch("w_[0-9a-f]{12}", ids[1])
    assert list(load("own", "train", tmp_path)) == [
        Sample(ids[0], "v.mp4", None, "Who?", ("the cat", "the dog"), 1, "All", "All")
    ]
    assert list(load("own", "test", tmp_path)) == [
        Sample(ids[1], "sub/w.mkv", (1.5, 4.0), "Where?", ("here", "there", "nowhere"), None, "All", "All")
    ]
    assert written_reasoning(tmp_path) == {ids[0]: "The dog barks. The answer is B."}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v.mp4,,,Who?,x,y,,C,train,", r"row 2, column answer: 'C' is not a letter from A to B"),
        ("v.mp4,,,Who?,x,y,,0,train,", r"row 2, column answer: '0' is not a letter"),
        ("v.mp4,,,Who?,x,,z,A,train,", r"row 2, column a1: a question needs 2 to 10 options"),
        ("v.mp4,,,Who?,x,,,A,train,", r"row 2, column a1: a question needs"),
        ("v.mp4,,,Who?,x,X,,A,train,", r"row 2: two options are the same"),
        ("v.mp4,,,Who?,x,y,,A,dev,", r"row 2, column split: 'dev' is not one of train, val, test"),
        ("v.mp4,,,,x,y,,A,train,", r"row 2, column question: empty"),
        ("v.mp4,5,2,Who?,x,y,,A,train,", r"row 2, columns start and end"),
        ("v.mp4,5,,Who?,x,y,,A,train,", r"row 2, columns start and end"),
        ("v.mp4,a,2,Who?,x,y,,A,train,", r"row 2, column start: 'a' is not a time in seconds"),
        ("v.mp4,nan,2,Who?,x,y,,A,train,", r"row 2, column start: 'nan' is not a time"),
        ("../v.mp4,,,Who?,x,y,,A,train,", r"row 2, column video.*outside the video folder"),
        ("v.mp4,Who?,x,y", r"row 2: 4 values for 10 columns"),
        ("v.mp4,1e999,2,Who?,x,y,,A,train,", r"row 2, column start: '1e999' is not a time"),
        (f"v.mp4,{10**400},2,Who?,x,y,,A,train,", r"row 2, column start: '1000.* is not a time"),
        ("v.mp4,-1,2,Who?,x,y,,A,train,", r"row 2, column start: '-1' is not a time"),
        ("v.mp4,,,Who?,x,y,,AB,train,", r"row 2, column answer: 'AB' is not a letter"),
        (f"{'v' * 300}.mp4,,,Who?,x,y,,A,train,", r"row 2, column video: .* is too long for a file's name"),
        ('v.mp4,,,"Who?,x,y,,A,train,', r"row 2 .*quotation mark is not closed"),
        ("v.mp4,,,Who?,the cat,the dog,,A,test,", r"row 2: id 'v_[0-9a-f]{12}' occurs already in row 1"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, message):
    write(tmp_path, GOOD, row)
    with pytest.raises(DataError, match=message):
        load("own", "train", tmp_path)


def test_a_wrong_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"questions.csv: no such file"):
        load("own", "train", tmp_path)
    write(tmp_path, GOOD, header=HEADER.replace("split", "part"))
    with pytest.raises(DataError, match="column 'split' is missing"):
        load("own", "train", tmp_path)
    write(tmp_path, GOOD, header=HEADER.replace("start", "begin"))
    with pytest.raises(DataError, match="column 'begin' is not known"):
        load("own", "train", tmp_path)
    write(tmp_path, GOOD)
    with pytest.raises(DataError, match="no row says 'val'"):
        load("own", "val", tmp_path)
    write(
        tmp_path, "a,v.mp4,Who?,x,y,A,train", "a,v.mp4,Who?,x,y,A,train", header="id,video,question,a0,a1,answer,split"
    )
    with pytest.raises(DataError, match=r"id 'a' occurs already in row 1"):
        load("own", "train", tmp_path)


def test_a_table_by_a_spreadsheet(tmp_path):
    """Latin-1 text, a header alone, a column twice, and quotes that swallow rows are told."""
    for content, cause in (
        (f"{HEADER}\n{GOOD.replace('Who', 'Où')}\n".encode("latin-1"), "questions.csv: not UTF-8 text"),
        (f"{HEADER}\n,,,,,,,,,\n".encode(), "questions.csv: the file holds a header but no rows"),
        (f"{HEADER},split\n{GOOD},test\n".encode(), "questions.csv: column 'split' is there twice"),
        ("\n".join([HEADER, GOOD, GOOD.replace("Who", '"Where'), GOOD, ""]).encode(), "row 2 .*not closed"),
    ):
        (tmp_path / "questions.csv").write_bytes(content)
        with pytest.raises(DataError, match=cause):
            load("own", "train", tmp_path)


def test_values_may_have_lines_and_quotes(tmp_path):
    reasoning = 'He says ""go"", then, at once, and\nslowly, runs, walks, sits, and, in the end, sleeps.'
    write(tmp_path, GOOD.replace("The dog barks. The answer is B.", f'"{reasoning}"'), GOOD.replace("Who", "Where"))
    assert len(load("own", "train", tmp_path)) == 2
    assert reasoning.replace('""', '"') in written_reasoning(tmp_path).values()


def test_ids_stay_with_their_questions(tmp_path):
    """A row on top, another order, a label corrected, a row moved to another split: no id changes. New words do."""
    rows = [f"v.mp4,,,Who {i}?,the cat,the dog,,b,train," for i in range(4)]
    write(tmp_path, *rows)
    ids = {sample.question: sample.id for sample in load("own", "train", tmp_path)}
    assert len(set(ids.values())) == 4
    write(
        tmp_path,
        "v.mp4,,,Who else?,the cat,the dog,,b,train,",
        rows[3].replace(",b,", ",a,"),
        rows[2],
        rows[1].replace("train", "test"),
        rows[0].replace("the dog", "a dog"),
    )
    later = {s.question: s.id for split in ("train", "test") for s in load("own", split, tmp_path)}
    assert [later[question] == id for question, id in ids.items()] == [False, True, True, True]
    write(tmp_path, "v.mp4,1,2,Who 0?,the cat,the dog,,b,train,", "sub/v.mp4,,,Who 0?,the cat,the dog,,b,train,", *rows)
    assert len({sample.id for sample in load("own", "train", tmp_path)}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("answer_format", ["text", "letter"])
def test_all_phases_with_2_to_10_options(tmp_path, answer_format):
    """Clips of the miniature, drawn; every fourth reasoning concludes wrongly."""
    root = make_example(tmp_path / "own", None)
    samples, test = load("own", "train", root), load("own", "test", root)
    assert {len(s.options) for s in [*samples, *test]} == set(range(2, 11))
    table = generate(samples, Written("written", written_reasoning(root)), root / "reasoning" / "written.jsonl")
    assert table["correct"].tolist() == [True, True, True, False, True, True, True, False, True]
    recipe = PRESETS["smoke"] | {"answer_format": answer_format, "generator": "written", "split": "test"}
    run = train(TrainConfig(dataset="own", **recipe), root=root, runs=tmp_path / "runs")
    assert (
        run.predictions["prediction"].notna().all()
        and (run.predictions["prediction"] < [len(s.options) for s in test]).all()
    )
    assert len(run.predictions) == len(test) == 3 and run.metrics["with_reasoning"] == 9


def test_a_question_without_reasoning_is_told(tmp_path):
    write(tmp_path, GOOD, "v.mp4,,,Who?,x,y,,A,train,")
    with pytest.raises(ReasoningError, match=r"1 of 2 questions have no reasoning, e.g. 'v_[0-9a-f]{12}'"):
        generate(load("own", "train", tmp_path), Written("me", written_reasoning(tmp_path)), tmp_path / "r.jsonl")
