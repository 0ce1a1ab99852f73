"""The command line: `reasvqa reproduce | check | benchmark | book`, also as `python -m reasvqa`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

import reasvqa

COMMANDS = {
    "reproduce": "train the missing runs and execute the notebooks of the paper's tables and figures",
    "check": "list what a run needs and does not have: data, reasoning, weights, disk, memory",
    "benchmark": "measure training throughput and memory against the reference recipe",
    "book": "build the notebooks and their stored results into a website; execute notebooks in place",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with the arguments that follow its name and return its exit status.

    A command is `main(arguments)` of the module of its name in `reasvqa.companion`. Only that module is imported.
    """
    parser = argparse.ArgumentParser(prog="reasvqa", description=reasvqa.__doc__)
    parser.add_argument("--version", action="version", version=reasvqa.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        commands.add_parser(name, help=help_text, add_help=False)  # the command has a --help of its own
    given, rest = parser.parse_known_args(arguments)
    return importlib.import_module(f"reasvqa.companion.{given.command}").main(rest)


if __name__ == "__main__":
    sys.exit(main())
