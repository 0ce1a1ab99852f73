"""Regenerate the paper: train the runs that are missing and execute the notebooks of its tables and figures.

    reasvqa reproduce                              everything, at mini scale, 3 seeds
    reasvqa reproduce --only figure4 table5        two of them
    reasvqa reproduce --scale preview              everything, with one seed and the validation questions
    reasvqa reproduce --plan                       only print what would be done
    reasvqa reproduce --anew                       also train the runs that come with the repository
    reasvqa reproduce --dask tcp://scheduler:8786  train on other machines that share the data folder

Stop and start it at any time: finished runs and notebooks are kept, and interrupted runs continue.
"""

import argparse
import ast
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.companion.claims import settings_of_claims
from reasvqa.companion.experiments import EXPERIMENTS, SEEDS, all_settings, dataset_name, seeds_at, settings_of
from reasvqa.companion.scales import SCALES
from reasvqa.config import Count, check_seeds
from reasvqa.datasets import DATASETS, DataError, load
from reasvqa.files import write_text
from reasvqa.learning import Run, TrainConfig, records, run_key
from reasvqa.learning.key import videos_seen_once
from reasvqa.learning.training import kept_run, prepare_features, train_quietly
from reasvqa.processes import Workers, cores, finish_all, result_of
from reasvqa.validation import validated

COMMANDS = ("reproduce", "check", "benchmark", "book")  # modules that no table depends on
LEDGER = EXPERIMENTS["controls"].notebook  # whose verdicts the other notebooks repeat


@dataclass
class Plan:
    settings: list[TrainConfig]  # of all runs that are needed, each once
    missing: list[TrainConfig]  # those to train
    unmade: int  # how many of those need data that are not made yet, so that kept runs cannot be found
    shipped: int  # how many came with the repository
    notebooks: list[str]  # to execute
    uses: dict[str, int]  # number of runs by table or figure

    def __str__(self) -> str:
        lines = [f"{name:11s} {count:4d} runs" for name, count in self.uses.items() if count]
        lines.append(
            f"{'together':11s} {sum(self.uses.values()):4d} runs, of which {len(self.settings)} are distinct; "
            f"{len(self.settings) - len(self.missing)} are kept, {len(self.missing) - self.unmade} to train"
        )
        if self.unmade:
            lines.append(f"{self.unmade} need videos that are made first; then the repository's runs are found")
        if self.shipped:
            lines.append(f"{self.shipped} of those kept came with the repository, without weights (--anew: train them)")
        return "\n".join(lines)


def make_plan(scale: str, seeds: Sequence[int], only: Sequence[str], anew: bool = False) -> Plan:
    """Find the runs and notebooks that these tables and figures need, and those of them that are missing.

    `anew` adds all runs that came with the repository, and all notebooks.
    """
    settings = all_settings(scale, seeds, only)
    uses = {name: sum(map(len, settings_of(name, scale, seeds).values())) for name in only}
    if "controls" in only:  # the ledger's notebook
        whole = list(dict.fromkeys(settings + settings_of_claims(scale, seeds)))
        settings, uses["the ledger"] = whole, len(whole) - len(settings)  # rows of left-out tables
    records.names(paths.records())  # fail on a damaged archive
    with videos_seen_once():
        kept = {config: _if_possible(kept_run, config, weights=anew) for config in settings}
        notebooks = list(stale(only, scale, seeds, anew))
    missing = [config for config, run in kept.items() if run is None]
    shipped = sum(run is not None and not run.has_weights for run in kept.values())
    unmade = sum(not _is_made(config.dataset) for config in missing)
    return Plan(settings, missing, unmade, shipped, notebooks, uses)


def _is_made(dataset: str) -> bool:
    return DATASETS[dataset].make is None or (paths.dataset(dataset) / "complete.json").exists()


def _if_possible(function: Callable, config: TrainConfig, **options: Any) -> Any:
    """Return a function of settings, or None: data that are missing or wrong are left for training to report."""
    with suppress(ValueError):
        return function(config, **options) if _is_made(config.dataset) else None


# --- stamps of executed notebooks, which tell when they are out of date -----------------------------------------------


def stale(only: Sequence[str], scale: str, seeds: Sequence[int], anew: bool) -> dict[str, str]:
    """Return the stamps, by name, of those notebooks of tables and figures whose executed copy is missing or out of
    date; of all if `anew`."""
    stamps = {name: stamp_of(name, scale, seeds) for name in (EXPERIMENTS[what].notebook for what in only)}
    kept = {name: paths.reproduced(scale) / f"{name}.stamp" for name in stamps}
    return {
        name: stamp
        for name, stamp in stamps.items()
        if anew or not kept[name].exists() or kept[name].read_text(encoding="utf-8") != stamp
    }


def stamp_of(notebook: str, scale: str, seeds: Sequence[int]) -> str:
    """Hash what can change a notebook's output: its code, parameters and run keys, the ledger whose verdicts it
    repeats, what ships, and the companion's modules but for the commands."""
    cells = json.loads((paths.notebooks() / f"{notebook}.ipynb").read_bytes())["cells"]
    code = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    digest = hashlib.sha256(ast.dump(code).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        if module.stem not in COMMANDS:
            digest.update(_code_without_comments(module).encode())
    shipped = [*paths.PAPER_NUMBERS.rglob("*"), *(paths.SHIPPED / "mini").rglob("*.csv")]
    verdicts = [paths.figures(scale) / "claims.csv"] if notebook != LEDGER else []  # the ledger's notebook writes them
    for file in sorted(filter(Path.is_file, shipped + verdicts)):
        digest.update(file.read_bytes())
    names = [name for name, what in EXPERIMENTS.items() if what.notebook == notebook]
    used = [_if_possible(run_key, config) for config in all_settings(scale, seeds, names)]
    return hashlib.sha256(json.dumps([digest.hexdigest(), scale, list(seeds), used]).encode()).hexdigest()


@cache
def _code_without_comments(file: Path) -> str:
    """Return a module's syntax tree as text: comments, docstrings and layout do not count."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


# --- work, in whatever process or machine -----------------------------------------------------------------------------


def attempt(function: Callable, *arguments: Any) -> str:
    """Call a function in a worker. What goes wrong is returned as text (else ""): not every error can be pickled."""
    try:
        function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def execute(notebook: str, scale: str, seeds: Sequence[int], stamp: str) -> None:
    """Execute one notebook. The executed copy goes to data/reproduced/<scale>/."""
    import papermill

    out = paths.reproduced(scale) / f"{notebook}.ipynb"
    source, partial = paths.notebooks() / out.name, out.with_suffix(".partial.ipynb")
    out.parent.mkdir(parents=True, exist_ok=True)
    parameters: dict[str, object] = {"scale": scale}
    if "seeds" in papermill.inspect_notebook(source):
        parameters["seeds"] = list(seeds)
    try:
        papermill.execute_notebook(source, partial, parameters, progress_bar=False, cwd=paths.CHECKOUT)
    except Exception as error:
        raise RuntimeError(f"{str(error).strip().splitlines()[-1]} (see {partial})") from error
    os.replace(partial, out)
    write_text(out.with_suffix(".stamp"), stamp)


def run_all(tasks: dict[str, tuple], submit: Callable[..., Future], bar: tqdm) -> dict[str, str]:
    """Run tasks, by name (function, argument, ...), and return the error of each by its name, "" for none."""
    errors: dict[str, str] = {}
    for name, future in finish_all(submit, {name: (attempt, *task) for name, task in tasks.items()}):
        errors[name] = attempt(result_of, future) or future.result()
        bar.set_postfix_str(name[-60:])
        bar.update()
        if errors[name]:
            bar.write(f"failed: {name}: {errors[name]}", file=sys.stderr)
    return errors


@contextmanager
def local_workers(jobs: int, **environment: str) -> Iterator[Workers]:
    """Start `jobs` worker processes here. Where there are GPUs, each sees one of them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    with tempfile.TemporaryDirectory() as locks:
        turns = [gpus[job % len(gpus)] for job in range(jobs)] if torch.cuda.device_count() else []
        with Workers(jobs, partial(take_gpu, turns, locks), **environment) as workers:
            yield workers


_gpu_locks: list[FileLock] = []  # held until the process ends


def take_gpu(turns: Sequence[str], locks: str) -> None:
    """Let this process see the first GPU of `turns` that no other worker has. One that dies gives its GPU back."""
    for turn, gpu in enumerate(turns):
        lock = FileLock(Path(locks) / str(turn))
        with suppress(Timeout):
            lock.acquire(blocking=False)
            _gpu_locks.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return


# --- running it all ---------------------------------------------------------------------------------------------------


def reproduce(
    scale: str, only: Sequence[str], seeds: Sequence[int], jobs: int | None, dask: str | None, anew: bool
) -> dict[str, str]:
    """Train the missing runs of these tables and figures and execute their notebooks; the arguments are the command's
    options. Return the error of each, by its name; "" for none.

    The workers of Dask need this package and the same data folder. The notebooks are executed here.
    """
    jobs, began = jobs or torch.cuda.device_count() or cores(), time.time()
    for dataset in dict.fromkeys(d for name in only for d in EXPERIMENTS[name].datasets):
        load(dataset_name(scale, dataset), "train")  # a miniature is made on first use, once, before its runs
    plan = make_plan(scale, seeds, only, anew)
    print(plan)
    submit = None
    if dask:
        from distributed import Client

        submit = Client(dask).get_executor(pure=False).submit
    prepare_features(plan.missing)
    threads = max(1, cores() // jobs)
    tasks = {config.label: (train_quietly, config, anew, threads) for config in plan.missing}
    errors: dict[str, str] = {}
    if tasks:
        bar = tqdm(total=len(tasks), desc="runs", unit="run", smoothing=0.05)
        with bar, local_workers(jobs, TQDM_DISABLE="1") as workers:  # started when something is submitted to them
            errors |= run_all(tasks, submit or workers.submit, bar)
    ledger = [name for name in only if EXPERIMENTS[name].notebook == LEDGER]  # the others repeat its verdicts
    for part in (ledger, [name for name in only if name not in ledger]):
        if stamps := stale(part, scale, seeds, anew):
            tasks = {name: (execute, name, scale, list(seeds), stamp) for name, stamp in stamps.items()}
            with tqdm(total=len(tasks), desc="notebooks", unit="notebook") as bar, local_workers(jobs) as workers:
                errors |= run_all(tasks, workers.submit, bar)
    whole = (scale, set(only), list(seeds)) == ("mini", set(EXPERIMENTS), list(SEEDS))
    if whole and not any(errors.values()):
        runs = {key: Run(paths.runs() / key) for key in map(run_key, plan.settings)}
        if plan.missing or records.names(paths.records()) != set(runs):
            records.pack(list(runs.values()), paths.records())
    if not errors:
        print("nothing to do: all runs and notebooks are there")
        return errors
    minutes, failed = (time.time() - began) / 60, {name: error for name, error in errors.items() if error}
    print(f"{len(errors) - len(failed)} done, {len(failed)} failed, in {minutes:.1f} min; {jobs} at a time")
    print(*(f"  failed: {name}: {error}\n" for name, error in failed.items()), sep="", end="")
    return errors


def main(arguments: Sequence[str] | None = None) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("reasvqa reproduce", description=__doc__, formatter_class=formatter)
    names, add = list(EXPERIMENTS), parser.add_argument
    add("--scale", choices=SCALES, default="mini")
    add("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}")
    add("--seeds", nargs="+", type=int, help=f"default: {' '.join(map(str, SEEDS))}; of a preview: 0")
    add("--jobs", type=int, help="processes at a time (default: one per GPU, or per core without)")
    add("--dask", metavar="ADDRESS", help="train on the workers of this Dask scheduler")
    add("--anew", action="store_true", help="also train the runs that come with the repository")
    add("--plan", action="store_true", help="only print what would be done")
    given = parser.parse_args(arguments)
    try:
        given.seeds = check_seeds(given.seeds or seeds_at(given.scale))
        validated("jobs", TypeAdapter(Count | None), given.jobs)
    except ValueError as error:
        parser.error(str(error))
    if given.plan:
        plan = make_plan(given.scale, given.seeds, given.only, given.anew)
        print(plan, f"notebooks: {', '.join(plan.notebooks) or 'none'}", sep="\n")
        return 0
    try:
        errors = reproduce(given.scale, given.only, given.seeds, given.jobs, given.dask, given.anew)
    except DataError as error:
        print(error, file=sys.stderr)  # it says what is missing and where it comes from
        return 1
    return int(any(errors.values()))
