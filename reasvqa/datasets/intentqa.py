"""Read IntentQA (Li et al., 2023): {train,val,test}.csv in NExT-QA's form, with the column `video_id` for `video`.

Its videos are NExT-QA's. If map_vid_vidorID.json lies beside the CSV files, it gives their folders; otherwise a video
is videos/<video_id>.mp4.
"""

from pathlib import Path

from reasvqa.datasets.base import Samples, annotation_file, read_map, safe_path
from reasvqa.datasets.nextqa import samples_of_csv
from reasvqa.samples import INTENT_GROUPS
from reasvqa.validation import one_of


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`."""
    one_of("split", split, ("train", "val", "test"))
    path = annotation_file(root, f"{split}.csv", "Put IntentQA's annotation files into this folder.")
    map_path = root / "map_vid_vidorID.json"
    folders = read_map(map_path) if map_path.is_file() else {}

    def video(name: str, where: str) -> str:
        return safe_path(f"{folders.get(name, name)}.mp4", where)

    return Samples(samples_of_csv(path, "video_id", INTENT_GROUPS, video), root / "videos")
