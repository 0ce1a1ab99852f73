"""Run a generator over samples. A killed run loses at most the batch in flight, and a second call continues it."""

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
from tqdm.auto import tqdm

from reasvqa.files import atomic_path, locked, write_text
from reasvqa.generation import reasoning
from reasvqa.generation.prompts import build_prompt
from reasvqa.generation.reasoning import ReasoningError, read_reasoning, without_surrogates
from reasvqa.samples import Sample
from reasvqa.video import VideoError

HOPELESS = 16  # if so many questions in a row get no answer, the fault is the generator's


class GenerationError(RuntimeError):
    """A model or server that cannot answer. The message says which, why and what to do, without keys and passwords."""

    def __init__(self, message: str):
        super().__init__(without_secrets(message))


class _Miscounted(GenerationError):
    """Responses that cannot be matched to their questions."""


class UnansweredError(GenerationError):
    """Questions without an answer; all other responses are kept. <name>.failed.jsonl has the reasons."""


class Generator(Protocol):
    """Anything that writes a response to a prompt about a sample's video."""

    name: str

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> Iterable[str | Exception]:
        """Return responses, in order, or the exceptions that prevented them. Raise GenerationError to end the run."""
        ...


@dataclass
class Written:
    """A generator that returns existing responses, by sample id, written by hand or by a model elsewhere."""

    name: str
    texts: Mapping[str, str]

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str]:
        """See `Generator`. Raise ReasoningError if a sample has no text."""
        if absent := [sample.id for sample in samples if sample.id not in self.texts]:
            raise ReasoningError(
                f"{len(absent)} of {len(samples)} questions have no reasoning, e.g. {absent[0]!r}. "
                "Write one, or let a model do it."
            )
        return [self.texts[sample.id] for sample in samples]


def generate(
    samples: Iterable[Sample], generator: Generator, path: str | Path, kind: str = "reasoning", batch_size: int = 16
) -> pd.DataFrame:
    """Let `generator` explain each sample that `path` does not hold yet, and return all of them.

    If question or options of a line have changed, warn and ask again; the old line moves to <name>.removed, as does an
    unfinished last line. A question without an answer (an unreadable video, a refusal, an empty response) is tried once
    more after all others and then listed in <name>.failed.jsonl. The next call tries it again.

    Args:
        path: the JSON-lines file to create or continue.
        kind: see `build_prompt`.
        batch_size: samples per call of the generator.

    Returns:
        One row per sample, in their order, see `read_reasoning`.

    Raises:
        UnansweredError: some questions got no answer; `HOPELESS` in a row end the run. All answers are kept.
        GenerationError: the generator cannot work at all, for example with a wrong key.
        ReasoningError: the file is damaged, belongs to another generator, kind or set of questions, or cannot be
            written. Nothing in it has been changed.
    """
    path, samples = Path(path), list(samples)
    if not isinstance(getattr(generator, "name", None), str):
        raise GenerationError("a generator needs the attribute name, a text that is kept with each response")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size!r}")
    todo, outdated = _survey(path, samples, generator.name, kind)
    if todo or outdated or not path.exists():  # a finished file may be in a read-only place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_name(f"{path.name}.lock")):
                todo, outdated = _survey(path, samples, generator.name, kind)  # another process may have written it
                _move_out(path, outdated)
                _ask(path, todo, generator, kind, batch_size)
        except OSError as error:
            raise ReasoningError(
                f"{error.filename or path}: cannot be written ({error.strerror or error}). Make room or choose another "
                "place, and generate again; what was kept before is still there."
            ) from error
    return read_reasoning(path, samples, kind)


def _survey(path: Path, samples: Sequence[Sample], name: str, kind: str) -> tuple[list[Sample], dict[int, str | None]]:
    """Return the samples without a usable line, and outdated lines as {number: id}, with None for an unfinished one."""
    questions = {sample.id: sample for sample in samples}
    if len(questions) < len(samples):
        twice = Counter(sample.id for sample in samples).most_common(1)[0][0]
        raise ReasoningError(f"two samples have the id {twice!r}. Make ids unique.")
    present: set[str] = set()
    outdated: dict[int, str | None] = {}
    for number, row in reasoning.rows_of(path) if path.exists() else ():
        if row is None:
            outdated[number] = None
            continue
        id, writer = row["id"], row.get("generator")
        if writer != name:
            raise ReasoningError(
                f"{path}, line {number}: written by {writer or 'nobody named'}, not {name}. "
                "Give each generator a file of its own."
            )
        present.add(id)
        if id in questions and reasoning.judge(path, number, row, questions[id], kind) is None:
            outdated[number] = id
    changed = {id for id in outdated.values() if id is not None}
    if len(changed) == len(present & questions.keys()) > 1:
        raise ReasoningError(
            f"{path}: none of its lines asks what the question of its id asks now, e.g. {min(changed)!r}. "
            "It was made for other questions: give these a file of their own, or move it away."
        )
    return [sample for sample in samples if sample.id not in present or sample.id in changed], outdated


def _move_out(path: Path, outdated: dict[int, str | None]) -> None:
    """Move lines to the end of <name>.removed. If the process is killed meanwhile, the file stays as it was."""
    if not outdated:
        return
    removed_path = path.with_name(f"{path.name.removesuffix('.jsonl')}.removed")
    if changed := sum(id is not None for id in outdated.values()):
        warnings.warn(
            f"{path}: {changed} questions or their options have changed and are asked anew; "
            f"the old lines move to {removed_path.name}.",
            stacklevel=3,
        )
    with (
        atomic_path(path) as partial,
        reasoning.open_lines(path) as lines,
        reasoning.open_lines(partial, "w") as kept,
        reasoning.open_lines(removed_path, "a") as removed,
    ):
        for number, line in enumerate(lines, 1):
            whole = line if line.endswith(("\n", "\r")) else line + "\n"
            (removed if number in outdated else kept).write(whole)
        for file in (removed, kept):
            file.flush()
            os.fsync(file.fileno())


def _ask(path: Path, todo: Sequence[Sample], generator: Generator, kind: str, batch_size: int) -> None:
    """Append a line for each sample that gets an answer. Ask the others once more at the end, then list them."""
    listed = reasoning.read_failures(path)
    failed: dict[str, str] = {}
    unasked = 0
    _append(path, [])  # an unwritable disk shows now, not after the first answer
    try:
        for again in (False, True):
            # Failures of earlier calls come last, so that they never end the run before the others are asked.
            questions = [s for s in todo if s.id in failed] if again else sorted(todo, key=lambda s: s.id in listed)
            starts = range(0, len(questions), batch_size)
            in_a_row = 0
            for at in tqdm(starts, desc=generator.name, unit="batch", disable=len(starts) <= 1):
                rows = []
                try:
                    for sample, prompt, answer in _answers(generator, questions[at : at + batch_size], kind):
                        if isinstance(answer, Exception):
                            ours = isinstance(answer, GenerationError | VideoError)
                            reason = str(answer) if ours else f"{type(answer).__name__}: {answer}"
                            failed[sample.id] = listed[sample.id] = shortened(without_secrets(reason))
                            in_a_row += not isinstance(answer, VideoError)
                            continue
                        row = {"id": sample.id, "generator": generator.name, "prompt": prompt, "response": answer}
                        prediction, correct = reasoning.judge(path, 0, row, sample, kind) or (None, None)
                        rows.append(row | {"prediction": prediction, "correct": correct})
                        failed.pop(sample.id, None)
                        listed.pop(sample.id, None)
                        in_a_row = 0
                except _Miscounted:
                    rows.clear()  # responses may stand beside the wrong questions
                    raise
                finally:
                    _append(path, rows)
                if in_a_row >= HOPELESS:
                    unasked = 0 if again else max(0, len(questions) - at - batch_size)
                    break
            if in_a_row >= HOPELESS:
                break
    finally:
        if listed:
            lines = (_line({"id": id, "error": error}) for id, error in listed.items())
            write_text(reasoning.failures_path(path), "".join(lines))
        else:
            reasoning.failures_path(path).unlink(missing_ok=True)
    if failed:
        id, reason = next(iter(failed.items()))
        left = f" The last {HOPELESS} in a row failed, so {unasked} were not asked any more." if unasked else ""
        raise UnansweredError(
            f"{path}: {len(failed)} questions got no answer, e.g. {id!r} ({reason.rstrip('.')}).{left} All other "
            f"responses are kept; {reasoning.failures_path(path).name} lists these. Generate again to retry."
        )


def _answers(
    generator: Generator, samples: Sequence[Sample], kind: str
) -> Iterator[tuple[Sample, str, str | Exception]]:
    """Yield (sample, prompt, response or error). If a whole batch fails, ask the rest of it one by one."""
    prompts = [build_prompt(sample, kind) for sample in samples]
    count = 0
    try:
        answers = generator(samples, prompts)
        if isinstance(answers, str | bytes | Mapping):
            raise _Miscounted(f"{generator.name}: expected a list of responses, got {type(answers).__name__}")
        for answer in answers:
            if count == len(samples):
                raise _Miscounted(f"{generator.name}: more than {count} responses to {count} questions")
            if isinstance(answer, str):
                answer = without_surrogates(answer) if answer.strip() else GenerationError("the response is empty")
            elif not isinstance(answer, Exception):
                answer = GenerationError(f"expected text as the response, got {type(answer).__name__}")
            yield samples[count], prompts[count], answer
            count += 1
        if count < len(samples):
            raise _Miscounted(f"{generator.name}: {count} responses to {len(samples)} questions")
    except (GenerationError, ReasoningError):
        raise
    except Exception as error:
        if len(samples) == 1:
            yield samples[0], prompts[0], error
            return
        for sample in samples[count:]:
            yield from _answers(generator, [sample], kind)


def _append(path: Path, rows: Sequence[dict]) -> None:
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) not in b"\r\n":  # another program's last line, complete but without its line break
                file.write(b"\n")
        file.write("".join(map(_line, rows)).encode())
        file.flush()
        os.fsync(file.fileno())


def _line(row: dict) -> str:
    text = json.dumps(row, ensure_ascii=False)
    return (text if text == without_surrogates(text) else json.dumps(row)) + "\n"  # lone surrogates must be escaped


def shortened(text: str) -> str:
    """Return a text, such as a server's whole page, on one line, cut to 400 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 400 else f"{text[:400]}..."


def without_secrets(text: str, known: Collection[str] = ()) -> str:
    """Replace keys and passwords in a text: the known ones, the key in the environment, and whatever looks like one."""
    for secret in sorted({*known, os.environ.get("OPENAI_API_KEY", "").strip()}, key=len, reverse=True):
        if len(secret) > 4:  # a shorter one is no secret and may be part of other words
            text = text.replace(secret, "[secret]")
    return _SECRET.sub("[secret]", text)


_SECRET = re.compile(
    r"(?<=Bearer )(?!\[secret)[^\s\"',;]+"  # an Authorization header
    r"|(?<=Basic )[\w+/=-]{8,}"
    r"|(?<=://)[^/\s@\"']+(?=@)"  # user:password@ in an address
    r"|(?<=key=|ken=|ord=)(?!\[secret)[^&\s\"']+"  # api_key, token, password in an address
    r"|\b(?:sk|hf|gsk|xai|pk)[-_][\w*-]{8,}"  # as providers make them
)
