"""Before a run starts, list what it needs and what is missing: data, reasoning, weights, disk, memory.

    reasvqa check --scale paper                          the three benchmarks
    reasvqa check --scale paper --dataset nextqa --all   decode every clip, not a sample

The command only reads files; it downloads nothing. The exit status is 1 if a run would fail.
"""

import argparse
import json
import random
import shutil
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import transformers
from tqdm import tqdm

from reasvqa import hub, paths
from reasvqa.companion import full_size
from reasvqa.companion.experiments import config_of
from reasvqa.companion.scales import BENCHMARKS, SCALES
from reasvqa.config import TrainConfig
from reasvqa.datasets import DATASETS, DataError, Samples, load, official
from reasvqa.generation import ReasoningError, read_reasoning
from reasvqa.generation.reasoning import failures_path
from reasvqa.learning.features import dtype_of, feature_bytes
from reasvqa.preprocess import Preprocess
from reasvqa.students import FAMILIES, STUDENTS, Student
from reasvqa.video import VideoError, read_many

SAMPLE_SIZE = 24  # clips of a data set that are decoded without --all
OK, NOTE, FAILS = "ok", "note", "FAILS"  # present; worth knowing; a run would fail


@dataclass(frozen=True)
class Row:
    """One line of the table: what was looked at, its state, what was found, and the remedy."""

    state: str
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.found} -> {self.remedy}" if self.remedy else self.found
        lines = textwrap.wrap(text, 82, break_long_words=False, break_on_hyphens=False)
        return f"{self.state:<6} {self.what:<30} " + f"\n{'':<38}".join(lines)


def check(configs: Sequence[TrainConfig], decode_all: bool = False, generator: str | None = None) -> Iterator[Row]:
    """Yield the rows of the table as they are found. configs: resolved settings of one student, one a data set.
    generator: a name, or a hub id or a folder, whose weights are looked for."""
    yield weights(configs[0].student, "student")
    yield memory(configs[0])
    if generator is not None and "/" in generator:
        yield weights(generator, "generator")
    for config in configs:
        root = paths.dataset(config.dataset)
        if not root.exists() and DATASETS[config.dataset].make:
            yield Row(NOTE, config.dataset, "not made yet", "it is made on first use, in about a minute")
            continue
        used: dict[str, Samples] = {}
        yield from annotation_files(config, root, used)
        if used:
            yield from videos(config, used, decode_all)
            yield disk(config, used)
        if config.generator:
            yield reasoning(config, root, used.get("train"))


def annotation_files(config: TrainConfig, root: Path, used: dict[str, Samples]) -> Iterator[Row]:
    """Yield a row for each annotation file of a data set; put the questions that a run uses into `used`, by split."""
    for row in official():
        split, what, official_count = row["split"], f"{config.dataset} {row['file']}", int(row["questions"])
        needed = split in ("train", config.split)
        if row["dataset"] != config.dataset.split("-")[-1]:
            continue
        if not (root / row["file"]).is_file() and not needed:
            yield Row(NOTE, what, "not there", "only Table 6 uses it" if split == "atp-hard" else "not needed here")
            continue
        try:
            samples = load(config.dataset, split, root)
        except DataError as error:
            yield Row(FAILS if needed else NOTE, what, str(error))
            continue
        if needed:
            used[split] = samples[: config.questions] if split == "train" else samples
        found, unlabelled = f"{len(samples):,} questions", sum(sample.answer is None for sample in samples)
        if unlabelled and split == "train":
            yield Row(FAILS, what, f"{found}, {unlabelled:,} without an answer", "get the labelled file")
        elif not DATASETS[config.dataset].make and len(samples) != official_count:
            source = "as counted in the published file" if row["verified"] == "yes" else "according to its authors"
            found += f"; the official file has {official_count:,}, {source}"
            yield Row(NOTE, what, found, "check that the file is complete and of the same release")
        else:
            yield Row(OK, what, found)


def videos(config: TrainConfig, splits: dict[str, Samples], decode_all: bool) -> Iterator[Row]:
    """Yield rows about the videos of the splits that a run uses: how many are there, and how many can be decoded."""
    folder, what = next(iter(splits.values())).videos, f"{config.dataset} videos"
    clips = sorted({(s.video, s.clip) for samples in splits.values() for s in samples}, key=str)
    sizes = {video: (folder / video).stat().st_size for video, _ in clips if (folder / video).is_file()}
    absent = sorted({video for video, _ in clips if not sizes.get(video)})  # an empty file counts as missing
    count = len({video for video, _ in clips})
    found = f"{count - len(absent):,} of {count:,} found, {sum(sizes.values()) / 1e9:.1f} GB"
    fault = NOTE if config.skip_missing and count > len(absent) else FAILS
    if absent:
        lost = sum(s.video in absent for samples in splits.values() for s in samples)
        flat = next((Path(name) for name in absent if (folder / Path(name).name).is_file()), None)
        remedy = f"put them under {folder}, see data/README.md; or train with skip_missing=True"
        if flat is not None:
            remedy = f"{flat.name} lies in {folder} itself; the map says that it belongs to {flat.parent}/"
        elif not folder.is_dir():
            remedy = f"there is no folder {folder}; {remedy}"
        yield Row(fault, what, f"{found}; {lost:,} questions need missing videos: {_some(absent)}", remedy)
    else:
        yield Row(OK, what, found)
    present = [clip for clip in clips if clip[0] not in absent]
    if not present:
        return
    chosen = present if decode_all else random.Random(0).sample(present, min(SAMPLE_SIZE, len(present)))
    read = read_many([(folder / video, clip) for video, clip in chosen], config.num_frames)
    read = tqdm(read, total=len(chosen), unit="clip", disable=not decode_all)
    errors = [str(frames) for frames in read if isinstance(frames, VideoError)]
    found = f"{len(chosen) - len(errors):,} of {len(chosen):,} clips can be read"
    found += "" if decode_all else f" (a sample of {len(present):,}; --all reads every one)"
    remedy = "get these files again; or train with skip_missing=True" if errors else ""
    yield Row(fault if errors else OK, f"{what}, decoded", "; ".join([found, *errors[:3]]), remedy)


def disk(config: TrainConfig, splits: dict[str, Samples]) -> Row:
    """Return the row of the features' size, less what is there already, against the free disk."""
    what, student = f"{config.dataset} features", student_without_weights(config.student)
    if config.blind or student is None:
        return Row(NOTE, what, "their size is unknown without the student's configuration")
    clips = sum(len({(s.video, s.clip) for s in samples}) for samples in splits.values())
    need = feature_bytes(clips, config.num_frames, student.feature_shape, dtype_of(config)) / 1e9
    place = next(folder for folder in (paths.features(), *paths.features().parents) if folder.exists())
    held = sum(file.stat().st_size for file in paths.features().rglob("*") if file.is_file()) / 1e9
    free = shutil.disk_usage(place).free / 1e9
    found = f"{clips:,} clips of {' and '.join(splits)} take {need:.1f} GB; {free:.1f} GB are free"
    found += f", {held:.1f} GB of features exist already" if held >= 0.05 else ""
    remedy = f"make room under {place}, put a larger disk there (a link will do), or use fewer frames"
    state = OK if need <= 0.95 * free else FAILS if need - held > 0.95 * free else NOTE
    return Row(state, what, found, "" if state == OK else remedy)


def reasoning(config: TrainConfig, root: Path, samples: Samples | None) -> Row:
    """Return the row of the reasoning file that a run learns from. samples: the training questions in use."""
    path = paths.reasoning(root, config.generator or "", config.kind)
    what = f"{config.dataset} {path.name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the row counts the questions without an answer
            table = read_reasoning(path, samples, config.kind)
    except ReasoningError as error:
        return Row(FAILS, what, str(error))
    if samples is None:
        return Row(OK, what, f"{len(table):,} lines; the training questions are missing, see above")
    failed, judged = int((table["response"] == "").sum()), table["correct"].dropna()
    found = f"{len(table) - failed:,} of {len(table):,} questions"
    found += f", {failed:,} without an answer" if failed else ""
    found += f"; {100 * float(judged.mean()):.1f} % answered right" if len(judged) else ""
    return Row(OK, what, found, f"{failures_path(path).name} says why" if failed else "")


def weights(name: str, role: str) -> Row:
    """Return the row of a checkpoint, after looking for all its files in its folder or the hub's cache."""
    source, what = STUDENTS.get(name, name), f"{role} {Path(name).name}"
    local = Path(source).is_dir()
    if not local and "/" not in source:
        choices = f"use one of {', '.join(STUDENTS)}, a folder, or a hub id (OWNER/NAME)"
        return Row(FAILS, what, "this is neither the name of a student nor a folder", choices)
    remedy = f"get {source} again" if local else f"run this where there is a network: hf download {source}"
    parts = ["model.safetensors"]
    try:
        if (index := hub.cached(source, "model.safetensors.index.json")) is not None:
            parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        processor = "processor_config.json"  # it may hold the image processor
        processor = processor if hub.cached(source, processor) else "preprocessor_config.json"
        files = {part: hub.cached(source, part) for part in ["config.json", processor, *parts]}
        if absent := [part for part, path in files.items() if path is None]:
            nothing = "no checkpoint" if local else "not in the hub's cache"
            found = nothing if len(absent) == len(files) else f"some of its files are missing: {_some(absent)}"
            return Row(FAILS, what, found, remedy)
        kind = transformers.AutoConfig.from_pretrained(source, local_files_only=True).model_type
    except (OSError, ValueError, KeyError) as error:
        return Row(FAILS, what, textwrap.shorten(str(error), 200), remedy)
    try:
        hub.check_tokenizer(transformers.AutoTokenizer.from_pretrained(source, local_files_only=True), source)
    except (OSError, ValueError) as error:
        return Row(FAILS, what, f"its tokenizer does not work: {textwrap.shorten(str(error), 200)}", remedy)
    if role == "student" and kind not in FAMILIES:
        return Row(FAILS, what, f"a {kind} checkpoint", f"a student is one of {', '.join(FAMILIES)}")
    size = sum(path.stat().st_size for part, path in files.items() if path is not None and part in parts)
    return Row(OK, what, f"{kind}, {size / 1e9:.1f} GB" if size >= 5e7 else f"{kind}, {size / 1e6:.1f} MB")


@cache
def student_without_weights(name: str) -> Student | None:
    """Return a student for its shapes, by its configuration or, where that is missing, by its published size."""
    source, half = STUDENTS.get(name, name), (0.5, 0.5, 0.5)
    try:
        config = transformers.AutoConfig.from_pretrained(source, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=True)
        with torch.device("meta"):
            model = transformers.AutoModelForImageTextToText.from_config(config)
            return FAMILIES[config.model_type](model, tokenizer, Preprocess(1, half, half))
    except (OSError, ValueError, KeyError):
        published = name in full_size.FULL_SIZE
        return full_size.random_student(name, torch.device("meta"), torch.bfloat16) if published else None


def memory(config: TrainConfig) -> Row:
    """Return the row of the GPU's memory against what a training step takes (computed by `full_size.memory`)."""
    if not torch.cuda.is_available():
        if DATASETS[config.dataset].make:
            return Row(OK, "GPU", "there is none, and none is needed")
        measure = f"to measure its speed: reasvqa benchmark --student {config.student} --recipes ours --steps 1"
        return Row(NOTE, "GPU", "there is none; a run would use the CPU", measure)
    device, total = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1] / 1e9
    if config.student not in full_size.FULL_SIZE:
        return Row(OK, "GPU", f"{device}, {total:.0f} GB; how much {config.student} needs is unknown")
    sizes = full_size.memory(config.student, config.batch_size)
    recomputed = sizes["together, recomputed"]
    need = recomputed if config.gradient_checkpointing else sizes["together"]
    found = f"{device}, {total:.0f} GB; a step of {config.student} with batch size {config.batch_size} takes about "
    found += f"{need:.0f} GB (computed)"
    less = f"gradient_checkpointing=True takes {recomputed:.0f} GB" if recomputed <= total else "use a smaller student"
    return Row(OK, "GPU", found) if need <= total else Row(FAILS, "GPU", found, less)


def _some(names: Sequence[str]) -> str:
    """Count names and show the first: "12 (a.mp4, b.mp4, c.mp4, ...)"."""
    return f"{len(names):,} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def show(rows: Iterable[Row]) -> int:
    """Print the rows as they come and return the exit status."""
    states = Counter()
    for row in rows:
        print(row, flush=True)
        states[row.state] += 1
    print(f"\n{states[OK]} ok, {states[NOTE]} to note, {states[FAILS]} that would make a run fail.")
    return int(states[FAILS] > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("reasvqa check", description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--scale", choices=SCALES, default="paper")
    add("--dataset", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME", help="default: all three")
    add("--student", help="a name, a folder or a hub id (default: the scale's)")
    add("--generator", help="whose reasoning the student learns from; a hub id or folder is searched for weights, too")
    add("--all", action="store_true", help="decode every clip, not a sample")
    given = parser.parse_args(arguments)
    names = {"student": given.student, "generator": given.generator and Path(given.generator).name}
    try:
        configs = [config_of("MTL_All", given.scale, dataset, **names).resolve() for dataset in given.dataset]
    except ValueError as error:
        parser.error(str(error))
    return show(check(configs, given.all, given.generator))
