"""Before a long run: what is there of data, reasoning, weights, disk and memory, and what is missing.

    python -m reasvqa.companion.check --scale paper                          the three benchmarks
    python -m reasvqa.companion.check --scale paper --dataset nextqa --all   reads every clip, not a sample; goes on where it was
    python -m reasvqa.companion.check --dataset star --server http://HOST:8000/v1     also asks a generator's server one question

It only reads, and downloads nothing (`--all` keeps a list of what it has read under the data root). The exit status is
1 if a run would fail.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import textwrap
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoTokenizer

from reasvqa import hub, paths
from reasvqa.companion import full_size
from reasvqa.companion.experiments import config_of
from reasvqa.companion.scales import BENCHMARKS, SCALES
from reasvqa.config import TrainConfig
from reasvqa.datasets import DATASETS, DataError, Samples, load, official
from reasvqa.datasets.base import read_map, read_table
from reasvqa.generation import CAPTION_PROMPTS, GenerationError, ReasoningError, build_prompt, parse_answer
from reasvqa.generation import read_reasoning as read_responses
from reasvqa.generation.reasoning import failures_path, read_failures
from reasvqa.learning.features import dtype_of, feature_bytes
from reasvqa.preprocess import Preprocess
from reasvqa.samples import LETTERS
from reasvqa.students import FAMILIES, STUDENTS, Student
from reasvqa.video import Clip, VideoError, read_many, video_digest

LOOKED_AT = 24  # clips of a data set that are decoded, unless all are
OK, NOTE, FAILS = "ok", "note", "FAILS"  # there; worth knowing; a run would fail


@dataclass(frozen=True)
class Row:
    """A line of the table: one thing that was looked at, how it is, what was found, and what to do about it."""

    state: str
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.found}{f' -> {self.remedy}' if self.remedy else ''}"
        lines = textwrap.wrap(text, 82, break_long_words=False, break_on_hyphens=False) or [""]
        return "\n".join([f"{self.state:<6} {self.what:<30} {lines[0]}", *(f"{'':<38}{line}" for line in lines[1:])])


def check(
    configs: Sequence[TrainConfig], every: bool = False, generator: str | None = None, server: str | None = None
) -> Iterator[Row]:
    """All rows of the table, as they are found.

    Args:
        configs: resolved settings, one a data set, of one student.
        every: decode every clip, not a sample.
        generator: a hub id or a folder, whose weights are looked for; or what the server calls its model.
        server: address of an OpenAI-compatible server, ending in /v1, that is asked one question.
    """
    question: tuple[Samples, TrainConfig] | None = None
    student = None
    for config in configs[:1]:
        yield from weights(config.student, "student")
        student = outline(config.student)
        yield memory(config)
    if generator is not None and "/" in generator and server is None:
        yield from weights(generator, "generator")
    for config in configs:
        root = paths.dataset(config.dataset)
        if not root.exists() and DATASETS[config.dataset].make:
            yield Row(NOTE, config.dataset, "not made yet", "the first use makes it, in about a minute")
            continue
        splits: dict[str, Samples] = {}
        yield from annotation_files(config, root, splits)
        used = {split: splits[split] for split in ("train", config.split) if split in splits}
        if "train" in used:
            used["train"] = used["train"][: config.questions]
        if used:
            yield from videos(config, used, every)
            yield disk(config, used, student)
        yield from reasoning(config, root, used.get("train"))
        if used and question is None:
            question = next(iter(used.values())), config
    if server is not None:
        yield ask(server, generator, question)


# --- annotations ------------------------------------------------------------------------------------------------------


def annotation_files(config: TrainConfig, root: Path, splits: dict[str, Samples]) -> Iterator[Row]:
    """A row for each annotation file of a data set; what can be read goes into `splits`."""
    name = config.dataset
    benchmark = name.split("-")[-1]
    files = [row for row in official() if row["dataset"] == benchmark]
    yield from _map(
        f"{name} map_vid_vidorID.json",
        benchmark,
        root,
        [row["file"] for row in files if row["split"] in ("train", config.split)],
    )
    said: set[str] = set()
    for row in files:
        split, what = row["split"], f"{name} {row['file']}"
        needed = split in ("train", config.split)
        if not (root / row["file"]).is_file() and not needed:
            yield Row(NOTE, what, "not there", "only Table 6 asks it" if split == "atp-hard" else "not needed for this")
            continue
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                samples = splits[split] = load(name, split, root)
        except DataError as error:
            text = "as above" if str(error) in said else str(error)
            said.add(str(error))
            yield Row(FAILS if needed else NOTE, what, text)
            continue
        twice = sum(len(set(sample.options)) < len(sample.options) for sample in samples)
        found = f"{len(samples):,} questions"
        found += f", {twice} with an option twice" if twice else ""
        found += "".join(f"; {item.message}" for item in told if twice and "first of the two" in str(item.message))
        unlabelled = sum(sample.answer is None for sample in samples)
        if unlabelled and split == "train":
            yield Row(FAILS, what, f"{found}, {unlabelled:,} without an answer", "get the labelled file")
        elif DATASETS[config.dataset].make:
            yield Row(OK, what, found)
        elif len(samples) != int(row["questions"]):
            counted = "counted in the published file" if row["verified"] == "yes" else "as its authors say"
            wanted = f"officially {int(row['questions']):,}, {counted}"
            yield Row(NOTE, what, f"{found}; {wanted}", "is it the whole file, of the same release?")
        else:
            yield Row(OK, what, f"{found}, the official number")


def _map(what: str, benchmark: str, root: Path, files: Sequence[str]) -> Iterator[Row]:
    """The row of map_vid_vidorID.json: its entries, and the videos of the annotation files that have none."""
    path, column = root / "map_vid_vidorID.json", "video" if benchmark == "nextqa" else "video_id"
    if benchmark not in ("nextqa", "intentqa") or not (path.is_file() or benchmark == "nextqa"):
        return
    if not path.is_file():
        yield Row(FAILS, what, "not there", "it comes with the annotations, see data/README.md")
        return
    try:
        folders = read_map(path)
    except DataError as error:
        yield Row(FAILS, what, str(error))
        return
    asked = set()
    for file in files:
        with suppress(DataError):  # the file's own row says what is wrong with it
            asked |= {row[column] for _, row in read_table(root / file, (column,))}
    absent = sorted(asked - folders.keys())
    found = f"{len(folders):,} entries; {len(asked) - len(absent):,} of {len(asked):,} videos have one"
    if not absent:
        yield Row(OK, what, found)
    elif benchmark == "nextqa":
        yield Row(FAILS, what, f"{found}, not {_some(absent)}", "use the map of the same release")
    else:
        yield Row(NOTE, what, f"{found}; {_some(absent)} are expected at videos/<video_id>.mp4")


# --- videos -----------------------------------------------------------------------------------------------------------


def videos(config: TrainConfig, splits: dict[str, Samples], every: bool) -> Iterator[Row]:
    """Rows about the videos of the splits that a run uses: found, readable, twice."""
    what = f"{config.dataset} videos"
    folder = next(iter(splits.values())).videos
    clips = sorted({(s.video, s.clip) for samples in splits.values() for s in samples}, key=str)
    names = sorted({video for video, _ in clips})
    sizes = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    sizes = {name: size for name, size in sizes.items() if size}  # an empty file is none
    absent = [name for name in names if name not in sizes]
    found = f"{len(sizes):,} of {len(names):,} found, {sum(sizes.values()) / 1e9:.1f} GB"
    if absent:
        remedy = f"put them under {folder}, see data/README.md; or train with skip_missing=True"
        flat = next((name for name in absent if (folder / Path(name).name).is_file()), None)
        if flat is not None:
            remedy = f"{Path(flat).name} lies in {folder} itself; it belongs to {Path(flat).parent}/, as the map says"
        elif not folder.is_dir():
            remedy = f"there is no folder {folder}; {remedy}"
        lost = sum(s.video not in sizes for samples in splits.values() for s in samples)
        found += f"; {lost:,} questions are about {_some(absent)}"
        yield Row(NOTE if config.skip_missing and sizes else FAILS, what, found, remedy)
    else:
        yield Row(OK, what, found)
    if sizes:
        yield _readable(config, folder, [clip for clip in clips if clip[0] in sizes], every)
        yield from _twice(what, folder, sizes)


def _readable(config: TrainConfig, folder: Path, clips: list[tuple[str, Clip]], every: bool) -> Row:
    """The row of what could be decoded: a sample that is the same every time, or all clips."""
    what, memory = f"{config.dataset} videos, decoded", Remembered(folder, config.num_frames)
    looked = clips if every else sorted(random.Random(0).sample(clips, min(LOOKED_AT, len(clips))), key=str)
    new = [clip for clip in looked if not memory.has(clip)]
    wrong, forgotten = {}, ""
    frames = read_many([(folder / video, clip) for video, clip in new], config.num_frames)
    for clip, picture in zip(new, tqdm(frames, total=len(new), unit="clip", disable=not every), strict=True):
        if isinstance(picture, VideoError):
            wrong[clip] = str(picture)
        elif every and not forgotten:
            try:
                memory.add(clip)
            except OSError as error:
                forgotten = f"; what was read is not remembered ({error})"
    found = f"{len(looked) - len(wrong):,} of {len(looked):,} clips can be read"
    found += "" if every else f" (a sample of {len(clips):,}; --all reads every one)"
    found += f", {len(looked) - len(new):,} of them before" if len(new) < len(looked) else ""
    found += forgotten
    if not wrong:
        return Row(OK, what, found)
    state = NOTE if config.skip_missing else FAILS
    remedy = "get these files again; or train with skip_missing=True"
    return Row(state, what, f"{found}; {'; '.join(list(wrong.values())[:3])}", remedy)


class Remembered:
    """Which clips could be read with which number of frames, as lines of a file under the data root; a clip whose file
    has changed since (size, time) is another one. What could not be read is not kept: it is tried every time."""

    def __init__(self, folder: Path, num_frames: int):
        self.folder, self.num_frames, self.path = folder, num_frames, paths.checked(folder.parent.name)
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        self.lines = set(text.splitlines())  # one that a kill left unfinished is no clip's
        self.before = "\n" if text and not text.endswith("\n") else ""

    def has(self, clip: tuple[str, Clip]) -> bool:
        return self._line(clip) in self.lines

    def add(self, clip: tuple[str, Clip]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.before}{self._line(clip)}\n")
        self.before = ""

    def _line(self, clip: tuple[str, Clip]) -> str:
        state = (self.folder / clip[0]).stat()
        return json.dumps([*clip, self.num_frames, state.st_size, state.st_mtime_ns])


def _twice(what: str, folder: Path, sizes: dict[str, int]) -> Iterator[Row]:
    """A row if several videos have the same content."""
    of_size, of_content = defaultdict(list), defaultdict(list)
    for name, size in sizes.items():
        of_size[size].append(name)
    for name in (name for same in of_size.values() if len(same) > 1 for name in same):
        of_content[video_digest(folder / name)].append(name)
    same = [names for names in of_content.values() if len(names) > 1]
    if same:
        found = f"{sum(map(len, same))} files have {len(same)} contents, such as {' and '.join(same[0][:2])}"
        yield Row(NOTE, f"{what}, twice", found, "was one copied into the other's place?")


# --- disk -------------------------------------------------------------------------------------------------------------


def disk(config: TrainConfig, splits: dict[str, Samples], student: Student | None) -> Row:
    """The row of the features' size against the free disk."""
    what = f"{config.dataset} features"
    if config.blind or student is None:
        return Row(NOTE, what, "their size is not known without the student's configuration")
    clips = sum(len({(s.video, s.clip) for s in samples}) for samples in splits.values())
    need = feature_bytes(clips, config.num_frames, student.feature_shape, dtype_of(config)) / 1e9
    place = paths.features()
    held = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) / 1e9 if place.is_dir() else 0.0
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    found = f"{clips:,} clips of {' and '.join(splits)} take {need:.1f} GB; {free:.1f} GB are free"
    found += f", {held:.1f} GB of features are there" if held >= 0.05 else ""
    if need <= 0.95 * free:
        return Row(OK, what, found)
    remedy = f"make room under {place}, put a larger disk there (a link will do), or use fewer frames"
    return Row(FAILS if need - held > 0.95 * free else NOTE, what, found, remedy)


# --- reasoning --------------------------------------------------------------------------------------------------------


def reasoning(config: TrainConfig, root: Path, samples: Samples | None) -> Iterator[Row]:
    """A row for each reasoning file, the one that is learned from first. samples: the training questions in use."""
    needed = paths.reasoning(root, config.generator, config.kind) if config.generator else None
    others = sorted(path for path in (root / "reasoning").glob("*.jsonl") if not path.name.endswith(".failed.jsonl"))
    for path in ([needed] if needed else []) + [path for path in others if path != needed]:
        what = f"{config.dataset} {path.name}"
        kind = next((kind for kind in CAPTION_PROMPTS if path.stem.endswith(f"-{kind}")), "reasoning")
        if not path.is_file():
            remedy = "write it with notebooks/01_generate_reasoning.ipynb, see notebooks/paper_scale.md"
            yield Row(FAILS, what, "not there", remedy)
            continue
        found = ""
        try:
            table = read_responses(path)
            found = f"{len(table):,} lines; the training questions are missing, see above"
            failed = 0
            if samples is not None:
                ids = {sample.id for sample in samples}
                answered = ids & set(table["id"])
                failed = len(read_failures(path).keys() & ids - answered)
                found = f"{len(answered):,} of {len(ids):,} questions"
                found += f", {failed:,} without an answer" if failed else ""
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of the questions without an answer
                    table = read_responses(path, samples, kind)
            known = table["correct"].dropna()
            found += f"; {100 * float(known.mean()):.1f} % answered right" if len(known) else ""
            yield Row(OK, what, found, f"{failures_path(path).name} says why" if failed else "")
        except ReasoningError as error:
            yield Row(FAILS if path == needed else NOTE, what, f"{found}; {error}" if found else str(error))


# --- models -----------------------------------------------------------------------------------------------------------


def weights(name: str, role: str) -> Iterator[Row]:
    """The row of a checkpoint: all its files there?"""
    source, what = STUDENTS.get(name, name), f"{role} {Path(name).name}"
    remedy = f"get it where there is a network: hf download {source}"
    if Path(source).is_dir():
        remedy = f"get {source} again"
    elif "/" not in source:
        known = f"{', '.join(STUDENTS)}, a folder, or a hub id (OWNER/NAME)"
        yield Row(FAILS, what, "neither a known name nor a folder", f"give one of {known}")
        return
    index = hub.cached(source, "model.safetensors.index.json")
    parts = ["model.safetensors"]
    try:
        if index is not None:
            parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        config = (
            None
            if hub.cached(source, "config.json") is None
            else AutoConfig.from_pretrained(source, local_files_only=True)
        )
    except (OSError, ValueError, KeyError) as error:
        yield Row(FAILS, what, _line(error), remedy)
        return
    files = {part: hub.cached(source, part) for part in ["config.json", "preprocessor_config.json", *parts]}
    if hub.cached(source, "processor_config.json") is not None:  # it may hold the image processor
        files = {part: path for part, path in files.items() if path or part != "preprocessor_config.json"}
    absent = [part for part, path in files.items() if path is None]
    if len(absent) == len(files):
        yield Row(FAILS, what, "not in the hub's cache" if not Path(source).is_dir() else "no checkpoint", remedy)
        return
    if absent:
        yield Row(FAILS, what, f"{_some(absent)} of its files are not there", remedy)
        return
    try:
        hub.check_tokenizer(AutoTokenizer.from_pretrained(source, local_files_only=True), source)
    except (OSError, ValueError) as error:
        yield Row(FAILS, what, f"its tokenizer: {_line(error)}", remedy)
        return
    size = sum(path.stat().st_size for part, path in files.items() if path is not None and part in parts) / 1e9
    kind = "" if config is None else config.model_type
    if role == "student" and kind not in FAMILIES:
        yield Row(FAILS, what, f"a {kind} checkpoint", f"students are {', '.join(FAMILIES)}")
    else:
        yield Row(OK, what, f"{kind}, {size:.1f} GB of weights" if size >= 0.05 else f"{kind}, {1000 * size:.1f} MB")


_HALF = (0.5, 0.5, 0.5)  # any


def outline(name: str) -> Student | None:
    """A student without weights, for its shapes: by its configuration, or, where that is not there, by its size."""
    source = STUDENTS.get(name, name)
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        model_class, student_class = FAMILIES[config.model_type]
        with torch.device("meta"):
            return student_class(model_class(config), tokenizer, Preprocess(1, _HALF, _HALF))
    except (OSError, ValueError, KeyError):
        if name in full_size.FULL_SIZE:
            return full_size.random_student(name, torch.device("meta"), torch.bfloat16)
    return None


def memory(config: TrainConfig) -> Row:
    """The row of the GPU's memory against what a training step takes (computed, see `reasvqa.companion.full_size.memory`)."""
    what = "GPU"
    if not torch.cuda.is_available():
        if DATASETS[config.dataset].make:
            return Row(OK, what, "none, and none is needed")
        measure = f"how fast: python -m reasvqa.companion.benchmark --student {config.student} --recipes ours --steps 1"
        return Row(NOTE, what, "none here, a run would use the CPU", measure)
    device, total = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1] / 1e9
    if config.student not in full_size.FULL_SIZE:
        return Row(OK, what, f"{device}, {total:.0f} GB; what {config.student} takes is not known")
    sizes = full_size.memory(config.student, config.batch_size)
    need, less = sizes["together"], sizes["together, recomputed"]
    need = less if config.gradient_checkpointing else need
    found = f"{device}, {total:.0f} GB; a step of {config.student} with batches of {config.batch_size} takes about "
    found += f"{need:.0f} GB (computed)"
    if need <= total:
        return Row(OK, what, found)
    remedy = f"gradient_checkpointing=True takes {less:.0f} GB" if less <= total else "a smaller student, or more GPUs"
    return Row(FAILS, what, found, remedy)


# --- a server ---------------------------------------------------------------------------------------------------------


def ask(address: str, model: str | None, question: tuple[Samples, TrainConfig] | None) -> Row:
    """The row of a server's answer to one question of the data."""
    from reasvqa.generation.models import OpenAIGenerator
    from reasvqa.generation.run import shortened, without_secrets

    what = "server"
    if question is None:
        return Row(FAILS, what, "no question to ask", "its annotations are missing, see above")
    samples, config = question
    try:
        if model is None:
            model = _first_model(address)
        asked = next((s for s in samples if (samples.videos / s.video).is_file()), None)
        if asked is None:
            return Row(NOTE, what, "not asked: there is no video to show", "put one in its place, see above")
        generator = OpenAIGenerator(
            model, samples.videos, address, config.num_frames, max_new_tokens=512, timeout=120, retries=1
        )
        began = time.monotonic()
        (answer,) = generator([asked], [build_prompt(asked)])
    except GenerationError as error:
        return Row(FAILS, what, str(error))
    except Exception as error:  # whatever a strange server makes of the client
        text = shortened(without_secrets(f"{type(error).__name__}: {error}"))
        return Row(FAILS, what, f"{without_secrets(address)}: {text}", "check the address; it usually ends in /v1")
    if isinstance(answer, Exception):
        return Row(FAILS, what, str(answer))
    seconds = time.monotonic() - began
    chosen = parse_answer(answer, asked.options)
    how = "names no option" if chosen is None else f"chooses option {LETTERS[chosen]}"
    if chosen is not None and asked.answer is not None:
        how += ", rightly" if chosen == asked.answer else ", wrongly"
    found = f"{model} {how}, after {seconds:.1f} s: {shortened(answer, 80)!r}"
    return Row(OK if chosen is not None else NOTE, what, found)


def _first_model(address: str) -> str:
    """What a server calls its (first) model.

    Raises:
        GenerationError: it does not say.
    """
    import openai

    key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"
    try:
        return next(iter(openai.OpenAI(api_key=key, base_url=address, timeout=10, max_retries=1).models.list())).id
    except Exception as error:
        raise GenerationError(
            f"{address}: does not say which models it has ({error}); give one by --generator"
        ) from None


# --- the command ------------------------------------------------------------------------------------------------------


def _some(names: Sequence[str]) -> str:
    """ "12 (a.mp4, b.mp4, c.mp4, ...)"."""
    return f"{len(names):,} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _line(error: Exception) -> str:
    return textwrap.shorten(str(error), 200)


def show(rows: Iterable[Row]) -> int:
    """Prints the rows as they come; the exit status."""
    states = Counter()
    for row in rows:
        print(row, flush=True)
        states[row.state] += 1
    print(f"\n{states[OK]} ok, {states[NOTE]} to know of, {states[FAILS]} that a run would fail on.")
    return int(states[FAILS] > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reasvqa.companion.check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scale", choices=SCALES, default="paper")
    add("--dataset", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME", help="default: all three")
    add("--student", help="a name, a folder or a hub id; default: the scale's")
    add("--generator", help="whose reasoning is learned from; of a hub id or folder the weights are looked for, too")
    add("--server", metavar="URL", help="ask this OpenAI-compatible server one question")
    add("--all", action="store_true", help="decode every clip, not a sample")
    given = parser.parse_args(arguments)
    name = None if given.generator is None else Path(given.generator).name
    try:
        configs = [
            config_of("MTL_All", given.scale, dataset, student=given.student, generator=name).resolve()
            for dataset in given.dataset
        ]
    except ValueError as error:
        parser.error(str(error))
    return show(check(configs, given.all, given.generator, given.server))


if __name__ == "__main__":
    sys.exit(main())
