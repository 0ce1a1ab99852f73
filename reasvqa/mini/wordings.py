"""Which of a benchmark's wordings does a student answer? Only a miniature can be asked: its questions are made from a
few forms, and some of these its students knew before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from reasvqa.datasets import load
from reasvqa.learning import Run
from reasvqa.mini.pretrain import PRETRAIN_FORMS
from reasvqa.mini.questions import FORMS
from reasvqa.mini.world import OBJECTS, PEOPLE, ROOMS, VERBS, gerund, past

_WORDS = {
    "person": PEOPLE,
    "verb": VERBS,
    "past": [past(verb) for verb in VERBS],
    "gerund": [gerund(verb) for verb in VERBS],
    "object": list(OBJECTS),
    "room": ROOMS,
}


def wording(question: str, dataset: str) -> str:
    """The form that a question was made from, with blanks: "how did the {person} use the {object}".

    Args:
        dataset: the miniature's or a smoke test's data set it belongs to.

    Raises:
        ValueError: the question is of no form of this data set.
    """
    for form in FORMS[f"mini-{dataset.split('-', 1)[1]}"]:
        pattern = re.sub(r"\\{(\w+)\\}", lambda blank: f"(?:{'|'.join(_WORDS[blank[1]])})", re.escape(form.question))
        if re.fullmatch(pattern, question):
            return form.question
    raise ValueError(f"{question!r} is no question of {dataset}")


def by_wording(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """How students answer each wording: those first that pretraining knew, and of these the most common.

    Args:
        runs: settings by name, on the same questions of one miniature.

    Returns:
        Indexed by wording: "pretrained" (bool), "in training" and "asked": how many questions the first run learned
        from, and how many it answered; and by setting the accuracy in percent, the mean over its seeds.
    """
    first = next(iter(runs.values()))[0]
    name = first.config.dataset
    trained = load(name, "train", first.root)[: first.config.questions]
    asked = Counter(wording(sample.question, name) for sample in trained)
    samples = first.samples()
    words = pd.Series({sample.id: wording(sample.question, name) for sample in samples})
    known = {form.question for form in PRETRAIN_FORMS}
    table = pd.DataFrame({"in training": pd.Series(asked), "asked": words.value_counts()}).fillna(0).astype(int)
    table.insert(0, "pretrained", [form in known for form in table.index])
    for setting, each in runs.items():
        right = pd.concat([run.predictions.set_index("id") for run in each])
        right = (right["prediction"] == right["answer"]).groupby(level=0).mean()
        table[setting] = 100 * right.groupby(words).mean()
    return table.sort_values(["pretrained", "in training"], ascending=False)
