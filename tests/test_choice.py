"""The answer as a choice among the options' texts: the loss by hand, and a student that learns by it."""

import math
from dataclasses import replace

import pytest
import torch

from reasvqa.config import TrainConfig
from reasvqa.learning import build_examples, train
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import features_of
from reasvqa.learning.objective import Objective
from reasvqa.losses import IGNORE, SHARPNESS, choice, option_scores
from reasvqa.students import load_student


def test_choice_by_hand():
    """Two samples with two and three options; the second answer is certain."""
    scores = torch.tensor([-1.0, -2.0, 0.0, -100.0, -100.0])
    loss = choice(scores, torch.tensor([0, 0, 1, 1, 1]), torch.tensor([1, 0]))
    expected = math.log(1 + math.exp(SHARPNESS)) / 2  # of the first sample; the second has none
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_scores_are_means_over_each_options_own_tokens():
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.25, 0.75], [0.3, 0.7]]]))
    scores = option_scores(logits, torch.tensor([[0, 0], [1, IGNORE]]))
    assert scores.tolist() == pytest.approx([(math.log(0.5) + math.log(0.9)) / 2, math.log(0.75)], rel=1e-5)


def test_the_objective_scores_every_option(smoke_star):
    """The loss of a batch equals that of decoding each option alone."""
    config = TrainConfig(dataset="smoke-star", objective="stl", reasoning="none", answer_format="choice").resolve()
    student = load_student("mini-blip2").eval()
    examples = build_examples(smoke_star[0][:3], None, config)
    features = features_of(smoke_star[0], student, replace(config, blind=True))
    batch = Collator(student, examples, features, config)([0, 1, 2])
    assert batch["labels"].shape[0] == 12 and batch["option_rows"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    with torch.no_grad():
        found = Objective(student, 0.0)(**batch)["loss"]
        states, mask = student.encode(batch["features"], batch["input_ids"], batch["attention_mask"])
        scores = []
        for row, labels in zip(batch["option_rows"].tolist(), batch["labels"], strict=True):
            ids = labels[labels != IGNORE]
            inputs = torch.cat([torch.tensor([student.answer_start]), ids[:-1]])[None]
            (logits,) = student.decode(states[[row]], mask[[row]], [(inputs, torch.tensor([0]))])
            scores.append(logits[0].log_softmax(-1).gather(1, ids[:, None]).mean())
    expected = torch.nn.functional.cross_entropy(SHARPNESS * torch.stack(scores).view(3, 4), batch["answers"])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_student_learns_by_choice(tmp_path, smoke_star):
    run = train(TrainConfig(dataset="smoke-star", answer_format="choice", split="val"), runs=tmp_path)
    assert run.config.answer_format == "choice" and run.predictions["prediction"].notna().all()
    assert {"answer_loss", "reasoning_loss"} <= set(run.history)
