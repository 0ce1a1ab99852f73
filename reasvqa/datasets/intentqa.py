"""IntentQA (Li et al., 2023): {train,val,test}.csv, in NExT-QA's form but for `video_id` and the columns action, lemma,
lemma_id.

Its videos are NExT-QA's. Where map_vid_vidorID.json lies beside the CSV files, it gives their folders; else a video is
expected as videos/<video_id>.mp4.
"""

from __future__ import annotations

from pathlib import Path

from reasvqa.datasets.base import Samples, annotation_file, read_map, safe_path, split_name
from reasvqa.datasets.nextqa import samples_of_csv
from reasvqa.samples import INTENT_GROUPS

SPLITS = ("train", "val", "test")


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`."""
    split_name(split, SPLITS, "IntentQA")
    path = annotation_file(root, f"{split}.csv", "IntentQA's annotations belong into this folder.")
    map_path = root / "map_vid_vidorID.json"
    folders = read_map(map_path) if map_path.is_file() else {}

    def video(name: str, place: str) -> str:
        return safe_path(f"{folders.get(name, name)}.mp4", path, f"{place}, column video_id")

    return Samples(samples_of_csv(path, "video_id", INTENT_GROUPS, video), root / "videos")
