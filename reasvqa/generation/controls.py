"""Controls: reasoning from which one property is removed. Settings: `TrainConfig.control`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reasvqa.samples import Sample


def swapped(responses: pd.DataFrame, samples: Sequence[Sample]) -> pd.DataFrame:
    """Give each question the response to another question of its type and correctness. The result is deterministic.

    The other question is about another video, unless one video has more than half of these questions. Words, style,
    length and correctness stay; only the tie to the video is cut. `responses`: see `read_reasoning`, a row for each of
    `samples`; empty ones, of questions without an answer, stay where they are.
    """
    table = responses.set_index("id").loc[[sample.id for sample in samples]].reset_index()
    keys = pd.DataFrame(
        {
            "type": [sample.type for sample in samples],
            "correct": table["correct"].fillna(False).to_numpy(dtype=bool),
            "answered": (table["response"] != "").to_numpy(dtype=bool),
            "video": [sample.video for sample in samples],
        }
    )
    rng, source = np.random.default_rng(0), np.arange(len(samples))
    for _, group in keys.groupby(["type", "correct", "answered"]):
        # In a random order that keeps a video's questions together, roll by the largest number of questions on one
        # video, so that nobody gets a response about the same video.
        videos, counts = np.unique(group["video"], return_inverse=True, return_counts=True)[1:]
        order = group.index.to_numpy()[np.lexsort([rng.random(len(group)), rng.permutation(len(counts))[videos]])]
        source[order] = np.roll(order, max(1, min(counts.max(), len(order) // 2)))
    return table.assign(response=table["response"].to_numpy()[source])


def shuffled_words(text: str, id: str) -> str:
    """Return the words of a text in random order; the order depends on the sample's id only."""
    words = text.split()
    return " ".join(words[i] for i in np.random.default_rng(list(id.encode())).permutation(len(words)))
