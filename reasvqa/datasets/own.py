"""Read your own questions about your own videos: questions.csv beside a folder `videos`.

Required columns: video (a file in the folder), question, a0, a1, ... up to a9 (2 to 10 options; leave the rest empty),
answer (the right option's letter, A for a0; empty where unknown) and split (train, val or test). Optional: start and
end (seconds of a clip), id, type (any text to group by) and reasoning (an explanation, see `written_reasoning`).

A question without an id gets one: the video's name and a hash of video, clip, question and options. So each response
stays with its question if you add rows, sort them, move them to another split, or correct their labels.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from reasvqa.datasets import base
from reasvqa.samples import LETTERS, Sample
from reasvqa.validation import one_of, shortened

FILE, SPLITS = "questions.csv", ("train", "val", "test")
OPTIONS = tuple(f"a{i}" for i in range(len(LETTERS)))
COLUMNS = ("video", "question", "answer", "split", "a0", "a1")
OPTIONAL = ("start", "end", "id", "type", "reasoning", *OPTIONS[2:])


def load(root: Path, split: str) -> base.Samples:
    """See `reasvqa.datasets.load`. Rows of all splits are checked. A sample's group is its type, or "All"."""
    one_of("split", split, SPLITS)
    rows, path = list(_rows(root)), root / FILE
    base.check_samples([(place, sample) for place, _, sample in rows], path)
    samples = [sample for _, row, sample in rows if row["split"].strip() == split]
    if not samples:
        raise base.DataError(f"{path}, column split: no row has the split {split!r}. Assign some questions to it.")
    return base.Samples(samples, root / "videos")


def written_reasoning(root: Path) -> dict[str, str]:
    """Return the texts in the column `reasoning` by sample id, without empty ones."""
    return {sample.id: text for _, row, sample in _rows(root) if (text := row.get("reasoning", "").strip())}


def _rows(root: Path) -> Iterator[tuple[str, dict[str, str], Sample]]:
    """Yield each row's place ("row 7"), its values and their sample."""
    purpose = f"It holds one question per row, with the columns {', '.join(COLUMNS)}, ..."
    path = base.annotation_file(root, FILE, purpose)
    for place, row in base.read_table(path, COLUMNS, {"split": SPLITS}, OPTIONAL):
        yield place, row, _sample(f"{path}, {place}", row)


def _sample(where: str, row: dict[str, str]) -> Sample:
    base.check_filled(where, row, ("video", "question"))
    texts = [row.get(option, "").strip() for option in OPTIONS]
    count = max((i + 1 for i, text in enumerate(texts) if text), default=0)
    if count < 2 or "" in texts[:count]:
        gap, wanted = OPTIONS[texts.index("")], f"2 to {len(OPTIONS)} options, from a0 on without gaps"
        raise base.DataError(f"{where}, column {gap}: a question needs {wanted}. Fill it in.")
    options = tuple(texts[:count])
    if len({text.casefold() for text in options}) < count:
        raise base.DataError(f"{where}: two options are the same. Make them different, or remove one.")
    letter = row["answer"].strip().upper()
    if letter and letter not in tuple(LETTERS[:count]):
        problem = f"{shortened(row['answer'])} is not a letter from A to {LETTERS[count - 1]}"
        raise base.DataError(f"{where}, column answer: {problem}. Give the right option's letter, or leave it empty.")
    video = base.safe_path(row["video"].strip(), f"{where}, column video")
    clip, question = _clip(where, row), row["question"].strip()
    id = row.get("id", "").strip() or _id(video, clip, question, options)
    answer = LETTERS.index(letter) if letter else None
    kind = row.get("type", "").strip() or "All"
    if kind in ("Total", "Tot"):
        raise base.DataError(f"{where}, column type: {kind!r} is the name of the result over all rows. Use another.")
    return Sample(id, video, clip, question, options, answer, kind, kind)


def _clip(where: str, row: dict[str, str]) -> tuple[float, float] | None:
    start, end = (row.get(column, "").strip() for column in ("start", "end"))
    if not start and not end:
        return None
    if start and end:
        clip = base.seconds(start, f"{where}, column start"), base.seconds(end, f"{where}, column end")
        if clip[0] < clip[1]:
            return clip
    remedy = "Give both in seconds, with start before end, or leave both empty"
    raise base.DataError(f"{where}, columns start and end: {shortened(start)}, {shortened(end)}. {remedy}.")


def _id(video: str, clip: tuple[float, float] | None, question: str, options: tuple[str, ...]) -> str:
    """Return an id with twelve hexadecimal digits of a hash, enough for 100,000 questions about one video."""
    content = json.dumps([video, clip, question, options]).encode()
    return f"{PurePosixPath(video).stem}_{hashlib.sha256(content).hexdigest()[:12]}"
