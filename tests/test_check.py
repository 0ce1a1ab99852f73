"""`reasvqa check`: a complete small data set, then each fault on its own, and the exit status."""

import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reasvqa import paths
from reasvqa.companion import check, full_size
from reasvqa.companion.check import FAILS, NOTE, OK, Row
from reasvqa.companion.experiments import config_of
from reasvqa.companion.scales import BENCHMARKS, SCALES
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
    for split, names in {"train": [VIDEOS[i // 2] for i in range(6)], "val": [VIDEOS[3]] * 2}.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for i, name in enumerate(names):
                writer.writerow([name, 9, 9, 9, f"what is {i}?", i % 5, i, "CW", "ab", "cd", "ef", "gh", "ij"])
    (folder / "map_vid_vidorID.json").write_text(json.dumps({name: f"00/{name}" for name in VIDEOS}))
    (folder / "reasoning").mkdir()
    lines = [{"id": f"{VIDEOS[i // 2]}_{i}", "response": f"It is so. ###Answer: {'ABCDCC'[i]}"} for i in range(6)]
    (folder / "reasoning" / "internvl-26b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("REASVQA_DATA", str(tmp_path / "data"))
    return folder


def rows(config=CONFIG, **options) -> dict[str, Row]:
    """By what was looked at; without the lines about student and GPU, which have their own tests."""
    found = {row.what: row for row in check.check([config], **options)}
    assert all(isinstance(row.found, str) and "\n" not in row.found for row in found.values())
    return {what.removeprefix("nextqa "): row for what, row in found.items()}


def test_a_whole_data_set(root, capsys):
    before = {path: path.stat().st_mtime_ns for path in root.parent.rglob("*")}
    status = check.main(["--dataset", "nextqa", "--student", "mini-blip2"])
    text = " ".join(capsys.readouterr().out.split())
    assert status == 0 and before == {path: path.stat().st_mtime_ns for path in root.parent.rglob("*")}
    for part in (
        "ok student mini-blip2 blip-2,",
        "note nextqa train.csv 6 questions; the official file has 34,132, according to its authors",
        "note nextqa val.csv 2 questions; the official file has 4,996, as counted in the published file",
        "note nextqa test.csv not there",
        "note nextqa atp-hard-ct4.txt not there -> only Table 6 uses it",
        "ok nextqa videos 4 of 4 found",
        "ok nextqa videos, decoded 4 of 4 clips can be read (a sample of 4; --all reads every one)",
        # 4 clips x 4 frames x 4 queries x 96 numbers x 2 bytes
        "ok nextqa features 4 clips of train and val take 0.0 GB",
        "ok nextqa internvl-26b.jsonl 6 of 6 questions; 66.7 % answered right",
        "0 that would make a run fail.",
    ):
        assert part in text, part


# --- faults -----------------------------------------------------------------------------------------------------------

REASONING = "reasoning/internvl-26b.jsonl"


def write(file: str, text: str):
    return lambda root: (root / file).write_text(text)


def edit(file: str, old: str, new: str):
    return lambda root: (root / file).write_text((root / file).read_text().replace(old, new, 1))


def keep(file: str, lines: int):
    return lambda root: (root / file).write_text("".join((root / file).read_text().splitlines(True)[:lines]))


def remove(file: str):
    return lambda root: shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()


def flatten_the_videos(root: Path) -> None:
    for path in (root / "videos" / "00").iterdir():
        path.rename(root / "videos" / path.name)


def link_outwards(root: Path) -> None:
    path = root / "videos" / "00" / "101.mp4"
    path.rename(root.parent / "101.mp4")
    path.symlink_to(root.parent / "101.mp4")


def refuse_a_question(root: Path) -> None:
    keep(REASONING, 5)(root)
    (root / "reasoning" / "internvl-26b.failed.jsonl").write_text('{"id": "103_5", "error": "refused"}\n')


MAP, CLIP = "map_vid_vidorID.json", "videos/00/103.mp4"
UNREADABLE = write(CLIP, "this is not a video\n" * 99)
TRAIN, VAL, FILE = "train.csv", "val.csv", "internvl-26b.jsonl"
FAULTS = {
    "no training file": (remove(TRAIN), FAILS, TRAIN, r"train\.csv: no such file\. .* See data/README\.md"),
    "no map": (remove(MAP), FAILS, TRAIN, r"map_vid_vidorID\.json: no such file"),
    "no entry in the map": (edit(MAP, '"101": "00/101", ', ""), FAILS, TRAIN, r"'101' is not in map_vid_vidorID"),
    "a broken row": (edit(VAL, ",CW,", ",XX,"), FAILS, VAL, "row 1, column type: 'XX' is not one of"),
    "a test file": (write("test.csv", "nothing\n"), NOTE, "test.csv", "column 'video' is missing"),
    "an id twice": (edit(TRAIN, "1?,1,1,", "1?,1,0,"), FAILS, TRAIN, "id '101_0' occurs already"),
    "no video": (
        remove(CLIP),
        FAILS,
        "videos",
        r"3 of 4 found.*; 2 .* need missing .* 1 \(00/103\.mp4\) -> put them under",
    ),
    "an empty video": (write(CLIP, ""), FAILS, "videos", r"3 of 4 found.*00/103\.mp4"),
    "flat videos": (
        flatten_the_videos,
        FAILS,
        "videos",
        r"101\.mp4 lies in .*videos itself; the map says that it belongs to 00/",
    ),
    "no videos": (remove("videos"), FAILS, "videos", "0 of 4 found.* -> there is no folder"),
    "unreadable": (UNREADABLE, FAILS, "videos, decoded", r"3 of 4 clips can .*103\.mp4: .* -> get these files again"),
    "a link": (link_outwards, FAILS, TRAIN, "a link that leads out of the video folder"),
    "no reasoning": (remove("reasoning"), FAILS, FILE, "no such file. Generate the reasoning first: notebooks/01_gen"),
    "half the reasoning": (keep(REASONING, 3), FAILS, FILE, "3 of 6 questions have no line, e.g. '102"),
    "a refusal": (refuse_a_question, OK, FILE, r"5 of 6 .*1 without an answer; 80\.0 % .*jsonl says"),
    "damaged reasoning": (
        edit(REASONING, "{", "[1, 2]\n{"),
        FAILS,
        FILE,
        "line 1: expected a JSON object, got a list of 2 values",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_line_with_a_remedy(name, root, capsys):
    fault, state, what, message = FAULTS[name]
    fault(root)
    found = rows()
    line = found[what]
    assert line.state == state and re.search(message, f"{line.found} -> {line.remedy}"), line
    assert check.show(found.values()) == int(state == FAILS) and what in capsys.readouterr().out
    assert (FAILS in {row.state for row in found.values()}) == (state == FAILS)


def test_every_clip_is_decoded_if_asked(root):
    UNREADABLE(root)
    assert rows(decode_all=True)["videos, decoded"].found.startswith("3 of 4 clips can be read; ")


def test_unreadable_videos_may_be_skipped(root):
    UNREADABLE(root)
    remove("videos/00/102.mp4")(root)
    found = rows(replace(CONFIG, skip_missing=True))
    assert found["videos"].state == found["videos, decoded"].state == NOTE


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
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.slow
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
    assert line.state == FAILS and "files are missing: 1 (model-00002-of-00002.safetensors)" in line.found
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


# --- the command line -------------------------------------------------------------------------------------------------


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
    for wrong in (["--scale", "huge"], ["--dataset", "coco"]):
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


def test_official_counts_in_the_files(shared):
    for row in official():
        dataset, split = row["dataset"], row["split"]
        if (dataset, split) in (("nextqa", "val"), ("intentqa", "val"), ("star", "test")):
            samples = load(dataset, split, shared / dataset)
            found = len(samples), len({sample.video for sample in samples})
            assert found == (int(row["questions"]), int(row["videos"])) and row["verified"] == "yes"


# --- a cache of the hub that is filled in part ------------------------------------------------------------------------

ASK = """
import json
from reasvqa.companion.check import weights
print(json.dumps({name: vars(row) for name in "abcde" for row in [weights(f"someone/{name}", "student")]}))
"""


@pytest.mark.slow
def test_a_cache_that_is_filled_in_part(tmp_path):
    """A download that broke off: what is missing is named; nothing is asked of the network."""
    whole = Path(shutil.copytree(STUDENTS["mini-blip2"], tmp_path / "whole"))
    (whole / "model.safetensors").unlink()
    load_student("mini-blip2").model.save_pretrained(whole, max_shard_size="2MB")
    shards = sorted(path.name for path in whole.glob("model-*.safetensors"))
    assert len(shards) > 2
    without = {"a": {"config.json", "preprocessor_config.json", "model.safetensors.index.json", *shards}}
    without |= {"b": set(shards[1:2]), "c": {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}}
    without |= {"d": {"config.json"}, "e": set()}
    for name, left_out in without.items():
        folder = tmp_path / "hub" / f"models--someone--{name}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        shutil.copytree(whole, folder / "snapshots" / ("0" * 40), ignore=shutil.ignore_patterns(*left_out))
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys("abcd", FAILS) | {"e": OK}
    assert rows["a"]["found"] == "not in the hub's cache"
    assert rows["b"]["found"] == f"some of its files are missing: 1 ({shards[1]})"
    assert rows["c"]["found"].startswith("its tokenizer does not work:")
    assert rows["d"]["found"] == "some of its files are missing: 1 (config.json)"
    assert all(f"hf download someone/{name}" in rows[name]["remedy"] for name in "abcd")
