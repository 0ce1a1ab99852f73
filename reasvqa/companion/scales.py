"""The scales of the companion: at which size, on which data, the paper is rebuilt."""

from typing import Any

SCALES = ("mini", "preview", "smoke", "paper", "small")
OFFICIAL_SCALES = ("small", "paper")  # official data and published models; the others are miniatures
BENCHMARKS = ("nextqa", "star", "intentqa")  # the paper's data sets
# A preview asks the miniature's students the validation questions: the test split stays closed until the ledger is run.
PREVIEW: dict[str, Any] = {"split": "val"}
