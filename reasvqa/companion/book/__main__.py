"""The book: `python -m reasvqa.companion.book` makes figures/book/, pages to read without running anything.

    python -m reasvqa.companion.book                        at mini scale: trains and executes what is missing or out of date
    python -m reasvqa.companion.book --preview              of one seed and the validation questions
    python -m reasvqa.companion.book --output DIR           somewhere else; links to downloads lead to figures/

It goes on where it was stopped. The tables' and figures' notebooks are executed by `reasvqa.companion.reproduce`, the others one
after the other: one of them measures time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reasvqa import paths
from reasvqa.companion.book.binding import BookError, write
from reasvqa.companion.experiments import EXPERIMENTS
from reasvqa.companion.reproduce import execute_all, options, parse, reproduce
from reasvqa.companion.stamps import stale
from reasvqa.datasets import DataError


def main() -> int:
    parser = options("book", __doc__)
    parser.add_argument("--output", type=Path, help="the folder of the pages (default: book/ beside the figures)")
    given = parse(parser)
    try:
        outcomes = reproduce(given.scale, tuple(EXPERIMENTS), given.seeds, given.jobs, given.dask)
        names = sorted(path.stem for path in paths.notebooks().glob("*.ipynb"))
        shown = {what.notebook for what in EXPERIMENTS.values()}
        others = stale([name for name in names if name not in shown], given.scale, given.seeds)
        outcomes += execute_all(others, given.scale, given.seeds, jobs=1)
        if any(outcome.error for outcome in outcomes):
            print("no book: not every notebook could be executed (see above)", file=sys.stderr)
            return 1
        copies = {name: paths.reproduced(given.scale) / f"{name}.ipynb" for name in names}
        print(write(copies, given.scale, given.output, given.seeds))
    except (BookError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
