"""Read NExT-QA (Xiao et al., 2021): {train,val,test}.csv, map_vid_vidorID.json, ATP-hard list (Buch et al., 2022).

Columns of the CSV: video,frame_count,width,height,question,answer,qid,type,a0..a4. The videos are VidOR's; the map
gives their folders: "3238737531" -> "1164/3238737531".

IntentQA (Li et al., 2023) asks about NExT-QA's videos, in CSV files with the column `video_id` for `video`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from reasvqa.datasets import base
from reasvqa.samples import INTENT_GROUPS, NEXTQA_GROUPS, Sample
from reasvqa.validation import one_of, shortened

OPTIONS = tuple(f"a{i}" for i in range(5))


def load(root: Path, split: str) -> base.Samples:
    """See `reasvqa.datasets.load`. "atp-hard" has the rows of val.csv that atp-hard-ct4.txt lists, 0-based."""
    one_of("split", split, ("train", "val", "test", "atp-hard"))
    name = "val" if split == "atp-hard" else split
    path = base.annotation_file(root, f"{name}.csv", "Put NExT-QA's annotation files into this folder.")
    map_path = base.annotation_file(root, "map_vid_vidorID.json", "It maps NExT-QA's video ids to VidOR's folders.")
    folders = base.read_map(map_path)

    def video(name: str, where: str) -> str:
        if name not in folders:
            problem = f"{shortened(name)} is not in {map_path.name}"
            raise base.DataError(f"{where}: {problem}. Use the map of the same release.")
        return base.safe_path(f"{folders[name]}.mp4", f"{map_path}, entry {name!r}")

    samples = samples_of_csv(path, "video", NEXTQA_GROUPS, video)
    if split == "atp-hard":
        samples = [samples[i] for i in atp_hard_rows(root, len(samples))]
    return base.Samples(samples, root / "videos")


def load_intentqa(root: Path, split: str) -> base.Samples:
    """See `reasvqa.datasets.load`. Without map_vid_vidorID.json beside the CSV files, a video is
    videos/<video_id>.mp4."""
    one_of("split", split, ("train", "val", "test"))
    path = base.annotation_file(root, f"{split}.csv", "Put IntentQA's annotation files into this folder.")
    map_path = root / "map_vid_vidorID.json"
    folders = base.read_map(map_path) if map_path.is_file() else {}

    def video(name: str, where: str) -> str:
        return base.safe_path(f"{folders.get(name, name)}.mp4", where)

    return base.Samples(samples_of_csv(path, "video_id", INTENT_GROUPS, video), root / "videos")


def samples_of_csv(
    path: Path, id_column: str, groups: Mapping[str, str], video: Callable[[str, str], str]
) -> list[Sample]:
    """Read a CSV in NExT-QA's form, or raise DataError. An unlabelled split lacks all answers, which become None.

    Args:
        id_column: the name of the column with the video's id.
        groups: the group of each question type.
        video: (video id, place in the file) -> path.
    """
    columns = (id_column, "question", "qid", "type", *OPTIONS)
    rows = list(base.read_table(path, columns, {"type": groups}))
    labelled = any(row.get("answer", "").strip() for _, row in rows)
    placed = []
    for place, row in rows:
        where = f"{path}, {place}"
        base.check_filled(where, row, columns)
        name, kind = row[id_column], row["type"].strip()
        answer = base.integer(row["answer"], len(OPTIONS), f"{where}, column answer") if labelled else None
        file, options = video(name, f"{where}, column {id_column}"), tuple(row[option] for option in OPTIONS)
        id, question = f"{name}_{row['qid']}", row["question"]
        placed.append((place, Sample(id, file, None, question, options, answer, kind, groups[kind])))
    return base.check_samples(placed, path)


def atp_hard_rows(root: Path, count: int) -> list[int]:
    """Read the 0-based row numbers of val.csv in atp-hard-ct4.txt, one per line, in the file's order."""
    path = base.annotation_file(root, "atp-hard-ct4.txt", "It lists rows of val.csv that no single frame answers.")
    lines = enumerate(base.read_text(path).splitlines(), 1)
    numbers = [base.integer(text, count, f"{path}, line {line}") for line, text in lines if text.strip()]
    if not numbers or len(set(numbers)) < len(numbers):
        problem = "a row number occurs twice" if numbers else "the file holds no row numbers"
        raise base.DataError(f"{path}: {problem}. Download it again.")
    return numbers
