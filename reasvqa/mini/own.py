"""An example of a user's own data, for `notebooks/50_your_own_data.ipynb`: a few videos and a questions.csv."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np

from reasvqa.datasets.own import OPTIONS
from reasvqa.mini.render import write_video
from reasvqa.mini.world import OBJECTS, make_story, past, present
from reasvqa.samples import LETTERS

# Questions about three real clips, where these are at hand: video, (start, end) or None, type, question, options, the
# right one, split, and a reasoning in the words of somebody who looked at a few frames. One of them concludes wrongly,
# as a model's might.
_REAL = {
    "pancake": "flipping_a_pancake.mkv",
    "telescope": "nasa_13013.mp4",
    "keyboard": "video_0.mov",
}
_QUESTIONS = [
    (
        "pancake",
        None,
        "What",
        "What is the woman holding?",
        ("A pan.", "A guitar."),
        "A",
        "train",
        "The woman stands in a kitchen. She holds a black pan with a pancake in it. Therefore, the answer is A.",
    ),
    (
        "pancake",
        None,
        "What",
        "What does the woman do with the pancake?",
        ("She eats it.", "She flips it.", "She sells it."),
        "B",
        "train",
        "The woman moves the pan up. The pancake leaves the pan for a moment. It turns over and lands. "
        "The correct answer is B.",
    ),
    (
        "pancake",
        None,
        "Where",
        "Where does this happen?",
        ("In a garden.", "In a kitchen.", "On a street.", "On a beach."),
        "B",
        "train",
        "Behind the woman there are wooden cupboards and a coffee machine. Somebody sits at a table. "
        "So the answer is B.",
    ),
    (
        "pancake",
        None,
        "What",
        "What is the pattern of her sweater?",
        ("Stripes.", "Dots.", "Flowers.", "Squares.", "None."),
        "A",
        "test",
        "",
    ),
    (
        "telescope",
        None,
        "What",
        "What colour is the lift?",
        ("Red.", "Green.", "Blue."),
        "A",
        "train",
        "A person stands in a red lift in front of a large mirror. The room is dark. ###Answer: A",
    ),
    (
        "telescope",
        None,
        "What",
        "What shape do the parts of the mirror have?",
        ("Hexagons.", "Circles.", "Triangles.", "Stars."),
        "A",
        "train",
        "The mirror is made of many parts. Their edges meet in threes. They look round from afar. "
        "Therefore, the answer is B.",
    ),
    (
        "telescope",
        None,
        "What",
        "What does the person wear?",
        (
            "A white suit.",
            "A red dress.",
            "A black hat.",
            "A blue coat.",
            "A green shirt.",
            "Shorts.",
            "A swimsuit.",
            "A tie.",
            "A scarf.",
            "A towel.",
        ),
        "A",
        "train",
        "Close to the mirror a person is seen from the side. A white suit with a hood covers head and body. "
        "The answer is A.",
    ),
    ("telescope", None, "Where", "Where is the person?", ("In a boat.", "On a lift.", "On a horse."), "B", "test", ""),
    (
        "keyboard",
        None,
        "What",
        "What colour is the dot between the keys?",
        ("Red.", "White.", "Yellow."),
        "A",
        "train",
        "The picture shows a black keyboard. There is a red dot between G, H and B. Therefore, the answer is A.",
    ),
    (
        "keyboard",
        (0.0, 1.0),
        "What",
        "What is shown?",
        ("A keyboard.", "A piano."),
        "A",
        "train",
        "There are many black keys with letters on them. A piano has no letters. The correct answer is A.",
    ),
    ("keyboard", None, "Does", "Does anything move?", ("Yes.", "No."), "B", "test", ""),
]


def make_example(folder: Path, clips: Path | None) -> Path:
    """Writes an example of a user's own data to `folder`: questions.csv and videos. Returns the folder.

    Args:
        clips: a folder with three real clips; where it is None or lacks one, clips of the miniature are drawn.
    """
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    if clips is not None and all((clips / name).is_file() for name in _REAL.values()):
        for name in _REAL.values():
            shutil.copyfile(clips / name, folder / "videos" / name)
        rows = [(_REAL[video], *rest) for video, *rest in _QUESTIONS]
    else:
        rows = _drawn(folder / "videos")
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "start", "end", "type", "question", *OPTIONS, "answer", "split", "reasoning"])
        for video, clip, kind, question, options, letter, split, reasoning in rows:
            writer.writerow(
                [
                    video,
                    *(clip or ("", "")),
                    kind,
                    question,
                    *options,
                    *[""] * (len(OPTIONS) - len(options)),
                    letter,
                    split,
                    reasoning,
                ]
            )
    return folder


def _drawn(videos: Path) -> list[tuple]:
    """Rows like those of the real clips, about twelve clips of the miniature, with 2 to 10 options; every fourth
    reasoning is wrong."""
    rng, rows = np.random.default_rng(50), []
    for i in range(12):
        story = make_story(rng, f"OWN{i:02d}", seen=4)
        write_video(story, videos / f"{story.id}.mp4")
        event = story.seen[int(rng.integers(4))]
        others = [
            name
            for name in rng.permutation(list(OBJECTS))
            if name not in {e.object for e in story.seen if e.verb == event.verb}
        ]
        options = [event.object, *others[: 1 + i % 9]]
        rng.shuffle(options)
        right = options.index(event.object)
        told = (right + 1) % len(options) if i % 4 == 3 else right
        seen = [f"The {story.person} {present(e.verb)} the {e.object}." for e in story.seen]
        reasoning = " ".join([*seen, f"Therefore, the answer is {LETTERS[told]}."]) if i < 9 else ""
        question = f"Which object was {past(event.verb)} by the {story.person}?"
        rows.append(
            (
                f"{story.id}.mp4",
                None,
                "Which",
                question,
                tuple(f"The {name}." for name in options),
                LETTERS[right],
                "train" if i < 9 else "test",
                reasoning,
            )
        )
    return rows
