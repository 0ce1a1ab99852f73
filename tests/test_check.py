"""`reasvqa check`: a complete small data set, then each fault on its own, and the exit status."""

import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reasvqa import paths
from reasvqa.companion import check, full_size
from reasvqa.companion.check import FAILS, NOTE, OK, Row
from reasvqa.companion.experiments import config_of
from reasvqa.config import BENCHMARKS, SCALES
from reasvqa.datasets import load, official
from reasvqa.students import STUDENTS, load_student

CONFIG = config_of("MTL_All", "paper", "nextqa", student="mini-blip2").resolve()
COLUMNS = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4".split(",")
VIDEOS = ("101", "102", "103", "104")


@pytest.fixture
def root(tmp_path, monkeypatch, videos) -> Path:
    """NExT-QA with 6 training questions about three videos and 2 for validation about a fourth, as its authors lay it
    out, with a reasoning file that is right four times in six."""
    folder = tmp_path / "data" / "nextqa"
    (folder / "videos" / "00").mkdir(parents=True)
    for number, name in enumerate(VIDEOS):  # the same pictures, in files that differ in an atom that players skip
        content = (videos / "good.mp4").read_bytes() + b"\0\0\0\x0cfree" + bytes([number] * 4)
        (folder / "videos" / "00" / f"{name}.mp4").write_bytes(content)
    rows = {"train": [VIDEOS[i // 2] for i in range(6)], "val": [VIDEOS[3]] * 2}
    for split, names in rows.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for i, name in enumerate(names):
                writer.writerow([name, 9, 9, 9, f"what is {i}?", i % 5, i, "CW", "ab", "cd", "ef", "gh", "ij"])
    (folder / "map_vid_vidorID.json").write_text(json.dumps({name: f"00/{name}" for name in VIDEOS}))
    (folder / "reasoning").mkdir()
    lines = [
        {"id": f"{VIDEOS[i // 2]}_{i}", "response": f"It is so. ###Answer: {'ABCDE'[i % 5] if i < 4 else 'C'}"}
        for i in range(6)
    ]
    (folder / "reasoning" / "internvl-26b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("REASVQA_DATA", str(tmp_path / "data"))
    return folder


def content(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def rows(config=CONFIG, **options) -> dict[str, Row]:
    """By what was looked at; without the lines about student and GPU, which have their own tests."""
    found = {row.what: row for row in check.check([config], **options)}
    assert all(isinstance(row.found, str) and "\n" not in row.found for row in found.values())
    return {what.removeprefix("nextqa "): row for what, row in found.items()}


def test_a_whole_data_set(root, capsys):
    before = content(root.parent)
    status = check.main(["--dataset", "nextqa", "--student", "mini-blip2"])
    text = " ".join(capsys.readouterr().out.split())
    assert status == 0 and content(root.parent) == before  # nothing is made
    for part in (
        "ok student mini-blip2 blip-2,",
        "note nextqa train.csv 6 questions; officially 34,132, as its authors say",
        "note nextqa val.csv 2 questions; officially 4,996, counted in the published file",
        "note nextqa test.csv not there",
        "note nextqa atp-hard-ct4.txt not there -> only Table 6 asks it",
        "ok nextqa videos 4 of 4 found",
        "ok nextqa videos, decoded 4 of 4 clips can be read (a sample of 4; --all reads every one)",
        # 4 clips x 4 frames x 4 queries x 96 numbers x 2 bytes
        "ok nextqa features 4 clips of train and val take 0.0 GB",
        "ok nextqa internvl-26b.jsonl 6 of 6 questions; 66.7 % answered right",
        "0 that a run would fail on.",
    ):
        assert part in text, part


# --- faults -----------------------------------------------------------------------------------------------------------


def no_training_file(root: Path) -> None:
    (root / "train.csv").unlink()


def no_map(root: Path) -> None:
    (root / "map_vid_vidorID.json").unlink()


def a_video_without_an_entry(root: Path) -> None:
    (root / "map_vid_vidorID.json").write_text(json.dumps({name: f"00/{name}" for name in VIDEOS[1:]}))


def a_broken_row(root: Path) -> None:
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text(text.replace(",CW,", ",XX,", 1))


def a_test_file_that_nobody_needs(root: Path) -> None:
    (root / "test.csv").write_text("nothing of use\n")


def an_option_twice(root: Path) -> None:
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text(text.replace("ab,cd", "ab,ab", 1))


def the_same_id_twice(root: Path) -> None:
    lines = (root / "train.csv").read_text().splitlines()
    (root / "train.csv").write_text("\n".join([*lines, lines[1]]) + "\n")


def a_missing_video(root: Path) -> None:
    (root / "videos" / "00" / "102.mp4").unlink()


def an_empty_video(root: Path) -> None:
    (root / "videos" / "00" / "102.mp4").write_bytes(b"")


def videos_in_one_folder(root: Path) -> None:
    for path in (root / "videos" / "00").iterdir():
        path.rename(root / "videos" / path.name)


def no_videos(root: Path) -> None:
    shutil.rmtree(root / "videos")


def an_unreadable_video(root: Path) -> None:
    (root / "videos" / "00" / "103.mp4").write_bytes(b"this is not a video\n" * 99)


def a_link_that_leads_out(root: Path) -> None:
    path = root / "videos" / "00" / "101.mp4"
    path.rename(root.parent / "101.mp4")
    path.symlink_to(root.parent / "101.mp4")


def no_reasoning(root: Path) -> None:
    shutil.rmtree(root / "reasoning")


def half_of_the_reasoning(root: Path) -> None:
    path = root / "reasoning" / "internvl-26b.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:3]))


def a_refused_question(root: Path) -> None:
    path = root / "reasoning" / "internvl-26b.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:5]))
    (root / "reasoning" / "internvl-26b.failed.jsonl").write_text('{"id": "103_5", "error": "refused"}\n')


def a_video_of_test_without_an_entry(root: Path) -> None:
    text = (root / "val.csv").read_text()
    (root / "test.csv").write_text(text.replace(VIDEOS[3], "999"))


def a_damaged_reasoning(root: Path) -> None:
    with (root / "reasoning" / "internvl-26b.jsonl").open("a") as file:
        file.write("[1, 2]\n")


def another_generator(root: Path) -> None:
    (root / "reasoning" / "mine.jsonl").write_text('{"id": "101_0", "response": "A"}\n')


FAULTS: list[tuple[Callable[[Path], None], str, str, str]] = [
    (no_training_file, FAILS, "train.csv", r"train\.csv: no such file\. .* See data/README\.md"),
    (no_map, FAILS, "train.csv", r"map_vid_vidorID\.json: no such file"),
    (a_video_without_an_entry, FAILS, "train.csv", r"'101' is not in map_vid_vidorID\.json"),
    (a_broken_row, FAILS, "val.csv", "row 1, column type: 'XX' is not one of"),
    (a_test_file_that_nobody_needs, NOTE, "test.csv", "column 'video' is missing"),
    (a_video_of_test_without_an_entry, NOTE, "test.csv", "'999' is not in map_vid_vidorID"),
    (an_option_twice, NOTE, "val.csv", "2 questions, 1 with an option twice"),
    (the_same_id_twice, FAILS, "train.csv", "row 7: id '101_0' occurs already in row 1"),
    (a_missing_video, FAILS, "videos", r"3 of 4 found.*; 2 questions are about 1 \(00/102\.mp4\) -> put them under"),
    (an_empty_video, FAILS, "videos", r"3 of 4 found.*00/102\.mp4"),
    (videos_in_one_folder, FAILS, "videos", r"101\.mp4 lies in .*videos itself; it belongs to 00/, as the map says"),
    (no_videos, FAILS, "videos", "0 of 4 found.* -> there is no folder"),
    (an_unreadable_video, FAILS, "videos, decoded", r"3 of 4 clips can be read.*103\.mp4: .* -> get these files again"),
    (a_link_that_leads_out, FAILS, "train.csv", "a link that leads out of the video folder"),
    (no_reasoning, FAILS, "internvl-26b.jsonl", "not there -> write it with notebooks/01_generate_reasoning"),
    (
        half_of_the_reasoning,
        FAILS,
        "internvl-26b.jsonl",
        "3 of 6 questions; .*3 of 6 questions have no line, e.g. '102_3'",
    ),
    (
        a_refused_question,
        OK,
        "internvl-26b.jsonl",
        r"5 of 6 questions, 1 without an answer; 80\.0 % .*failed\.jsonl says",
    ),
    (a_damaged_reasoning, FAILS, "internvl-26b.jsonl", "line 7: a list of 2 values"),
    (another_generator, NOTE, "mine.jsonl", "1 of 6 questions; .*have no line"),
]


@pytest.mark.parametrize(("fault", "state", "what", "says"), FAULTS, ids=[fault.__name__ for fault, *_ in FAULTS])
def test_a_fault_is_a_line_with_a_remedy(fault, state, what, says, root, monkeypatch, capsys):
    fault(root)
    found = rows()
    line = found[what]
    text = f"{line.found}{f' -> {line.remedy}' if line.remedy else ''}"
    assert line.state == state and re.search(says, text), line
    assert check.show(found.values()) == int(any(row.state == FAILS for row in found.values()))
    assert (FAILS in {row.state for row in found.values()}) == (state == FAILS)
    assert what in capsys.readouterr().out


def test_unreadable_videos_may_be_skipped(root):
    an_unreadable_video(root)
    a_missing_video(root)
    found = rows(replace(CONFIG, skip_missing=True))
    assert found["videos"].state == found["videos, decoded"].state == NOTE


def test_stars_duplicated_option_is_explained(root, smoke_star):
    star = Path(shutil.copytree(smoke_star[0].videos.parent, root.parent / "star"))
    items = json.loads((star / "STAR_train.json").read_text())
    right = items[0]["choices"][0]["choice"] = items[0]["choices"][2]["choice"] = items[0]["answer"]
    (star / "STAR_train.json").write_text(json.dumps(items))
    config = config_of("MTL_All", "paper", "star", student="mini-blip2").resolve()
    splits: dict = {}
    line = next(row for row in check.annotation_files(config, star, splits) if "train" in row.what)
    assert line.state == NOTE and "1 with an option twice" in line.found
    assert "in 1 of them it is the answer, and the first of the two counts as right" in line.found
    assert splits["train"][0].answer_text == right


# --- --all ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []

    def counted(clips, num_frames):
        for path, clip in clips:
            names.append(path.name)
            yield from check_read([(path, clip)], num_frames)

    check_read = check.read_many
    monkeypatch.setattr(check, "read_many", counted)
    return names


def test_all_goes_on_where_it_was(root, decoded):
    an_unreadable_video(root)
    first = rows(decode_all=True)["videos, decoded"]
    assert sorted(decoded) == ["101.mp4", "102.mp4", "103.mp4", "104.mp4"] and first.state == FAILS
    decoded.clear()
    again = rows(decode_all=True)["videos, decoded"]
    assert decoded == ["103.mp4"] and "3 of 4 clips can be read, 3 of them before" in again.found
    kept = paths.checked("nextqa")
    kept.write_text(kept.read_text()[:-9])  # as a kill leaves it
    os.utime(root / "videos" / "00" / "101.mp4", (1, 1))
    shutil.copy(root / "videos" / "00" / "102.mp4", root / "videos" / "00" / "103.mp4")
    decoded.clear()
    assert rows(decode_all=True)["videos, decoded"].state == OK
    assert sorted(decoded) == ["101.mp4", "103.mp4", "104.mp4"]
    decoded.clear()
    assert (
        "4 of 4 clips can be read, 4 of them before" in rows(decode_all=True)["videos, decoded"].found and not decoded
    )
    rows(replace(CONFIG, num_frames=2), decode_all=True)  # other frames are other pictures
    assert len(decoded) == 4


def test_a_sample_is_the_same_every_time(root, decoded, monkeypatch):
    monkeypatch.setattr(check, "SAMPLE_SIZE", 2)
    assert "2 of 2 clips can be read (a sample of 4" in rows()["videos, decoded"].found
    seen = list(decoded)
    rows()
    assert len(seen) == 2 and decoded == seen * 2 and not paths.checked("nextqa").exists()


def test_a_data_root_that_cannot_be_written(root, monkeypatch):
    """What was read is not remembered; the table says so."""
    (root.parent / "checked").write_text("a file where a folder should be")
    line = rows(decode_all=True)["videos, decoded"]
    assert line.state == OK and "4 of 4" in line.found and "cannot be written" in line.found


# --- disk, memory, weights --------------------------------------------------------------------------------------------


def test_a_full_disk(root, monkeypatch):
    usage = shutil.disk_usage(root)
    need = 4 * 4 * 4 * 96 * 2  # clips, frames, queries, width, bytes
    for free, state in ((2 * need, OK), (need, FAILS)):
        monkeypatch.setattr(check.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert rows()["features"].state == state
    (paths.features() / "x").mkdir(parents=True)
    (paths.features() / "x" / "features.npy").write_bytes(bytes(need))  # they may be there already
    assert rows()["features"].state == NOTE


@pytest.mark.parametrize(
    ("gigabytes", "recompute", "state", "says"),
    [
        (80, False, OK, "takes about 33 GB"),
        (24, False, FAILS, "gradient_checkpointing=True takes 9 GB"),
        (24, True, OK, "takes about 9 GB"),
        (8, False, FAILS, "a smaller student"),
    ],
)
def test_the_gpus_memory(gigabytes, recompute, state, says, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "G")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, gigabytes * 10**9))
    monkeypatch.setattr(full_size, "memory", lambda *_: {"together": 32.8, "together, recomputed": 9.0})
    line = check.memory(replace(CONFIG, student="blip2-flan-t5-xl", gradient_checkpointing=recompute))
    assert line.state == state and says in str(line).replace("\n" + " " * 38, " ")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_):
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_weights_that_are_not_there(offline, tmp_path):
    line = check.weights("blip2-flan-t5-xl", "student")
    assert line.state == FAILS and "hf download Salesforce/blip2-flan-t5-xl" in line.remedy
    line = check.weights("mini-blip3", "student")
    assert line.state == FAILS and "mini-blip2" in line.remedy
    assert check.student_without_weights("nobody/such-student") is None
    assert check.student_without_weights("blip2-flan-t5-xl").feature_shape == (32, 768)


def test_weights_in_part(offline, tmp_path):
    folder = Path(shutil.copytree(STUDENTS["mini-blip2"], tmp_path / "mine"))
    line = check.weights(str(folder), "student")
    assert line.state == OK and "blip-2, 6.3 MB" in line.found
    assert check.student_without_weights(str(folder)).feature_shape == (4, 96)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    line = check.weights(str(folder), "student")
    assert line.state == FAILS and "1 (model-00002-of-00002.safetensors) of its files are not there" in line.found
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    assert check.weights(str(folder), "generator").state == OK
    line = check.weights(str(folder), "student")
    assert line.state == FAILS and "a llava checkpoint" in line.found and "blip-2" in line.remedy
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{")
    line = check.weights(str(folder), "student")
    assert line.state == FAILS and "its tokenizer" in line.found


# --- a server ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    """An OpenAI-compatible server that answers as it is told; its address, and what it was asked."""
    told = SimpleNamespace(answer="It strums. ###Answer: A", status=200, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def send(self, body: dict, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self):
            told.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            message = {"role": "assistant", "content": told.answer}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            done = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            self.send(done if told.status == 200 else {"error": {"message": "no"}}, told.status)

        def log_message(self, *_):
            pass

    serving = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    told.address = f"http://127.0.0.1:{serving.server_port}/v1"
    yield told
    serving.shutdown()


def test_a_server_is_asked_one_question(root, server):
    line = rows(server=server.address, generator="m")["server"]
    assert line.state == OK and "m chooses option A, rightly, after" in line.found
    (asked,) = server.asked
    assert asked["model"] == "m" and len(asked["messages"][0]["content"]) == 5  # 4 pictures and a text
    assert "what is 0?" in asked["messages"][0]["content"][-1]["text"]
    server.answer = "###Answer: B"
    assert "wrongly" in rows(server=server.address, generator="other")["server"].found
    assert server.asked[-1]["model"] == "other"
    server.answer = "I cannot tell."
    line = rows(server=server.address, generator="m")["server"]
    assert line.state == NOTE and "names no option" in line.found


def test_servers_that_do_not_answer(root, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    server.status = 401
    line = rows(server=server.address, generator="m")["server"]
    assert line.state == FAILS and "Check OPENAI_API_KEY" in line.found and "secret-key" not in str(line)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    for address in (nobody, "8000"):
        assert rows(server=address, generator="m")["server"].state == FAILS
    no_videos(root)
    assert rows(server=server.address, generator="m")["server"].state == NOTE


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_a_table(scale, tmp_path, monkeypatch, capsys):
    """Without any data: what is made by itself is no fault, what somebody has to fetch is."""
    monkeypatch.setenv("REASVQA_DATA", str(tmp_path / "nothing"))
    status = check.main(["--scale", scale, "--student", "mini-blip2"])
    out = capsys.readouterr().out
    config = config_of("MTL_All", scale, "star", student="mini-blip2").resolve()
    assert status == int("not made yet" not in out) and config.dataset in out
    assert not (tmp_path / "nothing").exists()


def test_the_command_refuses_what_it_does_not_know(capsys):
    for wrong in (["--scale", "huge"], ["--dataset", "coco"], ["--server", "http://localhost:8000/v1"]):
        with pytest.raises(SystemExit) as ended:
            check.main(wrong)
        assert ended.value.code == 2


def test_official_counts():
    """The page for a first user has the numbers of the table."""
    table = official()
    assert {row["dataset"] for row in table} == set(BENCHMARKS)
    page = (Path(paths.SHIPPED) / "README.md").read_text()
    for row in table:
        number = f"{int(row['questions']):,}"
        assert number in page and (row["verified"] == "yes" or f"{number} (not verified)" in page), row


@pytest.mark.parametrize(("dataset", "split"), [("nextqa", "val"), ("intentqa", "val"), ("star", "test")])
def test_official_counts_in_the_files(dataset, split, shared):
    (row,) = (row for row in official() if (row["dataset"], row["split"]) == (dataset, split))
    samples = load(dataset, split, shared / dataset)
    assert (len(samples), len({sample.video for sample in samples})) == (int(row["questions"]), int(row["videos"]))
    assert row["verified"] == "yes"


# --- a cache of the hub that is filled in part ------------------------------------------------------------------------

ASK = """
import json
from reasvqa.companion.check import weights
print(json.dumps({name: vars(row) for name in "abcde" for row in [weights(f"someone/{name}", "student")]}))
"""


def test_a_cache_that_is_filled_in_part(tmp_path):
    """A download that broke off: what is missing is named; nothing is asked of the network."""
    whole = tmp_path / "whole"
    student = load_student("mini-blip2")
    student.model.save_pretrained(whole, max_shard_size="2MB")
    for file in paths.mini_student("mini-blip2").iterdir():
        if file.suffix == ".json" and not (whole / file.name).exists():
            shutil.copy(file, whole)
    shards = sorted(path.name for path in whole.glob("model-*.safetensors"))
    assert len(shards) > 2
    without = {
        "a": set(shards) | {"config.json", "preprocessor_config.json", "model.safetensors.index.json"},
        "b": set(shards[1:2]),
        "c": {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"},
        "d": {"config.json"},
        "e": set(),
    }
    for name, left_out in without.items():
        folder = tmp_path / "hub" / f"models--someone--{name}"
        snapshot = folder / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0" * 40)
        for file in whole.iterdir():
            if file.name not in left_out:
                shutil.copy(file, snapshot)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys("abcd", FAILS) | {"e": OK}
    assert rows["a"]["found"] == "not in the hub's cache"
    assert rows["b"]["found"] == f"1 ({shards[1]}) of its files are not there"
    assert rows["c"]["found"].startswith("its tokenizer:")
    assert rows["d"]["found"] == "1 (config.json) of its files are not there"
    assert all(f"hf download someone/{name}" in rows[name]["remedy"] for name in "abcd")
