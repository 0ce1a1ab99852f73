"""Measure which of a benchmark's wordings a student answers.

Only a miniature makes its questions from a few forms, some of which its students know from pretraining.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import pandas as pd

from reasvqa.datasets import load
from reasvqa.learning import Run
from reasvqa.mini.pretrain import PRETRAIN_FORMS
from reasvqa.mini.questions import FORMS
from reasvqa.mini.world import OBJECTS, PEOPLE, ROOMS, VERBS, gerund, past

PRETRAINED = frozenset(form.question for form in PRETRAIN_FORMS)  # wordings known before fine-tuning
_WORDS = {
    "person": PEOPLE,
    "verb": VERBS,
    "past": [past(verb) for verb in VERBS],
    "gerund": [gerund(verb) for verb in VERBS],
    "object": list(OBJECTS),
    "room": ROOMS,
}


@cache
def _patterns(kind: str) -> dict[str, re.Pattern[str]]:
    """Return a pattern that a form's questions match, by the form's wording."""
    any_of = {blank: f"(?:{'|'.join(words)})" for blank, words in _WORDS.items()}
    forms = (form.question for form in FORMS[f"mini-{kind}"])
    return {form: re.compile(re.sub(r"\\{(\w+)\\}", lambda blank: any_of[blank[1]], re.escape(form))) for form in forms}


def wording(question: str, dataset: str) -> str:
    """Return the form of a question in a data set, with blanks: "how did the {person} use the {object}".

    Raises:
        ValueError: the question is of no form of this data set.
    """
    for form, pattern in _patterns(dataset.split("-", 1)[1]).items():
        if pattern.fullmatch(question):
            return form
    raise ValueError(f"{question!r} is no question of {dataset}")


def by_wording(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Return how students answer each wording, those that pretraining knows and that are common in training first.

    Args:
        runs: settings by name, on the same questions of one miniature.

    Returns:
        Indexed by wording: "pretrained" (bool); "in training" and "asked", the numbers of questions that the first run
        learned from and answered; and each setting's accuracy in percent, the mean over its seeds.
    """
    first = next(iter(runs.values()))[0]
    name = first.config.dataset
    trained = load(name, "train", first.root)[: first.config.questions]
    asked = Counter(wording(sample.question, name) for sample in trained)
    samples = first.samples()
    words = pd.Series({sample.id: wording(sample.question, name) for sample in samples})
    table = pd.DataFrame({"in training": pd.Series(asked), "asked": words.value_counts()}).fillna(0).astype(int)
    table.insert(0, "pretrained", [form in PRETRAINED for form in table.index])
    for setting, each in runs.items():
        right = pd.concat([run.predictions.set_index("id") for run in each])
        right = (right["prediction"] == right["answer"]).groupby(level=0).mean()
        table[setting] = 100 * right.groupby(words).mean()
    return table.sort_values(["pretrained", "in training"], ascending=False)
