"""Where things lie. Nothing else in the library knows a folder's name.

$REASVQA_DATA                 the data root; without it data/ of a checkout, else reasvqa-data/ in the current folder
    <dataset>/                annotations, videos/, reasoning/<generator>.jsonl
    runs/<key>/               finished runs
    exports/<key>/            runs as peft or transformers read them
    checked/<dataset>.jsonl   which clips were found to be readable
    features/                 what frozen vision encoders made of clips
    reproduced/<scale>/       executed notebooks
    figures/<scale>/          tables and figures of your own settings, and all of other scales than mini
figures/ of a checkout        the complete tables and figures of mini scale
"""

from __future__ import annotations

import os
from pathlib import Path

from reasvqa.config import folder_of

_PACKAGE = Path(__file__).parent
# A checkout has the notebooks beside the package. An installed copy carries what ships (data/paper, data/mini) inside
# itself.
CHECKOUT: Path | None = _PACKAGE.parent if (_PACKAGE.parent / "notebooks").is_dir() else None
SHIPPED = CHECKOUT / "data" if CHECKOUT else _PACKAGE / "shipped"
PAPER_NUMBERS = SHIPPED / "paper"
OFFICIAL_COUNTS = SHIPPED / "official.csv"
FIRST_LOOK = SHIPPED / "mini" / "first_look.csv"  # the ledger as it first stood


def data() -> Path:
    """The data root: what is the user's, and everything that is made from it."""
    chosen = os.environ.get("REASVQA_DATA")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return CHECKOUT / "data" if CHECKOUT else Path.cwd() / "reasvqa-data"


def dataset(name: str) -> Path:
    """A data set's folder, unless the caller names another."""
    return data() / folder_of(name)


def reasoning(root: Path, generator: str, kind: str = "reasoning") -> Path:
    """What a generator wrote about the training questions of the data set in `root`.

    kind: "reasoning", "brief_caption" or "detailed_caption".
    """
    return root / "reasoning" / (f"{generator}.jsonl" if kind == "reasoning" else f"{generator}-{kind}.jsonl")


def runs() -> Path:
    """The run store."""
    return data() / "runs"


def exports() -> Path:
    """Runs as others read them, unless they go elsewhere."""
    return data() / "exports"


def checked(dataset: str) -> Path:
    """Which clips of a data set `reasvqa.companion.check` has read."""
    return data() / "checked" / f"{dataset}.jsonl"


def features() -> Path:
    """The caches of visual features."""
    return data() / "features"


def reproduced(scale: str) -> Path:
    """Executed copies of the notebooks."""
    return data() / "reproduced" / scale


def figures(scale: str) -> Path:
    """Return the folder of a scale's complete tables and figures: `figures/` of a checkout at mini scale, else
    `own_figures`."""
    return CHECKOUT / "figures" if CHECKOUT and scale == "mini" else own_figures(scale)


def own_figures(scale: str) -> Path:
    """Return the folder, under the data root, of what your own settings draw; it never replaces a complete result."""
    return data() / "figures" / scale


def records() -> Path:
    """The runs that figures and tables of mini scale were made of, without their weights."""
    return figures("mini") / "runs.tar.xz"


def book(scale: str) -> Path:
    """The book: executed notebooks as pages, beside the figures and tables that they saved."""
    return figures(scale) / "book"


def mini_student(name: str) -> Path:
    """A student of the miniature, as it ships."""
    return SHIPPED / "mini" / name


def notebooks() -> Path:
    """The notebooks.

    Raises:
        FileNotFoundError: this is an installed copy; they come with a checkout.
    """
    if CHECKOUT is None:
        raise FileNotFoundError(
            "the notebooks are part of a checkout of reasvqa, not of an installed copy; clone the project"
        )
    return CHECKOUT / "notebooks"
