"""LAVIS's names against a list written from LAVIS's own modules, and checkpoints that must be refused."""

import pytest
import torch
from transformers import Blip2ForConditionalGeneration

from reasvqa.lavis import LavisError, load_lavis_checkpoint, save_lavis_checkpoint
from reasvqa.lavis.checkpoints import lavis_keys
from reasvqa.students import STUDENTS


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration.from_pretrained(STUDENTS["mini-blip2"])
    for name, parameter in model.named_parameters():  # biases that were trained on keys have no place in LAVIS
        if name.endswith("qkv.bias"):
            parameter.data[len(parameter) // 3 : 2 * len(parameter) // 3] = 0
    return model


NAMES = {  # transformers' to LAVIS's, written from LAVIS's own modules
    "query_tokens": "query_tokens",
    "vision_model.embeddings.class_embedding": "visual_encoder.cls_token",
    "vision_model.embeddings.position_embedding": "visual_encoder.pos_embed",
    "vision_model.embeddings.patch_embedding.bias": "visual_encoder.patch_embed.proj.bias",
    "vision_model.post_layernorm.weight": "ln_vision.weight",
    "vision_model.encoder.layers.38.self_attn.qkv.weight": "visual_encoder.blocks.38.attn.qkv.weight",
    "vision_model.encoder.layers.2.self_attn.qkv.bias": "visual_encoder.blocks.2.attn.q_bias visual_encoder.blocks.2.attn.v_bias",  # noqa: E501
    "vision_model.encoder.layers.2.self_attn.projection.bias": "visual_encoder.blocks.2.attn.proj.bias",
    "vision_model.encoder.layers.2.layer_norm1.weight": "visual_encoder.blocks.2.norm1.weight",
    "vision_model.encoder.layers.2.mlp.fc2.bias": "visual_encoder.blocks.2.mlp.fc2.bias",
    "qformer.layernorm.bias": "Qformer.bert.embeddings.LayerNorm.bias",
    "qformer.encoder.layer.4.attention.attention.query.weight": "Qformer.bert.encoder.layer.4.attention.self.query.weight",  # noqa: E501
    "qformer.encoder.layer.4.crossattention.attention.key.bias": "Qformer.bert.encoder.layer.4.crossattention.self.key.bias",  # noqa: E501
    "qformer.encoder.layer.4.crossattention.output.dense.weight": "Qformer.bert.encoder.layer.4.crossattention.output.dense.weight",  # noqa: E501
    "qformer.encoder.layer.4.output_query.LayerNorm.bias": "Qformer.bert.encoder.layer.4.output_query.LayerNorm.bias",
    "language_projection.weight": "t5_proj.weight",
    "language_model.lm_head.weight": "t5_model.lm_head.weight",
    "language_model.decoder.block.0.layer.1.EncDecAttention.q.weight": "t5_model.decoder.block.0.layer.1.EncDecAttention.q.weight",  # noqa: E501
}


def test_names():
    assert {name: " ".join(lavis_keys(name)) for name in NAMES} == NAMES


def test_there_and_back(model, tmp_path):
    """Different output matrix and embeddings, as FlanT5 has them, survive in a model that was constructed with both
    tied."""
    model.language_model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.language_model.lm_head.weight))
    save_lavis_checkpoint(model, tmp_path / "c.pth")
    saved = torch.load(tmp_path / "c.pth", weights_only=True)
    saved["model"]["Qformer.bert.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(saved, tmp_path / "c.pth")
    other = Blip2ForConditionalGeneration(model.config)
    assert load_lavis_checkpoint(other, tmp_path / "c.pth") == []
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, msg=name)
    assert not torch.equal(other.language_model.lm_head.weight, other.language_model.shared.weight)


def test_unmatched_and_missing_keys_are_listed_and_nothing_is_loaded(model, tmp_path):
    save_lavis_checkpoint(model, tmp_path / "c.pth")
    state = torch.load(tmp_path / "c.pth", weights_only=True)["model"]
    other = Blip2ForConditionalGeneration(model.config)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    unknown = {"opt_proj.weight": torch.zeros(1), "itm_head.bias": torch.zeros(2)}
    torch.save({"model": state | unknown}, tmp_path / "more.pth")
    with pytest.raises(LavisError, match=r"keys without a counterpart in the model: itm_head.bias, opt_proj.weight"):
        load_lavis_checkpoint(other, tmp_path / "more.pth")
    del state["t5_proj.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(LavisError, match=r"1 parameters of the model are not in .*: language_projection.weight"):
        load_lavis_checkpoint(other, tmp_path / "less.pth")
    state["t5_proj.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "shape.pth")
    with pytest.raises(LavisError, match=r"t5_proj.bias has shape \(3,\)"):
        load_lavis_checkpoint(other, tmp_path / "shape.pth", partial=True)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in before.items())


def test_a_fine_tuned_delta(model, tmp_path):
    torch.save({"model": {"t5_proj.weight": torch.ones(128, 96), "t5_proj.bias": torch.ones(128)}}, tmp_path / "d.pth")
    missing = load_lavis_checkpoint(model, tmp_path / "d.pth", partial=True)
    assert "query_tokens" in missing and "language_projection.weight" not in missing
    assert model.language_projection.weight.unique().tolist() == [1.0]


def test_pickled_code_is_not_executed(model, tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    torch.save({"model": {"x": Evil()}}, tmp_path / "evil.pth")
    with pytest.raises(LavisError, match="safely"):
        load_lavis_checkpoint(model, tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()
