"""The loaders: real files as published, the miniature's files, and every way a file can be wrong."""

import csv
import json
import os
import warnings

import pytest
import torture

from reasvqa.datasets import DataError, load
from reasvqa.samples import Sample

NEXT_HEADER = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
NEXT_ROW = "4010069381,369,640,480,how do the two man play,0,6,CH,roll,tap,None,hit,pat".split(",")


def nextqa(tmp_path, rows, header=NEXT_HEADER):
    with (tmp_path / "val.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    (tmp_path / "map_vid_vidorID.json").write_text(json.dumps({"4010069381": "1106/4010069381"}))
    return tmp_path


def choices(*names):
    return [{"choice_id": i, "choice": f"The {name}."} for i, name in enumerate(names)]


def star_item(**changes):
    item = {"question_id": "Interaction_T1_13", "question": "Which?", "video_id": "YSKX3", "start": 12.1, "end": 18.0}
    item |= {"choices": choices("food", "laptop", "book", "pillow"), "answer": "The book."}
    return {name: value for name, value in (item | changes).items() if value is not None}


def star(tmp_path, items):
    (tmp_path / "STAR_val.json").write_text(json.dumps(items))
    return tmp_path


def test_real_nextqa(shared):
    samples = load("nextqa", "val", shared / "nextqa")
    assert len(samples) == 4996 and len({s.video for s in samples}) == 570
    first = samples[0]
    assert (first.id, first.video) == ("4010069381_6", "1106/4010069381.mp4") and first.answer_text == "roll the handle"
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
    (sample,) = load("nextqa", "val", nextqa(tmp_path, [NEXT_ROW]))
    options, question = ("roll", "tap", "None", "hit", "pat"), "how do the two man play"
    assert sample == Sample("4010069381_6", "1106/4010069381.mp4", None, question, options, 0, "CH", "Cau")


def test_atp_hard_takes_rows_by_number(tmp_path):
    rows = [[*NEXT_ROW[:6], str(qid), *NEXT_ROW[7:]] for qid in range(4)]
    root = nextqa(tmp_path, rows)
    (root / "atp-hard-ct4.txt").write_text("2\n0\n")
    assert [sample.id for sample in load("nextqa", "atp-hard", root)] == ["4010069381_2", "4010069381_0"]
    for text, cause in (
        ("2\n4\n", "atp-hard-ct4.txt, line 2: expected an integer from 0 to 3, got '4'"),
        ("2\n2\n", "atp-hard-ct4.txt: a row number occurs twice"),
        ("\n", "atp-hard-ct4.txt: the file holds no row numbers"),
    ):
        (root / "atp-hard-ct4.txt").write_text(text)
        with pytest.raises(DataError, match=cause):
            load("nextqa", "atp-hard", root)


def changed(index, value):
    return [*NEXT_ROW[:index], value, *NEXT_ROW[index + 1 :]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([NEXT_ROW, changed(5, "5")], r"val.csv, row 2, column answer: expected an integer from 0 to 4, got '5'"),
        ([changed(5, "first")], r"row 1, column answer: expected an integer.*'first'"),
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
    with pytest.raises(DataError, match=r"column 'a4' is missing"):
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
    (sample,) = load("star", "val", star(tmp_path, [star_item()]))
    found = sample.answer, sample.type, sample.group, sample.clip, sample.video
    assert found == (2, "Interaction", "Int", (12.1, 18.0), "YSKX3.mp4")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (star_item(answer="The cup."), r"item 1, field answer: 'The cup.' is not"),
        (star_item(start=20.0), r"item 1: start 20.0, end 18.0"),
        (star_item(start=float("nan")), r"item 1, field start: nan is not a time in seconds"),
        (star_item(end=10**400), r"item 1, field end: 1000.* is not a time"),
        (star_item(end=[18.0]), r"item 1, field end: \[18.0\] is not a time"),
        (star_item(start=True), r"item 1, field start: True is not a time"),
        (star_item(question=["Which?"]), r"item 1, field question: \['Which\?'\] is not a text"),
        (star_item(video_id=17), r"item 1, field video_id: 17 is not a text"),
        (star_item(video_id="x" * 300), r"item 1, field video_id: video 'xxx.* is too long for a file name"),
        (star_item(question="half \ud800"), r"item 1: '\\ud800' is half a character"),
        (star_item(choices=None), r"field choices is missing"),
        (star_item(choices=4), r"item 1, field choices: expected four"),
        (star_item(choices=choices("a", "b", "c")), r"field choices: expected four"),
        (star_item(question_id="Guess_T1_0"), r"field question_id: 'Guess_T1_0'"),
        (star_item(video_id=None), r"field video_id is missing"),
        ("not an object", r"item 1: expected an object"),
    ],
)
def test_star_errors_name_the_place(tmp_path, item, message):
    with pytest.raises(DataError, match=message):
        load("star", "val", star(tmp_path, [item]))


def test_star_texts_that_occur_twice_are_told(tmp_path):
    """One of the official questions offers its answer twice. The first of the two counts as right."""
    twice = choices("food", "book", "cup", "book")
    items = [star_item(question_id=f"Interaction_T1_{i}") for i in range(3)]
    items[1] |= {"choices": twice}
    items[2] |= {"choices": twice, "answer": "The food."}
    with pytest.warns(UserWarning, match=r"2 of 3 questions have two equal .* \(the first: item 2\). In 1 of them"):
        samples = load("star", "val", star(tmp_path, items))
    assert [sample.answer for sample in samples] == [2, 1, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("star", "val", star(tmp_path, items[:1]))


def test_json_that_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "STAR_val.json"
    for text, cause in (
        ("[" * 100_000 + "]" * 100_000, "STAR_val.json: nested too deeply"),
        (f'[{{"start": {"1" * 5000}}}]', "STAR_val.json: Exceeds the limit"),
        ('[{"answer": "a", "answer": "b"}]', "STAR_val.json: the key 'answer' occurs twice"),
        ("{}", "STAR_val.json: expected a list"),
        ("[]", "STAR_val.json: the file holds no questions"),
        ("", "STAR_val.json, line 1: not valid JSON"),
        ('[\n{"question_id": "Inter', "STAR_val.json, line 2: not valid JSON"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=cause):
            load("star", "val", tmp_path)


@pytest.mark.parametrize(
    ("folders", "cause"),
    [
        ({"4010069381": None}, r"map_vid_vidorID.json, entry '4010069381': None is not a path"),
        ({"4010069381": 12}, r"entry '4010069381': 12 is not a path"),
        ({"4010069381": "x/" + "y" * 300}, r"entry '4010069381': video .* is too long"),
        (["4010069381"], r"map_vid_vidorID.json: expected an object"),
    ],
)
@pytest.mark.parametrize("name", ["nextqa", "intentqa"])
def test_a_map_leads_to_files(tmp_path, name, folders, cause):
    header = NEXT_HEADER.replace("video", "video_id") if name == "intentqa" else NEXT_HEADER
    root = nextqa(tmp_path, [NEXT_ROW], header)
    (root / "map_vid_vidorID.json").write_text(json.dumps(folders))
    with pytest.raises(DataError, match=cause.replace("entry '4010069381': video", "video")):
        load(name, "val", root)


@pytest.mark.parametrize("quoted", [False, True])
def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path, quoted):
    """At any value of any row, as the first character, with and without other quotes before and after it."""
    rows = [[*NEXT_ROW[:6], str(qid), *NEXT_ROW[7:]] for qid in range(6)]
    lines = [",".join(f'"{value}"' if quoted and i == 4 else value for i, value in enumerate(row)) for row in rows]
    root = nextqa(tmp_path, [])
    for number, line in enumerate(lines):
        for column in (0, 4, 8, 12):
            values = line.split(",")
            values[column] = '"' + values[column]
            text = [NEXT_HEADER, *lines[:number], ",".join(values), *lines[number + 1 :], ""]
            (root / "val.csv").write_text("\n".join(text))
            with pytest.raises(DataError, match=rf"val.csv, row {number + 1}\b.*uot"):
                load("nextqa", "val", root)
    # A pair, from a column of one row to the same column of the next one: the number of columns is right.
    rows[1][4], rows[2][4] = '"' + rows[1][4], rows[2][4] + '"'
    (root / "val.csv").write_text("\n".join([NEXT_HEADER, *(",".join(row) for row in rows), ""]))
    with pytest.raises(DataError, match=r"val.csv, row 2, column question: the value holds a part of other rows"):
        load("nextqa", "val", root)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", r"val.csv: the file holds nothing"),
        (NEXT_HEADER.encode(), r"val.csv: the file holds a header but no rows"),
        (f"{NEXT_HEADER}\n\n,,\n".encode(), r"val.csv: the file holds a header but no rows"),
        (f"{NEXT_HEADER},a0\n{','.join(NEXT_ROW)},x\n".encode(), r"val.csv: column 'a0' occurs twice"),
        (f"{NEXT_HEADER}\n{','.join(NEXT_ROW)},x\n".encode(), r"row 1: 14 values for 13 columns"),
        (f"{NEXT_HEADER}\n{','.join(NEXT_ROW)}é\n".encode("latin-1"), r"val.csv: not UTF-8 text \(byte \d+\)"),
        (f"{NEXT_HEADER}\n{','.join(NEXT_ROW)}\n".encode("utf-16"), r"val.csv: not UTF-8 text"),
        (f"{NEXT_HEADER}\n{'x' * 200_000}\n".encode(), r"val.csv, row 1 .*field larger than field limit"),
        (f"{NEXT_HEADER}\n{','.join(changed(5, '1' * 5000))}\n".encode(), r"row 1, column answer: .*integer.*'111"),
        (f"{NEXT_HEADER}\n{','.join(changed(5, '٣'))}\n".encode(), r"row 1, column answer: expected an integer.*'٣'"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(tmp_path, content, cause):
    root = nextqa(tmp_path, [NEXT_ROW])
    (root / "val.csv").write_bytes(content)
    with pytest.raises(DataError, match=cause) as error:
        load("nextqa", "val", root)
    assert len(str(error.value)) < 600


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_stay_inside_of_the_video_folder(tmp_path):
    """The folder itself may be a link, and links inside of it are fine; a file or a folder elsewhere is not."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "1106").mkdir(parents=True)
    video = elsewhere / "1106" / "4010069381.mp4"
    video.write_bytes(b"")
    (root := tmp_path / "data").mkdir()
    nextqa(root, [NEXT_ROW])
    videos = root / "videos"
    videos.symlink_to(elsewhere)
    assert len(load("nextqa", "val", root)) == 1
    videos.unlink()
    (videos / "1106").mkdir(parents=True)
    (videos / "real.mp4").write_bytes(b"")
    inside = videos / "1106" / "4010069381.mp4"
    inside.symlink_to(videos / "real.mp4")
    assert len(load("nextqa", "val", root)) == 1
    inside.unlink()
    inside.symlink_to(video)
    with pytest.raises(DataError, match=r"4010069381.mp4: a link that leads out of the video folder"):
        load("nextqa", "val", root)
    inside.unlink()
    inside.parent.rmdir()
    inside.parent.symlink_to(elsewhere / "1106")
    with pytest.raises(DataError, match=r"1106: a link that leads out of the video folder"):
        load("nextqa", "val", root)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_annotations_are_read_or_refused(tmp_path, seed):
    """Small part of `python tests/torture.py annotations`."""
    counts = torture.mutated_annotations(tmp_path, 100, seed)
    assert counts["read"] + counts["refused"] == 100 == counts.total() and counts["refused"] > 30, counts


@pytest.mark.slow
def test_large_files_are_read_in_linear_time(tmp_path):
    """Counted in steps of the interpreter, not in seconds: twice the rows, not much more than twice the steps."""
    steps = [torture.steps_to_load(tmp_path, rows) for rows in (250, 500, 1000)]
    assert steps[1] < 2.1 * steps[0] and steps[2] < 2.1 * steps[1]


def test_unknown_names():
    with pytest.raises(ValueError, match="choose one of nextqa"):
        load("activitynet", "val")
    with pytest.raises(ValueError, match="split='dev': choose one of train, val, test, atp-hard"):
        load("nextqa", "dev")
    with pytest.raises(ValueError, match="split='dev': choose one of train, val, test"):
        load("smoke-star", "dev")


def test_sample_checks_itself():
    with pytest.raises(ValueError, match="answer 3 is not the index"):
        Sample("x", "x.mp4", None, "q", ("a", "b"), 3, "CW")
    assert Sample("x", "x.mp4", None, "q", ["a", "b"], None, "Feasibility").group == "Fea"
