"""Train Eq. 2 as a model of LAVIS, `reasvqa_t5`, with LAVIS's own runner.

This module runs in the environment of `environment-lavis.yml`; `export_annotations` writes its data in the other one.

    python -m reasvqa.lavis.model --cfg-path reasvqa/lavis/configs/train_nextqa.yaml    one GPU, or the CPU
    torchrun --nproc-per-node 4 -m reasvqa.lavis.model --cfg-path ...    four GPUs
"""

import argparse
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if not torch.cuda.is_available() and not hasattr(torch.ops.torchvision, "nms"):
    # torchvision without a build for CPU-only torch fails at its own operators. Nothing calls them: declare them.
    _declared = torch.library.Library("torchvision", "DEF")
    _boxes = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d", "qroi_align")
    for _name in (*_boxes, *(f"_{name}_backward" for name in _boxes[2:-1])):
        _declared.define(f"{_name}() -> Tensor")

import peft
from lavis.common.config import Config
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from lavis.datasets.datasets.base_dataset import BaseDataset
from lavis.models.blip2_models.blip2 import Blip2Base
from lavis.models.blip2_models.modeling_t5 import T5Config, T5ForConditionalGeneration
from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
from lavis.models.eva_vit import VisionTransformer
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from transformers.modeling_outputs import BaseModelOutput

from reasvqa.losses import IGNORE, cross_entropy, multi_task, shift_right
from reasvqa.preprocess import Preprocess
from reasvqa.video import VideoError, decode

CONFIGS = Path(__file__).parent / "configs"


@registry.register_model("reasvqa_t5")
class ReasVQAT5(Blip2Base):
    """BLIP-2 with T5 over several frames, which learns to answer and to re-create the reasoning (section 3.3, Eq. 2).

    Its parts have the names of LAVIS's `Blip2T5`, so that checkpoints fit. Frames precede the text, each after its
    number ("1:"), as in `reasvqa.students.Blip2Student`.
    """

    PRETRAINED_MODEL_CONFIG_DICT = {
        "flant5xl": str(CONFIGS / "reasvqa_t5_flant5xl.yaml"),
        "tiny": str(CONFIGS / "reasvqa_t5_tiny.yaml"),
    }

    def __init__(
        self,
        vision: str | dict,
        num_query_token: int,
        t5_model: str,
        qformer: dict | None = None,
        image_size: int = 224,
        precision: str = "fp32",
        beta: float = 0.5,
        lora_rank: int = 8,
        max_txt_len: int = 256,
    ):
        """
        Args:
            vision: "eva_clip_g", whose weights LAVIS fetches, or the arguments of its `VisionTransformer`.
            qformer: values of `BertConfig` for a new Q-Former; None: bert-base, which LAVIS fetches.
            t5_model: a hub id or a folder, with weights and tokenizer.
            precision: "bf16" (frozen weights and T5 in bfloat16, for GPUs) or "fp32".
            beta: weight of the reasoning, 0 <= beta < 1.
        """
        super().__init__()
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta}: expected a number from 0 to below 1")
        self.beta, self.max_txt_len = beta, max_txt_len
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        if isinstance(vision, str):
            self.visual_encoder, self.ln_vision = self.init_vision_encoder(vision, image_size, 0, False, "fp32")
        else:
            norm = partial(nn.LayerNorm, eps=1e-6)
            self.visual_encoder = VisionTransformer(
                img_size=image_size, use_mean_pooling=False, qkv_bias=True, norm_layer=norm, **vision
            )
            self.ln_vision = nn.LayerNorm(self.visual_encoder.num_features)
        if qformer is None:
            self.Qformer, self.query_tokens = self.init_Qformer(num_query_token, self.visual_encoder.num_features)
        else:
            cross = {"encoder_width": self.visual_encoder.num_features, "add_cross_attention": True}
            config = BertConfig(**qformer, **cross, cross_attention_freq=2, query_length=num_query_token)
            self.Qformer = BertLMHeadModel(config)
            queries = torch.randn(1, num_query_token, config.hidden_size) * config.initializer_range
            self.query_tokens = nn.Parameter(queries)
        self.Qformer.cls = None  # the parts that read text are not used
        self.Qformer.bert.embeddings.word_embeddings = self.Qformer.bert.embeddings.position_embeddings = None
        for layer in self.Qformer.bert.encoder.layer:
            layer.output = layer.intermediate = None
        self.t5_tokenizer = AutoTokenizer.from_pretrained(t5_model)
        config = T5Config.from_pretrained(t5_model)
        config.dense_act_fn = "gelu"
        self.t5_model = T5ForConditionalGeneration.from_pretrained(t5_model, config=config)
        self.t5_proj = nn.Linear(self.Qformer.config.hidden_size, config.d_model)
        self.requires_grad_(False)
        for module in (self.visual_encoder, self.t5_model):
            module.to(self.dtype)
        if lora_rank:
            modules = r".*\.(q|k|v|o|wi|wi_0|wi_1|wo)"
            lora = peft.LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, lora_dropout=0.0, target_modules=modules)
            peft.tuners.lora.LoraModel(self.t5_model, {"default": lora}, "default")  # changes t5_model in place
        self.t5_proj.requires_grad_(True)
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.answer_start = config.decoder_start_token_id
        self.reasoning_start = self.t5_tokenizer.convert_tokens_to_ids("<extra_id_0>")

    @classmethod
    def from_config(cls, cfg) -> "ReasVQAT5":
        """Build the model of a YAML's `model` section; `pretrained` is a BLIP-2 checkpoint, `finetuned` one of ours."""
        values = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)
        names = "vision qformer num_query_token t5_model image_size precision beta lora_rank max_txt_len".split()
        model = cls(**{name: values[name] for name in names if name in values})
        if values.get("pretrained") or values.get("load_finetuned"):
            model.load_checkpoint_from_config(cfg)
        return model

    def train(self, mode: bool = True) -> "ReasVQAT5":
        """Set the mode, but keep the frozen vision side without dropout and drop path."""
        super().train(mode)
        self.visual_encoder.eval()
        self.Qformer.eval()
        return self

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode normalised frames, float (B, N, 3, H, W), into the Q-Former's outputs, float32 (B, N, Q, E)."""
        with self.autocast():
            patches = self.ln_vision(self.visual_encoder(frames.flatten(0, 1).to(self.dtype))).float()
        queries = self.query_tokens.expand(len(patches), -1, -1)
        mask = torch.ones(patches.shape[:2], dtype=torch.long, device=patches.device)
        features = self.Qformer.bert(
            query_embeds=queries, encoder_hidden_states=patches, encoder_attention_mask=mask, return_dict=True
        ).last_hidden_state
        return features.unflatten(0, frames.shape[:2])

    def read(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states of T5's encoder for numbered frames and text, (B, S, D), and their mask (B, S)."""
        embed = self.t5_model.get_input_embeddings()
        with self.autocast():
            visual, parts = self.t5_proj(features), []
            for t in range(features.shape[1]):
                number = self.t5_tokenizer(f"{t + 1}:", add_special_tokens=False, return_tensors="pt").input_ids
                number = embed(number.to(features.device)).expand(len(features), -1, -1)
                parts += [number, visual[:, t].to(embed.weight.dtype)]
            inputs = torch.cat([*parts, embed(input_ids)], dim=1)
            mask = F.pad(attention_mask, (inputs.shape[1] - input_ids.shape[1], 0), value=1)
            return self.t5_model.encoder(inputs_embeds=inputs, attention_mask=mask).last_hidden_state, mask

    def decode(self, states: Tensor, mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Return logits (M, T, V) for decoder inputs (M, T)."""
        encoded = BaseModelOutput(last_hidden_state=states)
        inputs = {"attention_mask": mask, "decoder_input_ids": decoder_input_ids}
        with self.autocast():
            return self.t5_model(encoder_outputs=encoded, **inputs).logits

    def target_loss(self, states: Tensor, mask: Tensor, labels: Tensor, start: int) -> Tensor:
        """Return the mean cross-entropy over the tokens of labels (M, T), padded with -100."""
        inputs = shift_right(labels, start, self.t5_tokenizer.pad_token_id)
        return cross_entropy(self.decode(states, mask, inputs), labels)

    def forward(self, samples: dict) -> dict[str, Tensor]:
        """Return Eq. 2 of a batch as "loss", "answer_loss" and, with reasoning and beta > 0, "reasoning_loss": scalars.

        samples: "frames", float (B, N, 3, H, W); "source", "target", "reasoning" (may be empty), lists of B texts.
        """
        device = samples["frames"].device
        source = self._tokens(samples["source"]).to(device)
        states, mask = self.read(self.encode_frames(samples["frames"]), source.input_ids, source.attention_mask)
        answer_loss = self.target_loss(states, mask, self._labels(samples["target"]).to(device), self.answer_start)
        rows = [row for row, text in enumerate(samples["reasoning"]) if text]
        if self.beta == 0 or not rows:
            return {"loss": multi_task(answer_loss, None, self.beta), "answer_loss": answer_loss.detach()}
        labels = self._labels([samples["reasoning"][row] for row in rows]).to(device)
        reasoning_loss = self.target_loss(states[rows], mask[rows], labels, self.reasoning_start)
        loss = multi_task(answer_loss, reasoning_loss, self.beta)
        return {"loss": loss, "answer_loss": answer_loss.detach(), "reasoning_loss": reasoning_loss.detach()}

    def _tokens(self, texts: list[str]):
        options = {"padding": "longest", "truncation": True, "max_length": self.max_txt_len, "return_tensors": "pt"}
        return self.t5_tokenizer(list(texts), **options)

    def _labels(self, texts: list[str]) -> Tensor:
        tokens = self._tokens(texts)
        return tokens.input_ids.masked_fill(tokens.attention_mask == 0, IGNORE)


class ReasVQADataset(BaseDataset):
    """Questions written by `reasvqa.lavis.export_annotations`, with their frames."""

    def __init__(self, annotations: str, videos: str, num_frames: int, image_size: int):
        super().__init__(vis_root=videos, ann_paths=[annotations])
        self.num_frames = num_frames
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # BLIP-2's
        self.preprocess = Preprocess(image_size, mean, std)

    def __getitem__(self, index: int) -> dict:
        """Return "frames", float32 (N, 3, H, W), and the texts "source", "target", "reasoning"; raise VideoError."""
        row = self.annotation[index]
        clip = tuple(row["clip"]) if row["clip"] else None
        frames = decode(os.path.join(self.vis_root, row["video"]), self.num_frames, clip)
        if isinstance(frames, str):
            raise VideoError(f"{row['video']}: {frames}")
        texts = {name: row[name] or "" for name in ("source", "target", "reasoning")}
        return {"frames": self.preprocess(frames), **texts}


@registry.register_builder("reasvqa")
class ReasVQABuilder(BaseDatasetBuilder):
    """Build the data set of a project YAML."""

    DATASET_CONFIG_DICT = {"default": str(CONFIGS / "dataset.yaml")}

    def build_datasets(self) -> dict:
        config = self.config
        return {"train": ReasVQADataset(config.annotations, config.videos, config.num_frames, config.image_size)}


def train(cfg_path: str, options: list[str] | None = None) -> Path:
    """Train as a project YAML says, with LAVIS's runner, and return the folder of checkpoints.

    options: "run.max_epoch=2" and the like override values of the file.
    """
    import lavis.runners.runner_base as runner_base
    from lavis import tasks
    from lavis.common.dist_utils import init_distributed_mode
    from lavis.common.logger import setup_logger
    from lavis.common.optims import LinearWarmupCosineLRScheduler  # noqa: F401  (importing registers it)
    from lavis.tasks.image_text_pretrain import ImageTextPretrainTask  # noqa: F401

    cfg = Config(argparse.Namespace(cfg_path=cfg_path, options=options))
    cfg.run_cfg.output_dir = str(Path(cfg.run_cfg.output_dir).resolve())  # LAVIS resolves it in its own package
    if torch.cuda.is_available():
        single = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577"}
        for name, value in single.items():
            os.environ.setdefault(name, value)  # without torchrun; the runner wants a group even of one process
        init_distributed_mode(cfg.run_cfg)
    else:  # LAVIS's runner knows only GPUs: skip what it does for them
        cfg.run_cfg.distributed, cfg.run_cfg.device = False, "cpu"
        runner_base.PrefetchLoader = lambda loader: loader  # it prefetches to a GPU
        runner_base.dist = SimpleNamespace(barrier=lambda: None)
    setup_logger()
    torch.manual_seed(cfg.run_cfg.seed)
    task = tasks.setup_task(cfg)
    datasets = task.build_datasets(cfg)
    model = task.build_model(cfg)
    runner = runner_base.RunnerBase(cfg=cfg, job_id="reasvqa", task=task, model=model, datasets=datasets)
    if not torch.cuda.is_available():
        runner._wrapped_model = model  # the runner sets it when it moves the model to a GPU
    runner.train()
    return Path(runner.output_dir)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m reasvqa.lavis.model", description="Train reasvqa_t5 in LAVIS.")
    parser.add_argument("--cfg-path", required=True, help="project YAML: reasvqa/lavis/configs/train_nextqa.yaml")
    parser.add_argument("--options", nargs="+", help="values of the YAML to override: run.max_epoch=2")
    given = parser.parse_args()
    print(f"checkpoints: {train(given.cfg_path, given.options)}")
