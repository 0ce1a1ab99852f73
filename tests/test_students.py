"""Students: what is loaded is what the checkpoint holds, nothing is drawn at random or left out; adapters."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import safetensors.torch
import torch

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.learning.answering import score_options
from reasvqa.learning.features import build_features
from reasvqa.students import STUDENTS, adapters, fingerprint, load_student
from reasvqa.students.adapters import LoraInWeights, load_trained, prepare, trained_state

CONFIG = TrainConfig(dataset="smoke-star").resolve()


@pytest.fixture
def student():
    torch.manual_seed(0)
    student = load_student("mini-blip2")
    prepare(student, CONFIG)
    return student


@pytest.fixture
def copy(tmp_path) -> Path:
    """A checkpoint of one's own."""
    return Path(shutil.copytree(STUDENTS["mini-blip2"], tmp_path / "copy"))


def change_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    change(state)
    safetensors.torch.save_file(state, path, {"format": "pt"})


def test_missing_weights_are_an_error_that_lists_them(copy):
    """transformers would draw them at random, and training would go on."""
    taken = [name for name in safetensors.torch.load_file(copy / "model.safetensors") if "qformer" in name][:20]
    change_weights(copy, lambda state: [state.pop(name) for name in taken])
    with pytest.raises(ValueError, match=rf"do not fit the model \(20 missing: .*{re.escape(sorted(taken)[0])}"):
        load_student(str(copy))


def test_unexpected_weights_and_other_shapes_are_an_error(copy):
    change_weights(copy, lambda state: state.update({"language_projection.gate": torch.zeros(3)}))
    with pytest.raises(ValueError, match=r"1 unexpected: language_projection.gate"):
        load_student(str(copy))
    load_student("mini-blip2")  # the one that ships fits


def test_weights_of_another_shape_are_an_error(copy):
    change_weights(copy, lambda state: state.update({"language_projection.bias": torch.zeros(3)}))
    with pytest.raises(ValueError, match=r"do not fit the model \(1 mismatched: .*language_projection.bias"):
        load_student(str(copy))


def test_a_tokenizer_without_its_files_is_an_error(copy):
    """transformers would make an empty one, every text would become no tokens, and training would go on."""
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"the tokenizer at .* knows no words: its files are missing"):
        load_student(str(copy))


@pytest.mark.parametrize("few", [1, 5, 64])
def test_texts_that_go_on_are_the_librarys(few, smoke_star, tmp_path, monkeypatch):
    """Short texts first, then the rest of those that have no end yet: the same as all at once."""
    from transformers.modeling_outputs import BaseModelOutput

    from reasvqa.learning.answering import encode_questions
    from reasvqa.students import blip2

    monkeypatch.setattr(blip2, "FEW_TOKENS", few)
    student, samples = load_student("mini-blip2").eval(), smoke_star[0][:6]
    features = build_features(samples, student, "mini-blip2", CONFIG.num_frames, tmp_path)
    with torch.no_grad():
        states, mask = encode_questions(student, samples, features, CONFIG)
    lengths = set()
    for start in (student.answer_start, student.reasoning_start):
        tokens = student.language_model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            decoder_start_token_id=start,
            max_new_tokens=40,
            do_sample=False,
        )
        wanted = [text.strip() for text in student.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        assert student.generate(states, mask, start, 40) == wanted
        lengths |= {len(text.split()) for text in wanted}
    assert len(lengths) > 2


def zero_100_kb(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(100_000))


def another_letter(name: str):
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        at = next(i for i, letter in enumerate(text) if i > len(text) // 3 and letter.isdigit())
        (folder / name).write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])

    return change


@pytest.mark.parametrize(
    "change",
    [zero_100_kb, *map(another_letter, ("tokenizer.json", "config.json", "preprocessor_config.json"))],
    ids=["weights", "tokenizer", "config", "preprocessor"],
)
def test_the_fingerprint_is_of_all_that_is_read(copy, change):
    """Changes that keep every file's size."""
    sizes = {path.name: path.stat().st_size for path in copy.iterdir()}
    assert fingerprint(str(copy)) == fingerprint("mini-blip2")  # of the content, not of the place
    change(copy)
    assert {path.name: path.stat().st_size for path in copy.iterdir()} == sizes
    assert fingerprint(str(copy)) != fingerprint("mini-blip2")


def test_weights_of_another_student_are_refused(student, tmp_path):
    state = trained_state(student)
    state.popitem()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="not the weights of this student"):
        load_trained(student, tmp_path / "w.safetensors")


def test_only_projection_and_lora_are_trained(student):
    names = {name.split("lora_")[0].split(".")[1] for name, p in student.named_parameters() if p.requires_grad}
    assert names == {"language_projection", "language_model"}
    assert all(
        "lora_" in name or "language_projection" in name for name, p in student.named_parameters() if p.requires_grad
    )


def test_lora_in_the_weights_is_lora(student):
    """Output and gradients are those of peft's own layer; where there is dropout, a wide layer or half precision, it
    is peft's own."""
    layer = student.language_model.encoder.block[0].layer[1].DenseReluDense.wi_0
    assert type(layer) is LoraInWeights
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    found = []
    for forward in (LoraInWeights.forward, peft.tuners.lora.Linear.forward):
        x = torch.linspace(-2, 2, 2 * 5 * 128).view(2, 5, 128).requires_grad_()
        out = forward(layer, x)
        out.square().mean().backward()
        factors = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        found.append([out.detach(), x.grad, *(factor.grad.clone() for factor in factors)])
        layer.zero_grad()
    for own, theirs in zip(*found, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-4)
    others = [(replace(CONFIG, lora_dropout=0.1), 256, torch.float32), (CONFIG, 64, torch.float32)]
    for config, narrow, dtype in [*others, (CONFIG, 256, torch.bfloat16)]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(adapters, "NARROW", narrow)
            prepare(other := load_student("mini-blip2", dtype), config)
        assert type(other.language_model.encoder.block[0].layer[1].DenseReluDense.wi_0) is peft.tuners.lora.Linear


def test_saving_and_loading_keeps_the_student(tmp_path, smoke_star):
    """Every road a checkpoint takes must keep T5's embeddings and output matrix as they are."""
    from reasvqa.mini.pretrain import save_student

    first = load_student("mini-blip2")
    features = build_features(smoke_star[1], first, "mini-blip2", 4, paths.features())
    save_student(first, tmp_path / "copy")
    second = load_student(str(tmp_path / "copy"))
    samples = list(smoke_star[1][:4])
    scores = [score_options(student.eval(), samples, features, CONFIG) for student in (first, second)]
    for one, other in zip(*scores, strict=True):
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


@torch.no_grad()
def test_targets_side_by_side_are_read_as_if_each_were_alone(student):
    """However many a question has (the first: three, the second: none), however long they are: T5's own decoder, one
    target at a time. Beyond 128 tokens all distances are one to T5."""
    states, mask = torch.randn(3, 20, 128), torch.ones(3, 20, dtype=torch.long)
    mask[0, 15:] = 0
    groups = [
        (torch.randint(2, 500, (3, 7)), torch.tensor([0, 2, 0])),
        (torch.randint(2, 500, (1, 150)), torch.tensor([0])),
    ]
    for logits, (ids, rows) in zip(student.decode(states, mask, groups), groups, strict=True):
        for of_one, target, row in zip(logits, ids, rows, strict=True):
            alone = student.language_model(
                encoder_outputs=(states[row][None],), attention_mask=mask[row][None], decoder_input_ids=target[None]
            ).logits
            torch.testing.assert_close(of_one, alone[0], atol=2e-5, rtol=1e-4)
