"""NExT-QA (Xiao et al., 2021): {train,val,test}.csv, map_vid_vidorID.json, and the ATP-hard list (Buch et al., 2022).

Format of the CSV: video,frame_count,width,height,question,answer,qid,type,a0..a4. The videos come from VidOR, whose
folders the map gives: "3238737531" -> "1164/3238737531".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reasvqa.datasets.base import (
    DataError,
    Samples,
    annotation_file,
    check_filled,
    check_samples,
    read_map,
    read_table,
    read_text,
    safe_path,
    shown,
    split_name,
    whole_number,
)
from reasvqa.samples import GROUPS, Sample

SPLITS = ("train", "val", "test", "atp-hard")
TYPES = ("CW", "CH", "TN", "TP", "TC", "DC", "DL", "DO")
OPTIONS = tuple(f"a{i}" for i in range(5))


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`. "atp-hard" has the rows of val.csv that atp-hard-ct4.txt lists, 0-based."""
    split_name(split, SPLITS, "NExT-QA")
    name = "val" if split == "atp-hard" else split
    path = annotation_file(root, f"{name}.csv", "NExT-QA's annotations belong into this folder.")
    map_path = annotation_file(root, "map_vid_vidorID.json", "It maps NExT-QA's video ids to VidOR's folders.")
    folders = read_map(map_path)

    def video(name: str, place: str) -> str:
        if name not in folders:
            raise DataError(
                f"{path}, {place}, column video: {shown(name)} is not in {map_path.name}. Use the map of the same "
                "release."
            )
        return safe_path(f"{folders[name]}.mp4", map_path, f"entry {name!r}")

    samples = samples_of_csv(path, "video", {name: GROUPS[name] for name in TYPES}, video)
    if split == "atp-hard":
        samples = [samples[i] for i in atp_hard_rows(root, len(samples))]
    return Samples(samples, root / "videos")


def samples_of_csv(
    path: Path, id_column: str, groups: Mapping[str, str], video: Callable[[str, str], str]
) -> list[Sample]:
    """Read a CSV in NExT-QA's form, which IntentQA shares but for the name of its first column.

    Answers may be missing on an unlabelled split: then all are None.

    Args:
        groups: by question type, its group.
        video: (video id, place) -> path.
    """
    columns = (id_column, "question", "qid", "type", *OPTIONS)
    rows = list(read_table(path, columns, choices={"type": groups}))
    labelled = any(row.get("answer", "").strip() for _, row in rows)
    placed = []
    for number, row in rows:
        place = f"row {number}"
        check_filled(path, place, row, columns)
        answer = whole_number(row["answer"], len(OPTIONS), path, f"{place}, column answer") if labelled else None
        options = tuple(row[option] for option in OPTIONS)
        name, kind = row[id_column], row["type"].strip()
        sample = Sample(
            f"{name}_{row['qid']}", video(name, place), None, row["question"], options, answer, kind, groups[kind]
        )
        placed.append((place, sample))
    return check_samples(placed, path)


def atp_hard_rows(root: Path, count: int) -> list[int]:
    """Read the 0-based row numbers of val.csv in atp-hard-ct4.txt, one a line, in the file's order."""
    path = annotation_file(root, "atp-hard-ct4.txt", "It lists the rows of val.csv that one frame cannot answer.")
    lines = enumerate(read_text(path).splitlines(), 1)
    numbers = [whole_number(text, count, path, f"line {line}") for line, text in lines if text.strip()]
    if len(set(numbers)) != len(numbers):
        raise DataError(f"{path}: a row number occurs twice. Download the file again.")
    if not numbers:
        raise DataError(f"{path}: the file holds no row numbers. Download it again.")
    return numbers
