"""Phase 3: the losses against two separate passes, the ways of answering, and runs that can be killed and repeated."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from reasvqa import paths
from reasvqa.generation import read_reasoning
from reasvqa.learning import TrainConfig, build_examples, train
from reasvqa.learning.answering import predict, score_options
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import MissingVideos, build_features, readable
from reasvqa.learning.objective import Objective
from reasvqa.learning.targets import Example, answer_text, source_text
from reasvqa.refinement import refine
from reasvqa.students import load_student
from reasvqa.students.adapters import load_trained, prepare, trained_state

CONFIG = TrainConfig(dataset="smoke-star")


@pytest.fixture(scope="module")
def reasoning():
    return read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"))


@pytest.fixture
def student():
    torch.manual_seed(0)
    student = load_student("mini-blip2")
    prepare(student, CONFIG.resolve())
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # LoRA begins as zero; a test of gradients needs it to do something
            torch.nn.init.normal_(parameter, std=0.05)
    return student


@pytest.fixture(scope="module")
def features(smoke_star):
    return [
        build_features(samples, load_student("mini-blip2"), "mini-blip2", 4, paths.features()) for samples in smoke_star
    ]


@pytest.fixture
def batch(student, smoke_star, reasoning, features):
    """Six questions, one of them without a reasoning, so that texts are padded and rows differ between the tasks."""
    examples = build_examples(smoke_star[0][:6], reasoning, objective="mtl", kind="refined")
    examples[2] = replace(examples[2], reasoning=None)
    return Collator(student, examples, features[0])(list(range(6)))


# --- the objective ----------------------------------------------------------------------------------------------------


def two_passes(student, batch, beta):
    """Eq. 2 as it is written: the whole model runs once per task, T5 itself shifts the labels and computes the loss."""
    losses = []
    tasks = (
        (batch["labels"], student.answer_start, slice(None)),
        (batch["reasoning_labels"], student.reasoning_start, batch["reasoning_rows"]),
    )
    for labels, start, rows in tasks:
        language_model = student.model.language_model
        language_model.config.decoder_start_token_id = start
        frames = student.model.language_projection(batch["features"][rows])
        numbers = language_model.get_input_embeddings()(
            student.tokenizer("1234", add_special_tokens=False, return_tensors="pt").input_ids
        )
        frames = (frames + numbers.view(1, 4, 1, -1)).flatten(1, 2)
        embeds = torch.cat([frames, language_model.get_input_embeddings()(batch["input_ids"][rows])], dim=1)
        mask = torch.cat([torch.ones(len(labels), frames.shape[1]), batch["attention_mask"][rows]], dim=1)
        losses.append(language_model(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss)
        language_model.config.decoder_start_token_id = student.answer_start
    return (1 - beta) * losses[0] + beta * losses[1]


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_one_pass_equals_two(student, batch, beta, assert_same_loss_and_gradients):
    assert_same_loss_and_gradients(
        student, [Objective(student, beta)(**batch)["loss"], two_passes(student, batch, beta)]
    )


def test_each_loss_is_a_mean_over_its_own_tokens(student, batch):
    """Repeating a sample, or padding more, must not change what beta means."""
    objective = Objective(student, 0.3)
    once = objective(**batch)
    padded = dict(
        batch,
        labels=F.pad(batch["labels"], (0, 9), value=-100),
        reasoning_labels=F.pad(batch["reasoning_labels"], (0, 5), value=-100),
    )
    twice = {
        name: torch.cat([value, value + 6 if name == "reasoning_rows" else value]) for name, value in batch.items()
    }
    for other in (padded, twice):
        torch.testing.assert_close(objective(**other)["loss"], once["loss"], atol=1e-5, rtol=1e-5)


def test_beta_zero_is_the_answer_alone(student, batch):
    out = Objective(student, 0.0)(**batch)
    assert out["loss"] == out["answer_loss"] and "reasoning_loss" not in out


def test_only_projection_and_lora_are_trained(student):
    names = {name.split("lora_")[0].split(".")[1] for name, p in student.named_parameters() if p.requires_grad}
    assert names == {"language_projection", "language_model"}
    assert all(
        "lora_" in name or "language_projection" in name for name, p in student.named_parameters() if p.requires_grad
    )


# --- targets ----------------------------------------------------------------------------------------------------------


def test_targets(smoke_star, reasoning):
    train_samples = smoke_star[0]
    right = reasoning.set_index("id")["correct"]
    stl = build_examples(train_samples, reasoning, objective="stl", kind="refined", subset="cr")
    assert [e.sample.id for e in stl] == [s.id for s in train_samples if right[s.id]]
    row = reasoning.set_index("id").loc[stl[0].sample.id]
    assert (
        stl[0].target == f"{refine(row['response'])}\nAnswer: {stl[0].sample.answer_text}" and stl[0].reasoning is None
    )
    mtl = build_examples(train_samples, reasoning, objective="mtl", kind="refined", subset="cr")
    assert len(mtl) == len(train_samples) and all((e.reasoning is not None) == right[e.sample.id] for e in mtl)
    half = build_examples(train_samples, reasoning, objective="mtl", kind="refined", fraction=0.5, seed=3)
    assert sum(e.reasoning is not None for e in half) == round(0.5 * len(train_samples))
    qa = build_examples(train_samples, None, objective="stl", kind="none")
    assert [e.target for e in qa] == [s.answer_text for s in train_samples]


def test_incorrect_reasoning_never_names_the_truth(smoke_star, reasoning):
    """What the student reads of a wrong response holds no word of the right answer that could be learned by copying."""
    wrong = [s for s in smoke_star[0] if not reasoning.set_index("id").loc[s.id, "correct"]]
    examples = {e.sample.id: e for e in build_examples(smoke_star[0], reasoning, objective="mtl", kind="refined")}
    assert wrong
    for sample in wrong:
        name = sample.answer_text.rstrip(".").split()[-1]
        assert name not in examples[sample.id].reasoning.replace(".", "").split()


def test_reasoning_must_cover_the_questions(smoke_star, reasoning):
    with pytest.raises(ValueError, match="have no line in the reasoning file"):
        build_examples(smoke_star[0], reasoning.iloc[1:], objective="mtl", kind="refined")


# --- answering --------------------------------------------------------------------------------------------------------


def test_text_scores_are_mean_log_likelihoods(student, smoke_star, features):
    """All options of a batch in one decoder pass, against one option at a time through the model's own loss."""
    samples = list(smoke_star[1][:3])
    scores = score_options(student, samples, features[1], "text")
    for sample, row in zip(samples, scores, strict=True):
        for i in range(len(sample.options)):
            single = Collator(student, [option_as_target(sample, i)], features[1])([0])
            loss = Objective(student, 0.0)(**single)["loss"]
            assert float(row[i]) == pytest.approx(-float(loss), abs=1e-4)


def option_as_target(sample, i):
    return Example(sample, source_text(sample, "text"), answer_text(sample, "text", i))


def test_options_are_ranked_after_the_reasoning_that_was_written(student, smoke_star, features):
    """Eq. 1 with texts: the likelihood of each option as the end of the student's own text, computed one option at a time."""
    samples = list(smoke_star[1][:3])
    student.eval()
    predictions, texts = predict(student, samples, features[1], "text", written=True)
    for sample, prediction, text in zip(samples, predictions, texts, strict=True):
        reasoned = text.rsplit("Answer:", 1)[0].rstrip()
        scores = []
        for option in sample.options:
            single = Collator(
                student, [Example(sample, source_text(sample, "text"), f"{reasoned}\nAnswer: {option}")], features[1]
            )([0])
            labels = single["labels"].clone()
            labels[:, : labels.shape[1] - len(student.target_ids([f" {option}"], 99)[0])] = -100
            states, mask = student.encode(single["features"], single["input_ids"], single["attention_mask"])
            start = torch.cat([torch.tensor([[student.answer_start]]), single["labels"][:, :-1]], dim=1)
            (logits,) = student.decode(states, mask, [(start, torch.tensor([0]))])
            scores.append(-float(F.cross_entropy(logits[0], labels[0], ignore_index=-100).detach()))
        assert prediction == int(np.argmax(scores))


def test_letter_scores_are_the_first_step(student, smoke_star, features):
    samples = list(smoke_star[1][:5])
    predictions, _ = predict(student, samples, features[1], "letter")
    scores = score_options(student, samples, features[1], "letter")
    assert [len(row) for row in scores] == [4] * 5
    assert predictions == [int(row.argmax()) for row in scores]
    assert all(letter in source_text(samples[0], "letter") for letter in ("A. ", "B. ", "C. ", "D. "))


def test_blind_students_do_not_look(student, smoke_star, features):
    samples = list(smoke_star[1][:4])
    seeing, blind = (torch.stack(score_options(student, samples, f, "text")) for f in (features[1], None))
    assert not torch.allclose(seeing, blind)


# --- the frozen half --------------------------------------------------------------------------------------------------


def test_cached_features_are_the_models_own(smoke_star, features):
    from reasvqa.video import read_frames

    student, sample = load_student("mini-blip2"), smoke_star[1][0]
    pixels = student.preprocess(read_frames(smoke_star[1].videos / sample.video, 4, sample.clip))
    with torch.no_grad():
        vision = student.model.vision_model(pixels).last_hidden_state
        own = student.model.qformer(
            query_embeds=student.model.query_tokens.expand(4, -1, -1), encoder_hidden_states=vision
        ).last_hidden_state
    np.testing.assert_allclose(features[1][sample], own.numpy(), atol=1e-5)


def test_missing_videos_are_reported_and_can_be_skipped(smoke_star, tmp_path, capsys):
    import shutil

    from reasvqa.datasets import Samples

    samples = smoke_star[1][:9]
    for sample in samples[3:]:
        shutil.copy(samples.videos / sample.video, tmp_path / sample.video)
    moved = Samples(samples, tmp_path)
    features = build_features(moved, load_student("mini-blip2"), "mini-blip2", 4, tmp_path / "features")
    with pytest.raises(MissingVideos, match=r"1 clips of \d+ cannot be read, 3 of 9 questions"):
        readable(moved, features, skip_missing=False)
    assert [s.id for s in readable(moved, features, skip_missing=True)] == [s.id for s in samples[3:]]
    assert "Skipped: 1 clips" in capsys.readouterr().out
    shutil.copy(
        samples.videos / samples[0].video, tmp_path / samples[0].video
    )  # the file turns up: it is read, the others are not read again
    again = build_features(moved, load_student("mini-blip2"), "mini-blip2", 4, tmp_path / "features")
    assert not again.missing and len(readable(moved, again, False)) == 9


# --- settings and runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": 1.0}, r"beta=1.0: the weight of the reasoning must be at least 0 and below 1"),
        ({"objective": "rl"}, r"objective='rl': choose one of stl, mtl"),
        ({"reasoning": "long"}, r"reasoning='long': choose one of refined"),
        ({"fraction": 0.0}, r"fraction=0.0"),
        ({"epochs": -1}, r"epochs=-1: must be positive"),
    ],
)
def test_wrong_settings_say_what_is_possible(values, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **values).resolve()


def test_equal_settings_are_one_run():
    qa = replace(CONFIG, objective="stl", reasoning="none").resolve()
    assert replace(CONFIG, beta=0.0).resolve() == qa == replace(CONFIG, reasoning="none", subset="cr").resolve()
    assert replace(CONFIG, objective="stl").resolve() != qa


def test_paper_settings_are_the_papers():
    config = TrainConfig(dataset="nextqa", student="blip2-flan-t5-xl").resolve()
    assert (config.learning_rate, config.batch_size, config.epochs, config.num_frames, config.lora) == (
        3e-5,
        8,
        10,
        4,
        True,
    )


def test_same_seed_same_predictions(tmp_path):
    """Bit for bit, weights included; another seed differs."""
    runs = [train(replace(CONFIG, seed=seed), runs=tmp_path / str(k)) for k, seed in enumerate((0, 0, 1))]
    weights = [(run.path / "weights.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] != weights[2]
    pd.testing.assert_frame_equal(runs[0].predictions, runs[1].predictions)


def test_a_run_is_kept_and_read_back(tmp_path):
    run = train(CONFIG, runs=tmp_path)
    written = (run.path / "weights.safetensors").stat().st_mtime_ns
    again = train(CONFIG, runs=tmp_path)
    assert again.path == run.path and (again.path / "weights.safetensors").stat().st_mtime_ns == written
    assert list(run.predictions.columns) == ["id", "prediction", "answer", "type", "group", "text"]
    assert run.accuracy == pytest.approx(100 * (run.predictions["prediction"] == run.predictions["answer"]).mean())
    assert {"step", "loss", "answer_loss", "reasoning_loss"} <= set(run.history.columns)
    assert train(CONFIG, runs=tmp_path, force=True).path == run.path
    assert (run.path / "weights.safetensors").stat().st_mtime_ns > written


def test_a_kept_student_answers_as_it_did(tmp_path, smoke_star, features):
    run = train(CONFIG, runs=tmp_path)
    predictions, _ = predict(run.load_student(), smoke_star[1], features[1], "text")
    assert predictions == run.predictions["prediction"].tolist()
    assert len(run.explain(smoke_star[1][:2])) == 2


def test_weights_of_another_student_are_refused(student, tmp_path):
    import safetensors.torch

    state = trained_state(student)
    state.popitem()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="not the weights of this student"):
        load_trained(student, tmp_path / "w.safetensors")


def test_stl_students_write_and_are_parsed(tmp_path):
    run = train(replace(CONFIG, objective="stl"), runs=tmp_path)
    assert run.name == "STL_All" and run.predictions["text"].str.len().gt(0).all()


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_result(tmp_path):
    """The process is killed after its first checkpoint; what follows ends with the same weights as an undisturbed run."""
    settings = dict(dataset="smoke-star", epochs=12)
    undisturbed = train(TrainConfig(**settings), runs=tmp_path / "a")
    code = f"from reasvqa.learning import *; from pathlib import Path; train(TrainConfig(**{settings!r}), runs=Path({str(tmp_path / 'b')!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "b" / f"{undisturbed.path.name}.partial" / "checkpoints"
    deadline = time.time() + 120
    while not list(checkpoints.glob("checkpoint-*/complete")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b" / undisturbed.path.name).exists()  # it was killed before it ended
    assert list(checkpoints.glob("checkpoint-*/complete"))
    resumed = train(TrainConfig(**settings), runs=tmp_path / "b")
    assert (resumed.path / "weights.safetensors").read_bytes() == (
        undisturbed.path / "weights.safetensors"
    ).read_bytes()
    pd.testing.assert_frame_equal(resumed.predictions, undisturbed.predictions)
    assert resumed.history["step"].tolist() == undisturbed.history["step"].tolist()


def test_saving_and_loading_keeps_the_student(tmp_path, smoke_star, features):
    """Every road a checkpoint takes must keep T5's embeddings and output matrix as they are."""
    from reasvqa.mini.pretrain import save_student

    first = load_student("mini-blip2")
    save_student(first, tmp_path / "copy")
    second = load_student(str(tmp_path / "copy"))
    samples = list(smoke_star[1][:4])
    for one, other in zip(
        *(score_options(s, samples, features[1], "text") for s in (first.eval(), second.eval())), strict=True
    ):
        torch.testing.assert_close(one, other)
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert config["architectures"] == ["Blip2ForConditionalGeneration"]


def test_unknown_student(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("mini-blip3", "nobody/such-student"):
        with pytest.raises(FileNotFoundError, match="Known names: mini-blip2"):
            load_student(name)


def test_frames_are_numbered_as_their_checkpoint_was_pretrained(student):
    """Added to the frame's vectors in the miniature; as text before the frame in checkpoints of full size."""
    features = torch.randn(2, 4, 4, 96)
    swapped = features[:, [1, 0, 2, 3]]
    for added, tokens in ((True, 4 * 4), (False, 4 * (2 + 4))):
        student.numbers_added = added
        first, second = student.visual_tokens(features), student.visual_tokens(swapped)
        assert first.shape == (2, tokens, 128)
        unequal = {tuple(row.tolist()) for row in first[0]} - {tuple(row.tolist()) for row in second[0]}
        assert len(unequal) == (
            8 if added else 0
        )  # added: the vectors of two swapped frames change; as text: only their order
        assert student.visual_tokens(features[:, :0]).shape == (2, 0, 128)
