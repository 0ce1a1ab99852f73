"""What a reasoning is good for, asked by taking something away from it. Settings: `TrainConfig.control`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from reasvqa.refinement import STOP_WORDS
from reasvqa.samples import Sample


def swapped(responses: pd.DataFrame, samples: Sequence[Sample]) -> pd.DataFrame:
    """Every question with the response to another question of its type, as right or wrong as its own, mostly about another video.
    Words, style, length and correctness stay as they are; only the tie to the video is cut.

    Args:
        responses: of `read_reasoning`, a row for each of `samples`.
    """
    table = responses.set_index("id").loc[[sample.id for sample in samples]]
    correct = table["correct"].fillna(False).to_numpy(dtype=bool)
    groups: dict[tuple, list[int]] = {}
    for row, sample in enumerate(samples):
        groups.setdefault((sample.type, bool(correct[row])), []).append(row)
    rng, source = np.random.default_rng(0), np.arange(len(samples))
    for rows in groups.values():
        order = rng.permutation(rows)
        # Turning a random order by half its length gives everybody somebody else, three questions a video notwithstanding.
        source[order] = np.roll(order, max(1, len(order) // 2))
    return table.assign(response=table["response"].to_numpy()[source]).reset_index()


def shuffled_words(text: str, id: str) -> str:
    """The same words in random order, the same for the same sample id."""
    words = text.split()
    return " ".join(words[i] for i in np.random.default_rng(list(id.encode())).permutation(len(words)))


def key_words(text: str) -> str:
    """The words that carry content, in their order, each once."""
    words = re.findall(r"[^\W_]+", text)
    return " ".join(dict.fromkeys(word for word in words if word.lower() not in STOP_WORDS))
