"""A user's own folder of videos and questions: what is read, what is refused, and that all three phases take it."""

import csv
import io
import os
import re
import shutil

import pytest

from reasvqa.config import PRESETS
from reasvqa.datasets import DataError, load
from reasvqa.datasets.own import written_reasoning
from reasvqa.evaluation import accuracy
from reasvqa.generation import ReasoningError, Written, generate
from reasvqa.learning import TrainConfig, train
from reasvqa.learning.runs import _read_predictions
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
        ("v.mp4,,,Who?,x,,z,A,train,", r"row 2, column a1: a question needs 2 to 10 options"),
        ("v.mp4,,,Who?,x,X,,A,train,", r"row 2: two options are the same"),
        ("v.mp4,,,Who?,x,y,,A,dev,", r"row 2, column split: 'dev' is not one of train, val, test"),
        ("v.mp4,,,,x,y,,A,train,", r"row 2, column question: empty"),
        ("v.mp4,5,2,Who?,x,y,,A,train,", r"row 2, columns start and end"),
        ("v.mp4,5,,Who?,x,y,,A,train,", r"row 2, columns start and end"),
        ("v.mp4,a,2,Who?,x,y,,A,train,", r"row 2, column start: 'a' is not a time in seconds"),
        ("../v.mp4,,,Who?,x,y,,A,train,", r"row 2, column video.*outside the video folder"),
        ("v.mp4,1e999,2,Who?,x,y,,A,train,", r"row 2, column start: '1e999' is not a time"),
        ("v.mp4,,,Who?,x,y,,AB,train,", r"row 2, column answer: 'AB' is not a letter"),
        ("v.mp4,,,Who?,the cat,the dog,,A,test,", r"row 2: id 'v_[0-9a-f]{12}' occurs already in row 1"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, message):
    write(tmp_path, GOOD, row)
    with pytest.raises(DataError, match=message):
        load("own", "train", tmp_path)


@pytest.mark.parametrize(
    ("rows", "header", "cause"),
    [
        ([GOOD], HEADER.replace("split", "part"), "column 'split' is missing"),
        ([GOOD], HEADER.replace("start", "begin"), "column 'begin' is not known"),
        ([GOOD.replace("train", "test")], HEADER, "no row has the split 'train'"),
        (["a,v.mp4,Who?,x,y,A,train"] * 2, "id,video,question,a0,a1,answer,split", r"id 'a' occurs already in row 1"),
        ([",,,,,,,,,"], HEADER, "questions.csv: the file holds a header but no rows"),
        ([GOOD], HEADER.replace(",", ";"), "column 'video' is missing.*commas between the values, not ';'"),
        ([GOOD], HEADER.replace(",", "\t"), r"column 'video' is missing.*commas between the values, not '\\t'"),
        ([f"{GOOD},Total"], f"{HEADER},type", r"row 1, column type: 'Total' is the name of the result over all"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, rows, header, cause):
    with pytest.raises(DataError, match=r"questions.csv: no such file"):
        load("own", "train", tmp_path)
    write(tmp_path, *rows, header=header)
    with pytest.raises(DataError, match=cause):
        load("own", "train", tmp_path)


def test_columns_without_name_and_value_are_skipped(tmp_path):
    write(tmp_path, GOOD, f"{GOOD.replace('Who', 'What')},,", header=f"{HEADER},,")
    assert len(load("own", "train", tmp_path)) == 2
    write(tmp_path, f"{GOOD},a note,", header=f"{HEADER},,")
    with pytest.raises(DataError, match="row 1: 12 values for 10 columns"):
        load("own", "train", tmp_path)


@pytest.mark.parametrize("between", ["", ",,,,,,,,,", GOOD.replace("train", "Train"), GOOD.replace("a", "a, b, c")])
def test_stray_quotation_marks_swallow_no_rows(tmp_path, between):
    """Whatever stands between the two, also what would be no row of this file."""
    write(tmp_path, GOOD, GOOD.replace("the cat", '"the cat'), between, GOOD.replace("the cat", 'the cat"'))
    with pytest.raises(DataError, match="row 2, column a0: the value holds a part of other rows"):
        load("own", "train", tmp_path)


def test_ids_stay_with_their_questions(tmp_path):
    """A row on top, another order, a label corrected, a row moved to another split: no id changes. New words do."""
    rows = [f"v.mp4,,,Who {i}?,the cat,the dog,,b,train," for i in range(4)]
    write(tmp_path, *rows)
    ids = {sample.question: sample.id for sample in load("own", "train", tmp_path)}
    assert len(set(ids.values())) == 4
    changed = [rows[3].replace(",b,", ",a,"), rows[1].replace("train", "test"), rows[0].replace("the dog", "a dog")]
    write(tmp_path, "v.mp4,,,Who else?,the cat,the dog,,b,train,", rows[2], *changed)
    later = {s.question: s.id for split in ("train", "test") for s in load("own", split, tmp_path)}
    assert [later[question] == id for question, id in ids.items()] == [False, True, True, True]
    write(tmp_path, "v.mp4,1,2,Who 0?,the cat,the dog,,b,train,", "sub/v.mp4,,,Who 0?,the cat,the dog,,b,train,", *rows)
    assert len({sample.id for sample in load("own", "train", tmp_path)}) == 6


@pytest.mark.slow
def test_all_phases_with_2_to_10_options(tmp_path, videos):
    """Two options to ten, types that look like numbers, a colon in the video's name; every third reasoning is wrong."""
    (tmp_path / "videos").mkdir()
    shutil.copy(videos / "good.mp4", tmp_path / "videos" / "at 10:20.mp4")
    names = ("cup", "bag", "box", "hat", "key", "pen", "mat", "jar", "bow", "fan")
    options = [",".join(names[:count]) + "," * (10 - count) for count in range(2, 11)]
    rows = [
        f"at 10:20.mp4,{'02' if i % 2 else '2'},What is taken?,{of},A,train,He takes it. The answer is {'AAB'[i % 3]}."
        for i, of in enumerate(options)
    ]
    rows += [row.replace("train", "test").replace("taken", "put") for row in rows[:4]]
    header = f"video,type,question,{','.join(f'a{i}' for i in range(10))},answer,split,reasoning"
    write(tmp_path, *rows, header=header)
    samples, test = load("own", "train", tmp_path), load("own", "test", tmp_path)
    written = Written("written", written_reasoning(tmp_path))
    table = generate(samples, written, tmp_path / "reasoning" / "written.jsonl")
    assert table["correct"].tolist() == [True, True, False] * 3
    recipe = PRESETS["smoke"] | {"answer_format": "letter", "generator": "written", "split": "test"}
    recipe["student"] = "mini-blip2"
    run = train(TrainConfig(dataset="own", **recipe), root=tmp_path, runs=tmp_path / "runs")
    assert (run.predictions["prediction"] < [len(s.options) for s in test]).all()
    assert len(run.predictions) == 4 and run.metrics["with_reasoning"] == 9
    assert run.predictions["type"].tolist() == run.predictions["group"].tolist() == ["2", "02"] * 2
    assert accuracy(run.predictions, test).index.tolist() == ["2", "02", "Total"]


TYPES = ["01", "1", "1.0", "007", "1e5", "NA", "nan", "None", "null", "TRUE", "inf", "-0", "TP"]


def test_types_and_ids_are_text(tmp_path):
    """Also where pandas would read a number, a missing value or a truth value."""
    rows = [f"00{i},v.mp4,{kind},Who?,NA,null,nan,A,test" for i, kind in enumerate(TYPES)]
    write(tmp_path, *rows, header="id,video,type,question,a0,a1,a2,answer,split")
    test = load("own", "test", tmp_path)
    assert [(s.id, s.type, s.group) for s in test] == [(f"00{i}", kind, kind) for i, kind in enumerate(TYPES)]
    assert {s.options for s in test} == {("NA", "null", "nan")}
    table = test.to_pandas().assign(prediction=0, text="NA")
    again = _read_predictions(
        io.StringIO(table.drop(columns=["video", "clip", "question", "options"]).to_csv(index=False))
    )
    for column in ("id", "type", "group", "text"):
        assert again[column].tolist() == table[column].tolist(), column
    assert accuracy(again, test)["n"].to_dict() == dict.fromkeys(TYPES, 1) | {"Total": len(TYPES)}


@pytest.mark.parametrize(
    "cell",
    [
        '{"answer": "B",\n"reasoning": "S1,S2"}',
        '{"a":1,"b":2,"c":3,\n"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10}',
        "He says:\n1,2,3,4,5,6,7,8,9,10",
        "one,two,three,four,five,six,seven,eight,nine,ten\r\none,two,three,four,five,six,seven,eight,nine,ten",
        "t,x,y\n0,1,2\n1,2,3\n2,3,4\n",
        'He says "go",then,ran,\nand,fell,down,again,so,long,as,it,went',
    ],
)
def test_a_quoted_cell_may_have_lines_and_commas(tmp_path, cell):
    """Written as Python's csv module quotes it."""
    for column in ("question", "a1", "reasoning"):
        row = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | {column: cell}
        with (tmp_path / "questions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER.split(","))
            writer.writeheader()
            writer.writerow(row)
        (sample,) = load("own", "train", tmp_path)
        found = {"question": sample.question, "a1": sample.options[1]} | {
            "reasoning": written_reasoning(tmp_path)[sample.id]
        }
        assert found[column] == cell.strip().replace("\r\n", "\n")


COLONS = ["Screencast 2024-04-21 03:02:06.mp4", "a:b.mp4", "12:30/x.mp4", "d/10:20:30.mkv", "ep: 1.mp4", "x:"]


@pytest.mark.skipif(os.name == "nt", reason="a colon means something else on Windows")
@pytest.mark.parametrize("video", COLONS)
def test_a_video_may_have_a_colon_in_its_name(tmp_path, video):
    write(tmp_path, GOOD.replace("v.mp4", video))
    assert load("own", "train", tmp_path)[0].video == video


def test_a_question_without_reasoning_is_told(tmp_path):
    write(tmp_path, GOOD, "v.mp4,,,Who?,x,y,,A,train,")
    with pytest.raises(ReasoningError, match=r"1 of 2 questions have no reasoning, e.g. 'v_[0-9a-f]{12}'"):
        generate(load("own", "train", tmp_path), Written("me", written_reasoning(tmp_path)), tmp_path / "r.jsonl")
