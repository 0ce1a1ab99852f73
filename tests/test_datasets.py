"""The loaders: real files as published, the miniature's files, and every way a file can be wrong."""

import csv
import json

import pytest

from reasvqa.datasets import DataError, load
from reasvqa.samples import Sample

NEXT_HEADER = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
NEXT_ROW = [
    "4010069381",
    "369",
    "640",
    "480",
    "how do the two man play",
    "0",
    "6",
    "CH",
    "roll",
    "tap",
    "None",
    "hit",
    "pat",
]


def nextqa(tmp_path, rows, header=NEXT_HEADER):
    with (tmp_path / "val.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    (tmp_path / "map_vid_vidorID.json").write_text(json.dumps({"4010069381": "1106/4010069381"}))
    return tmp_path


def star_item(**changes):
    choices = [
        {"choice_id": i, "choice": f"The {name}."} for i, name in enumerate(("food", "laptop", "book", "pillow"))
    ]
    item = {
        "question_id": "Interaction_T1_13",
        "question": "Which?",
        "video_id": "YSKX3",
        "start": 12.1,
        "end": 18.0,
        "choices": choices,
        "answer": "The book.",
    }
    return {name: value for name, value in (item | changes).items() if value is not None}


def star(tmp_path, items):
    (tmp_path / "STAR_val.json").write_text(json.dumps(items))
    return tmp_path


def test_real_nextqa(shared):
    samples = load("nextqa", "val", shared / "nextqa")
    assert len(samples) == 4996 and len({s.video for s in samples}) == 570
    assert (
        samples[0].id == "4010069381_6"
        and samples[0].video == "1106/4010069381.mp4"
        and samples[0].answer_text == "roll the handle"
    )
    assert samples.to_pandas()["group"].value_counts().to_dict() == {"Cau": 2607, "Tem": 1612, "Des": 777}


def test_real_intentqa(shared):
    samples = load("intentqa", "val", shared / "intentqa")
    assert len(samples) == 2044
    assert samples.to_pandas()["group"].value_counts().to_dict() == {"Why": 1185, "Tem": 525, "How": 334}


def test_real_star_without_labels(shared):
    samples = load("star", "test", shared / "star")
    assert len(samples) == 7377 and all(sample.answer is None for sample in samples)
    assert samples[0].clip == (12.1, 18.0) and samples[0].options[3] == "The pillow."


def test_nextqa_reads_options_literally(tmp_path):
    sample = load("nextqa", "val", nextqa(tmp_path, [NEXT_ROW]))[0]
    assert sample == Sample(
        "4010069381_6",
        "1106/4010069381.mp4",
        None,
        "how do the two man play",
        ("roll", "tap", "None", "hit", "pat"),
        0,
        "CH",
        "Cau",
    )


def test_atp_hard_takes_rows_by_number(tmp_path):
    rows = [[*NEXT_ROW[:6], str(qid), *NEXT_ROW[7:]] for qid in range(4)]
    root = nextqa(tmp_path, rows)
    (root / "atp-hard-ct4.txt").write_text("2\n0\n")
    assert [sample.id for sample in load("nextqa", "atp-hard", root)] == ["4010069381_2", "4010069381_0"]
    (root / "atp-hard-ct4.txt").write_text("2\n4\n")
    with pytest.raises(DataError, match=r"atp-hard-ct4.txt, line 2: '4'"):
        load("nextqa", "atp-hard", root)


def changed(index, value):
    return [*NEXT_ROW[:index], value, *NEXT_ROW[index + 1 :]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([NEXT_ROW, changed(5, "5")], r"val.csv, row 2, column answer: '5' is not a whole number from 0 to 4"),
        ([changed(5, "first")], r"row 1, column answer: 'first'"),
        ([NEXT_ROW, changed(5, "")], r"row 2, column answer"),
        ([NEXT_ROW, NEXT_ROW], r"row 2: id '4010069381_6' occurs already in row 1"),
        ([changed(7, "XX")], r"row 1, column type: 'XX' is not one of CW"),
        ([changed(0, "99")], r"row 1, column video: '99' is not in map_vid_vidorID.json"),
        ([changed(10, " ")], r"row 1, column a2: empty"),
        ([NEXT_ROW[:-1]], r"row 1: 12 values for 13 columns"),
        ([changed(4, "")], r"row 1, column question: empty"),
    ],
)
def test_nextqa_errors_name_the_place(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load("nextqa", "val", nextqa(tmp_path, rows))


def test_missing_column_and_missing_file(tmp_path):
    root = nextqa(tmp_path, [NEXT_ROW[:-1]], NEXT_HEADER.removesuffix(",a4"))
    with pytest.raises(DataError, match=r"column a4 is missing"):
        load("nextqa", "val", root)
    with pytest.raises(DataError, match=r"train.csv: no such file.*data/README.md"):
        load("nextqa", "train", root)


def test_paths_cannot_leave_the_video_folder(tmp_path):
    root = nextqa(tmp_path, [NEXT_ROW])
    (root / "map_vid_vidorID.json").write_text(json.dumps({"4010069381": "../../secret"}))
    with pytest.raises(DataError, match="outside the video folder"):
        load("nextqa", "val", root)
    with pytest.raises(DataError, match="outside the video folder"):
        load("star", "val", star(tmp_path, [star_item(video_id="/etc/passwd")]))


def test_star_answers_by_text(tmp_path):
    sample = load("star", "val", star(tmp_path, [star_item()]))[0]
    assert (sample.answer, sample.type, sample.group, sample.clip, sample.video) == (
        2,
        "Interaction",
        "Int",
        (12.1, 18.0),
        "YSKX3.mp4",
    )


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (star_item(answer="The cup."), r"item 1, field answer: 'The cup.' is not"),
        (star_item(start=20.0), r"item 1: start 20.0, end 18.0"),
        (star_item(choices=star_item()["choices"][:3]), r"item 1, field choices"),
        (star_item(question_id="Guess_T1_0"), r"field question_id: 'Guess_T1_0'"),
        (star_item(video_id=None), r"field video_id is missing"),
        ("not an object", r"item 1: expected an object"),
    ],
)
def test_star_errors_name_the_place(tmp_path, item, message):
    with pytest.raises(DataError, match=message):
        load("star", "val", star(tmp_path, [item]))


def test_broken_json_names_the_line(tmp_path):
    (tmp_path / "STAR_val.json").write_text('[\n{"question_id": "Inter')
    with pytest.raises(DataError, match=r"STAR_val.json, line 2: not valid JSON"):
        load("star", "val", tmp_path)


def test_unknown_names():
    with pytest.raises(ValueError, match="choose one of nextqa"):
        load("activitynet", "val")
    with pytest.raises(ValueError, match="NExT-QA has train, val, test, atp-hard"):
        load("nextqa", "dev")


def test_sample_checks_itself():
    with pytest.raises(ValueError, match="answer 3 is not the index"):
        Sample("x", "x.mp4", None, "q", ("a", "b"), 3, "CW")
    assert Sample("x", "x.mp4", None, "q", ["a", "b"], None, "Feasibility").group == "Fea"
