"""Print how many responses a second one core reads and refines, and whether time is linear in length.

python tests/benchmark_text.py [FILE]    FILE: JSON lines with response, options and answer (a letter);
                                         without it, the responses labelled by hand
"""

import json
import sys
import time
from pathlib import Path

from labelled import LETTERS, labelled

from reasvqa.answers import named, namings, parse_answer
from reasvqa.refinement import refine


def rate(rows: list[tuple[str, list[str], int]]) -> float:
    """Return how many responses a second of processor time are read and refined, in the best of three rounds."""
    times = []
    for _ in range(3):
        namings.cache_clear()
        named.cache_clear()
        start = time.process_time()
        for text, options, answer in rows:
            prediction = parse_answer(text, options)
            refine(text, options[answer], prediction == answer)
        times.append(time.process_time() - start)
    return len(rows) / min(times)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        found = map(json.loads, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
        responses = [(row["response"], row["options"], (LETTERS + "KLMN").index(row["answer"])) for row in found]
    else:
        responses = [(r.text, r.options, r.answer) for r in labelled("development") + labelled("kept_aside")]
    characters = sum(len(text) for text, _, _ in responses)
    print(f"{len(responses)} responses of {characters / len(responses):.0f} characters: {rate(responses):.0f} a second")
    whole = "\n".join(text for text, _, _ in responses)
    for length in (len(whole) // 4, len(whole)):
        microseconds = 1e6 / rate([(whole[:length], *responses[0][1:])]) / length
        print(f"one text of {length} characters: {microseconds:.2f} µs each")
