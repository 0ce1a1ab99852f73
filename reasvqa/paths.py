"""Where files lie. No other module knows the name of a folder.

$REASVQA_DATA                 the data root; default: data/ of a checkout, else reasvqa-data/ in the current folder
    <dataset>/                annotations, videos/, reasoning/<generator>.jsonl
    runs/<key>/               finished runs
    exports/<key>/            runs as peft or transformers read them
    features/                 outputs of frozen vision encoders
    reproduced/<scale>/       executed notebooks
    book/                     the notebooks as a website
    figures/<scale>/          tables and figures of your own settings, and all of other scales than mini
figures/ of a checkout        the complete tables and figures of mini scale
"""

import os
from pathlib import Path

from reasvqa.registry import DATASETS

_PACKAGE = Path(__file__).parent
# A checkout has the notebooks beside the package. An installed copy carries what ships (data/paper, data/mini) inside.
CHECKOUT: Path | None = _PACKAGE.parent if (_PACKAGE.parent / "notebooks").is_dir() else None
SHIPPED = CHECKOUT / "data" if CHECKOUT else _PACKAGE / "shipped"
PAPER_NUMBERS = SHIPPED / "paper"
OFFICIAL_COUNTS = SHIPPED / "official.csv"


def data() -> Path:
    """Return the data root: the user's files, and everything that is made from them."""
    chosen = os.environ.get("REASVQA_DATA")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return CHECKOUT / "data" if CHECKOUT else Path.cwd() / "reasvqa-data"


def dataset(name: str) -> Path:
    """Return the default folder of a data set; one that is not registered has its name."""
    row = DATASETS.get(name)
    return data() / (row.folder if row and row.folder else name)


def reasoning(root: Path, generator: str, kind: str = "reasoning") -> Path:
    """Return the file of a generator's responses (kind: see `build_prompt`) to the data set in `root`."""
    return root / "reasoning" / (f"{generator}.jsonl" if kind == "reasoning" else f"{generator}-{kind}.jsonl")


def runs() -> Path:
    return data() / "runs"


def exports() -> Path:
    return data() / "exports"


def features() -> Path:
    return data() / "features"


def reproduced(scale: str) -> Path:
    return data() / "reproduced" / scale


def figures(scale: str) -> Path:
    """Return the folder of a scale's complete tables and figures."""
    return CHECKOUT / "figures" if CHECKOUT and scale == "mini" else own_figures(scale)


def own_figures(scale: str) -> Path:
    """Return the folder, under the data root, of what your own settings draw; it never replaces a complete result."""
    return data() / "figures" / scale


def records() -> Path:
    """Return the archive of the runs behind the figures of the scale "mini"; they have no weights."""
    return figures("mini") / "runs.tar.xz"


def book() -> Path:
    return data() / "book"


def notebooks() -> Path:
    """Return the folder of the notebooks; raise FileNotFoundError in an installed copy."""
    if CHECKOUT is None:
        raise FileNotFoundError("an installed copy of reasvqa has no notebooks; clone the project")
    return CHECKOUT / "notebooks"
