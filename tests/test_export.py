"""Exports: loaded without this library they are the student that was trained; folders of others are left alone."""

import json
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import safetensors.torch
import torch
import transformers

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.lavis import LavisError, load_lavis_checkpoint, save_lavis_checkpoint
from reasvqa.learning import Run, train
from reasvqa.learning.answering import pad
from reasvqa.learning.export import export_folder, write_merged
from reasvqa.learning.targets import source_text
from reasvqa.students import FAMILIES, STUDENTS, Student, load_student
from reasvqa.video import read_frames

MINIS = {"blip-2": "mini-blip2", "llava_onevision": "mini-llava-ov-small"}
OTHERS = [MINIS.get(family, family) for family in FAMILIES if family != "blip-2"]
CONFIG = TrainConfig(dataset="smoke-star", questions=24, learning_rate=5e-3).resolve()


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def base_of(tmp_path_factory):
    """The folder of a student of the miniature, or of a tiny random checkpoint of a family."""
    made: dict[str, str] = {}

    def get(name: str) -> str:
        if name in STUDENTS:
            return STUDENTS[name]
        if name not in made:
            from reasvqa.mini.tiny import write_tiny

            made[name] = str(write_tiny(name, tmp_path_factory.mktemp(name)))
        return made[name]

    return get


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, base_of):
    """A trained student by its name; each is trained once."""
    runs: dict[tuple, Run] = {}

    def get(student: str, **settings) -> Run:
        settings = {"lora": True} | settings
        key = (student, *settings.items())
        if key not in runs:
            name = student if student in STUDENTS else base_of(student)
            config = replace(CONFIG, student=name, **settings).resolve()
            runs[key] = train(config, runs=tmp_path_factory.mktemp("runs"))
        return runs[key]

    return get


def plain_model(source: str) -> torch.nn.Module:
    """As anybody loads a checkpoint, with the class that its config.json names."""
    kind = json.loads((Path(source) / "config.json").read_text())["architectures"][0]
    return getattr(transformers, kind).from_pretrained(source).eval()


def decoded(student: Student, samples, features: torch.Tensor) -> list[torch.Tensor]:
    """Logits of options' words and of a reasoning's, after questions and videos."""
    ids, mask = pad(student.source_ids([source_text(s, "text") for s in samples], 100), student.pad)
    texts = [f"{s.options[0]} {s.options[1]}" for s in samples]
    targets = []
    for start in (student.answer_start, student.reasoning_start):
        words, _ = pad([[start, *row] for row in student.target_ids(texts)], student.pad)
        targets.append((words, torch.arange(len(samples))))
    with torch.no_grad():
        return student.decode(*student.encode(features, ids, mask), targets)


def seen(student: Student, samples) -> torch.Tensor:
    clips = [read_frames(samples.videos / s.video, 4, s.clip) for s in samples]
    return student.encode_frames(clips)


@pytest.mark.parametrize(
    ("name", "lora"), [("mini-blip2", True), slow("mini-blip2", False), *(slow(name, True) for name in OTHERS)]
)
def test_the_adapter_on_its_base_is_the_student(name, lora, run_of, base_of, smoke_star, tmp_path):
    """Also with pictures: what was not trained is the base's. Without LoRA, the connector alone."""
    run, samples = run_of(name, lora=lora), smoke_star[1][:3]
    assert run.export(tmp_path / "adapter") == tmp_path / "adapter"
    ours, untrained = run.load_student(), load_student(base_of(name)).eval()
    base = plain_model(base_of(name))
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    theirs = type(ours)(loaded.base_model.model, ours.tokenizer, ours.preprocess)
    # In float64: LoRA beside the weights and in them round differently, and by how much depends on the processor.
    students = [student.double() for student in (ours, theirs, untrained)]
    expected, found, before = (decoded(s, samples, seen(s, samples)) for s in students)
    for a, b, c in zip(expected, found, before, strict=True):
        torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-5)
        assert (a - c).abs().max() > 1e-3  # training has changed them
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == run.config.student and config["peft_type"] == "LORA"
    state = peft.utils.load_peft_weights(str(tmp_path / "adapter"), device="cpu")
    assert sum(value.numel() for value in state.values()) == run.metrics["trained_parameters"]


@pytest.mark.parametrize("name", ["mini-blip2", *map(slow, OTHERS)])
def test_the_merged_checkpoint_is_the_student(name, run_of, base_of, smoke_star, tmp_path):
    run, samples = run_of(name), smoke_star[1][:3]
    run.export(tmp_path / "merged", merged=True)
    ours, again = run.load_student(), load_student(str(tmp_path / "merged")).eval()
    model = plain_model(str(tmp_path / "merged"))
    assert not [key for key in model.state_dict() if "lora" in key or "base_layer" in key]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    theirs = type(ours)(model, tokenizer, ours.preprocess)
    expected, *others = (decoded(s, samples, seen(s, samples)) for s in (ours, theirs, again))
    for found in others:
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-5)
    assert again.preprocess == ours.preprocess
    for processing in ("processor_config.json", "preprocessor_config.json"):
        base = Path(base_of(name), processing)
        if base.exists():  # what a checkpoint has stays as it is
            assert (tmp_path / "merged" / processing).read_bytes() == base.read_bytes()
    assert (tmp_path / "merged" / "processor_config.json").exists()


@pytest.mark.slow
def test_in_bfloat16_the_adapter_keeps_its_precision(run_of, smoke_star, tmp_path):
    """What was trained is in float32, and stays so; merged, it is rounded to what the other weights are in."""
    run, samples = run_of("mini-blip2", precision="bf16"), smoke_star[1][:3]
    run.export(tmp_path / "a")
    kept = safetensors.torch.load_file(run.path / "weights.safetensors")
    state = peft.utils.load_peft_weights(str(tmp_path / "a"), device="cpu")
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert sorted(value.sum().item() for value in state.values()) == sorted(v.sum().item() for v in kept.values())
    run.export(tmp_path / "a", merged=True)
    again, ours = load_student(str(tmp_path / "a"), torch.bfloat16).eval(), run.load_student()
    for a, b in zip(*(decoded(s, samples, seen(s, samples)) for s in (ours, again)), strict=True):
        assert (a - b).float().abs().mean() < 0.05 * a.float().abs().mean()
    assert "weights in torch.bfloat16" in (tmp_path / "a" / "README.md").read_text()


def test_a_processor_that_is_not_here_is_not_made_up(run_of, tmp_path, monkeypatch):
    run, base = run_of("mini-blip2"), STUDENTS["mini-blip2"]
    monkeypatch.setitem(STUDENTS, "mini-blip2", "nobody/such-student")
    with pytest.raises(FileNotFoundError, match="hf download nobody/such-student"):
        write_merged(load_student(base), run.config, tmp_path)


@pytest.mark.slow
def test_blip2s_processor_sees_as_the_student_does(run_of, smoke_star, tmp_path):
    """A picture of the model's own size, so that nothing is resized, and a text, through the library's own forward."""
    run, sample = run_of("mini-blip2"), smoke_star[1][0]
    folder, student = run.export(tmp_path / "m", merged=True), run.load_student()
    picture = read_frames(smoke_star[1].videos / sample.video, 4, sample.clip)[0, ::4, ::4]
    inputs = transformers.AutoProcessor.from_pretrained(folder)([picture], sample.question, return_tensors="pt")
    torch.testing.assert_close(inputs["pixel_values"], student.preprocess(picture[None]), atol=1e-5, rtol=1e-5)
    words = torch.tensor([[student.answer_start, *student.target_ids([sample.options[0]])[0]]])
    with torch.no_grad():
        theirs = plain_model(str(folder))(**inputs, decoder_input_ids=words).logits
        text = student.language_model.get_input_embeddings()(inputs["input_ids"][:, student.feature_shape[0] :])
        visual = student.projection(student.vision(student.preprocess(picture[None])))
        ours = student.language_model(inputs_embeds=torch.cat([visual, text], 1), decoder_input_ids=words).logits
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(run_of, tmp_path) -> Path:
    return run_of("mini-blip2").export(tmp_path / "out")


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_export_takes_the_place_of_an_export(exported, run_of):
    adapter = content(exported)
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "reasvqa.json"} == set(adapter)
    run_of("mini-blip2").export(exported, merged=True)
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= set(content(exported))
    run_of("mini-blip2").export(exported)
    assert content(exported) == adapter  # the same, byte for byte
    assert [path.name for path in exported.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["mine", "mine/thesis.tex", "mine/reasvqa.json", "elsewhere/thesis.tex"])
def test_what_is_no_export_is_left_alone(name, run_of, tmp_path):
    """A file, a folder, one with a false mark, a link."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("[]")
    if name.startswith("elsewhere"):
        (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match=r"mine: .* Give another place"):
        run_of("mini-blip2").export(tmp_path / "mine")
    assert content(tmp_path) == before


def test_what_was_added_to_an_export_is_not_lost(exported, run_of):
    (exported / "notes.txt").write_text("mine")
    before = content(exported)
    with pytest.raises(FileExistsError, match=r"notes[.]txt is not part of an export"):
        run_of("mini-blip2").export(exported)
    assert content(exported) == before


def test_a_failure_leaves_what_was_there(exported):
    before = content(exported.parent)
    with pytest.raises(OSError, match="no space left"), export_folder(exported, {}) as folder:
        (folder / "model.safetensors").write_bytes(b"half of")
        raise OSError("no space left on device")
    assert content(exported.parent) == before


# --- the card ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_card_says_what_it_is(run_of, smoke_star, tmp_path):
    """Its lines of code are executed."""
    run = run_of("mini-llava-ov-small")
    for merged in (False, True):
        card = (run.export(tmp_path / "out", merged) / "README.md").read_text()
        for text in (
            f"{run.accuracy:.1f} %",
            f"`{run.config.split}`",
            run.path.name,
            "sim-26b",
            "<answer>",
            "<reasoning>",
        ):
            assert text in card
        assert "Licence" in card and "\nlicense:" not in card and smoke_star[1][0].question in card
        code = card.split("```python\n")[1].split("```")[0].replace("THIS FOLDER", str(tmp_path / "out"))
        values: dict = {}
        exec(code.replace("FOLDER OF mini-llava-ov-small", STUDENTS["mini-llava-ov-small"]), values)
        assert "model" in values


def test_no_file_names_a_place_of_this_machine(run_of, tmp_path):
    places = (paths.SHIPPED, paths.data(), tmp_path, Path.home())
    for merged in (False, True):
        folder = run_of("mini-blip2").export(tmp_path / "out", merged)
        for name, data in content(folder).items():
            assert not [place for place in places if str(place).encode() in data], name


# --- LAVIS ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_blip2_goes_to_lavis(run_of, smoke_star, tmp_path):
    """Key biases, which LAVIS does not have, add the same to all of a query's logits, and so nothing."""
    run, samples = run_of("mini-blip2"), smoke_star[1][:3]
    run.export(tmp_path / "m", merged=True)
    student = load_student(str(tmp_path / "m")).eval()
    save_lavis_checkpoint(student.model, tmp_path / "student.pth")
    other = load_student("mini-blip2").eval()
    assert load_lavis_checkpoint(other.model, tmp_path / "student.pth") == []
    other.model.vision_model.post_layernorm.eps = student.model.vision_model.post_layernorm.eps
    for a, b in zip(*(decoded(s, samples, seen(s, samples)) for s in (run.load_student(), other)), strict=True):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=0)
    with pytest.raises(LavisError, match="merged"):
        save_lavis_checkpoint(run.load_student().model, tmp_path / "lora.pth")
    assert not (tmp_path / "lora.pth").exists()
