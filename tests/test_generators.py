"""Real generators: a tiny random vision-language checkpoint in the real format, here and behind a real server."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torture_servers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from reasvqa.generation import GenerationError, generate, read_reasoning
from reasvqa.generation.models import OpenAIGenerator, TransformersGenerator, frames_of, read_answer
from reasvqa.mini.tiny import write_tiny
from reasvqa.refinement import refine
from reasvqa.video import VideoError

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
    "{% endfor %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A LLaVA of a few thousand random parameters, with a processor that `transformers serve` loads as well."""
    special = ["<pad>", "<s>", "</s>", "<image>"]
    words = {token: i for i, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": ["<image>"]}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    options = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = transformers.LlavaProcessor(pictures, fast, chat_template=TEMPLATE, **options)
    torch.manual_seed(0)
    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5}
    vision = {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32, "image_size": 28}
    text = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_key_value_heads": 2}
    text |= {"vocab_size": len(fast), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.LlavaConfig(
        vision_config=vision | {"patch_size": 14} | small,
        text_config=text | {"max_position_embeddings": 8192} | small,
        image_token_index=3,
        vision_feature_layer=-2,
    )
    path = tmp_path_factory.mktemp("tiny-vlm")
    model = transformers.LlavaForConditionalGeneration(config)
    with torch.no_grad():  # so that what it writes depends on what it sees
        model.model.multi_modal_projector.linear_2.weight.mul_(20)
        model.model.vision_tower.embeddings.patch_embedding.weight.mul_(20)
    model.generation_config.min_new_tokens = 4  # at random it may end at once, and an empty answer is none
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def server(checkpoint):
    """`transformers serve` as a process of its own on the loopback interface; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, **quiet)
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
            break
        except OSError:
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}/v1"
    process.send_signal(signal.SIGTERM)
    process.wait(20)


@pytest.mark.slow
def test_a_local_model_looks_and_is_deterministic(checkpoint, smoke_star):
    samples = smoke_star[0][:4]
    generator = TransformersGenerator(checkpoint, samples.videos, max_new_tokens=12)
    prompts = ["why?", "and this one, which is longer?", "x", "why?"]
    with pytest.warns(UserWarning, match=": responses are cut after 12 tokens.*raise max_new_tokens"):
        together = generator(list(samples), prompts)
    alone = [generator([s], [p])[0] for s, p in zip(samples, prompts, strict=True)]
    assert together == generator(list(samples), prompts) == alone
    assert generator.cut % 3 == 0 and 0 < generator.cut <= 12  # the same ones each time
    others = generator(list(smoke_star[0][::4]), ["why?"] * 6)
    assert len(set(others)) > 1, "the same words about other videos should not all get the same response"
    gone = replace(samples[1], video="gone.mp4")
    found = generator([samples[0], gone, samples[2]], prompts[:3])
    assert [found[0], found[2]] == [together[0], together[2]] and "gone.mp4" in str(found[1])
    assert isinstance(generator([gone], ["x"])[0], VideoError)


def test_a_model_without_its_tokenizers_files_is_refused(checkpoint, tmp_path):
    """transformers would make an empty tokenizer, and every question would be no question."""
    broken = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    for file in broken.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(GenerationError, match=r"broken: cannot be loaded: .*tokenizer"):
        TransformersGenerator(broken, tmp_path)


@pytest.mark.slow
def test_a_real_server_answers(checkpoint, server, smoke_star, tmp_path):
    """JPEG, HTTP and another process in between; the file that comes of it is like any other."""
    samples = smoke_star[0][:5]
    remote = OpenAIGenerator(str(checkpoint), samples.videos, server, concurrency=2, max_new_tokens=8)
    table = generate(samples, remote, tmp_path / "a.jsonl", batch_size=3)
    assert table["id"].tolist() == [s.id for s in samples] and table["response"].str.len().gt(0).all()
    assert remote.requests == 5 and remote.tokens[0] > 500 and 0 < remote.tokens[1] <= 40
    assert "5 requests" in remote.report()
    caption = generate(samples, remote, tmp_path / "a-brief.jsonl", "brief_caption", batch_size=5)
    assert caption["prediction"].isna().all()


class Moody(BaseHTTPRequestHandler):
    """A server with moods: each request takes the next of `plan`, a status, with an answer if it is 200."""

    plan: ClassVar[list[tuple[int, dict]]] = []
    arrived: ClassVar[list[float]] = []
    headers_seen: ClassVar[list[str]] = []
    asked: ClassVar[list[dict]] = []

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Moody.asked.append({name: value for name, value in asked.items() if name not in ("model", "messages")})
        Moody.arrived.append(time.monotonic())
        Moody.headers_seen.append(self.headers.get("Authorization", ""))
        status, extra = Moody.plan.pop(0) if Moody.plan else (200, {})
        body = torture_servers.completion("###Answer: B")
        data = json.dumps(body if status == 200 else {"error": {"message": "not now"}}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def moody():
    server = HTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Moody.plan, Moody.arrived, Moody.headers_seen, Moody.asked = [], [], [], []
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.mark.slow
def test_retry_after_is_honoured(moody, smoke_star, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key-1")
    Moody.plan = [(429, {"Retry-After": "1"}), (503, {})]
    samples = smoke_star[0][:1]
    generator = OpenAIGenerator("m", samples.videos, moody, retries=4)
    assert generator(list(samples), ["x"]) == ["###Answer: B"]
    assert len(Moody.arrived) == 3 and Moody.arrived[1] - Moody.arrived[0] >= 1
    assert Moody.headers_seen == ["Bearer secret-key-1"] * 3
    assert "secret" not in repr(vars(generator)) + generator.report()


@pytest.mark.slow
def test_a_weak_moment_of_a_server_costs_nothing(moody, smoke_star, tmp_path):
    samples = smoke_star[0][:6]
    Moody.plan = [(200, {})] * 4 + [(500, {})] * 4
    generator = OpenAIGenerator("m", samples.videos, moody, concurrency=1, retries=1)
    table = generate(samples, generator, tmp_path / "r.jsonl", batch_size=2)  # the last two are tried again
    assert table["prediction"].tolist() == [1] * 6 and generator.requests == 8


def test_a_wrong_key_ends_the_run_at_once(moody, smoke_star, tmp_path):
    samples = smoke_star[0][:9]
    Moody.plan = [(200, {})] * 3 + [(401, {})] * 99
    generator = OpenAIGenerator("m", samples.videos, moody, concurrency=1, retries=1)
    with pytest.raises(GenerationError, match=r"no answer from 'm' \(AuthenticationError.*Check OPENAI_API_KEY"):
        generate(samples, generator, tmp_path / "r.jsonl", batch_size=2)
    assert read_reasoning(tmp_path / "r.jsonl")["prediction"].tolist() == [1] * 3 and generator.requests == 6
    Moody.plan = []
    assert len(generate(samples, generator, tmp_path / "r.jsonl", batch_size=2)) == 9


@pytest.mark.parametrize(
    ("request_fields", "sent"),
    [
        (None, {"max_tokens": 512, "temperature": 0.0}),
        ({"temperature": None}, {"max_tokens": 512}),
        ({"temperature": 1}, {"max_tokens": 512, "temperature": 1}),
        ({"max_completion_tokens": 99, "temperature": None}, {"max_completion_tokens": 99}),
        ({"max_tokens": None, "temperature": None}, {}),
        ({"top_k": 1}, {"max_tokens": 512, "temperature": 0.0, "top_k": 1}),
    ],
)
def test_fields_of_the_request_can_be_changed_and_left_out(moody, smoke_star, request_fields, sent):
    generator = OpenAIGenerator("m", smoke_star[0].videos, moody, request=request_fields)
    assert generator(list(smoke_star[0][:1]), ["x"]) == ["###Answer: B"] and Moody.asked == [sent]


THOUGHT = "The boy bends down. He lifts the ball."
PARTS = [{"type": "text", "text": "B"}]
TOLD = f"<think>{THOUGHT}</think>\nB"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "<answer>B</answer>", "reasoning_content": THOUGHT}, TOLD[:-1] + "<answer>B</answer>"),
        ({"content": "B", "reasoning": THOUGHT}, TOLD),
        ({"content": "\n\nB", "thinking": f"{THOUGHT}\n"}, TOLD),
        ({"content": "B", "reasoning": "", "reasoning_content": THOUGHT}, TOLD),
        ({"content": "B", "reasoning_content": f"<think>\n{THOUGHT}\n</think>"}, TOLD),
        ({"content": "B", "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]}, TOLD),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}, *PARTS]}, TOLD),
        ({"content": TOLD, "reasoning": THOUGHT}, TOLD),
        ({"content": "B", "thinking_blocks": [{"type": "thinking", "thinking": THOUGHT}]}, TOLD),
        ({"content": "B", "reasoning_text": THOUGHT}, TOLD),
        ({"content": "B", "reasoning": {"content": THOUGHT}}, TOLD),
        ({"content": [{"type": "reasoning_content", "reasoning_content": THOUGHT}, *PARTS]}, TOLD),
        ({"content": "<think>\n\n</think>\n\nB", "reasoning_content": THOUGHT}, TOLD),
        ({"content": PARTS, "reasoning_content": None}, "B"),
        ({"content": None, "reasoning_content": f"{THOUGHT} So it is B."}, f"{THOUGHT} So it is B."),
        ({"content": "", "reasoning": f"{THOUGHT} So it is B."}, f"{THOUGHT} So it is B."),
    ],
)
def test_the_explanation_of_a_reasoning_parser_is_kept(message, text):
    found = read_answer(json.dumps(torture_servers.completion(message=message)).encode())[0]
    assert found == text and refine(found) == (THOUGHT if "lifts" in text else "")


@pytest.mark.parametrize(
    ("message", "finish", "where"),
    [
        ({"content": None, "reasoning_content": THOUGHT}, "length", "text in reasoning_content, cut before the answer"),
        ({"content": "", "reasoning": THOUGHT}, "length", "text in reasoning, cut before the answer"),
        ({"content": None, "analysis": THOUGHT}, "stop", "text in analysis"),
    ],
)
def test_an_answer_elsewhere_is_refused_and_said_where(message, finish, where):
    with pytest.raises(ValueError, match=where):
        read_answer(json.dumps(torture_servers.completion(finish=finish, message=message)).encode())


LOCAL, LAB = "http://127.0.0.1:8000/v1", "http://gpu.lab.example.org:8000/v1"


def set_proxies(monkeypatch, **proxies):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("address", "variable", "value", "no_proxy"),
    [
        (LOCAL, "ALL_PROXY", "socks://127.0.0.1:1080/", ""),
        (LOCAL, "all_proxy", "socks5://127.0.0.1:1080", "localhost"),
        (LOCAL, "HTTP_PROXY", "socks4://u:hunter2-Secret@h:1", "10.0.0.0/8,::1"),
        (LOCAL, "http_proxy", "http://h:port", ""),
        (LAB, "ALL_PROXY", "socks5h://h:1", "ample.org,lab.example.org:80"),
        ("https://api.openai.com/v1", "HTTPS_PROXY", "ftp://h:1", "openai.org"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch, tmp_path, address, variable, value, no_proxy):
    set_proxies(monkeypatch, **{variable: value, "NO_PROXY": no_proxy})
    with pytest.raises(GenerationError, match=rf"^{variable}=.*reached through this proxy.*NO_PROXY") as caught:
        OpenAIGenerator("m", tmp_path, address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "no_proxy"),
    [
        (LOCAL, "localhost,127.0.0.0/8,::1"),  # as GNOME sets it
        (LOCAL, "127.0.0.1:8000"),
        (LOCAL, "a.org, 127.0.0.1"),
        (LOCAL, "*"),
        (LAB, ".example.org"),
        (LAB, "*.lab.example.org"),
        (LAB, "Example.org"),
        (LAB, "gpu.*.example.org."),
        (LAB.replace(":8000", ""), "gpu.lab.example.org:80"),
        (LOCAL, "127.0.0.*"),
        (LAB, "http://gpu.lab.example.org:8000"),
        ("http://[::1]:8000/v1", "localhost,[::1]"),
        ("http://[fd00::7]:8000/v1", "fd00::/8"),
    ],
)
def test_no_proxy_counts(monkeypatch, tmp_path, address, no_proxy):
    for variable in ("ALL_PROXY", "http_proxy"):
        set_proxies(monkeypatch, **{variable: "socks://127.0.0.1:1080", "no_proxy": no_proxy})
        OpenAIGenerator("m", tmp_path, address)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:7", "127.0.0.1:7", "http://u:hunter2-Secret@127.0.0.1:7"])
def test_a_proxy_that_does_not_answer_is_named(monkeypatch, smoke_star, proxy):
    """NO_PROXY is read alike, whether the proxy can be used or not."""
    set_proxies(monkeypatch, http_proxy=proxy, NO_PROXY="a.org 127.0.0.1:80")
    (answer,) = OpenAIGenerator("m", smoke_star[0].videos, LAB, retries=0)(list(smoke_star[0][:1]), ["x"])
    assert re.search(r"no answer from 'm' through http_proxy=\S*127.0.0.1:7 ", str(answer)), answer
    assert "hunter2" not in str(answer)


def test_certificates_that_cannot_be_read_are_not_the_proxy(monkeypatch, tmp_path):
    set_proxies(monkeypatch, ALL_PROXY="http://h:1", SSL_CERT_FILE=str(tmp_path / "gone.pem"))
    with pytest.raises(GenerationError, match=r"^SSL_CERT_FILE .*no certificates can be read"):
        OpenAIGenerator("m", tmp_path, LAB)


def test_a_proxy_for_others_does_not_matter(monkeypatch, moody, smoke_star):
    set_proxies(monkeypatch, HTTPS_PROXY="socks://h:1", ALL_PROXY="socks5://h:1", NO_PROXY="127.0.0.1")
    assert OpenAIGenerator("m", smoke_star[0].videos, moody)(list(smoke_star[0][:1]), ["x"]) == ["###Answer: B"]


UNREACHABLE = """
import socket, sys
from pathlib import Path
asked = []
socket.getaddrinfo = lambda host, *_, **__: asked.append(host) or (_ for _ in ()).throw(OSError("no network"))
from reasvqa.generation.models import GenerationError, TransformersGenerator
from reasvqa.students import load_student
load_student("owner/smolvlm")
TransformersGenerator("owner/smolvlm", Path("."))
try:
    TransformersGenerator("no/such-model", Path("."))
except GenerationError as error:
    print(error)
print(len(asked))
"""


@pytest.mark.slow
def test_without_a_network_models_are_loaded_or_refused_at_once(tmp_path):
    """HF_HUB_OFFLINE is not set. Only a missing model costs a question. Retries would take minutes."""
    repository = tmp_path / "hub" / "models--owner--smolvlm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    write_tiny("smolvlm", repository / "snapshots" / ("a" * 40))
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", UNREACHABLE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Retrying" not in done.stderr, done.stderr
    refusal, count = done.stdout.splitlines()
    assert re.search(r"no/such-model: cannot be loaded: .* does not answer", refusal) and int(count) <= 1


SOME = """gzipped; content in parts; half a character; finish_reason length; the key in the answer;
null, cut while thinking; max_tokens is refused; a refusal; {}; choices: []; an error in a 200 with the key;
HTML in a 200; JSON nested deeply; a gzip bomb; closes in the body; drips headers; an endless body; 400;
as Gemini refuses; as Gemini, too many; as FastAPI refuses; as TGI refuses; which parameter?; one is required;
as Qwen refuses; 403 for a field; 404, no images; 400, few images;
429, come again in a year; 500 with the key; a redirect to itself; 401"""


@pytest.mark.slow
def test_odd_servers_end_in_a_sentence(tmp_path):
    """Some rows of the table; all of them: python tests/torture.py servers"""
    with torture_servers.served() as port, torture_servers.without_videos():
        for number, name in enumerate(re.split(r";\s+", SOME)):
            (tmp_path / str(number)).mkdir()
            end, sentence = torture_servers.outcome(port, name, tmp_path / str(number))
            expected, says = torture_servers.BEHAVIOURS[name][1:]
            assert end == expected and re.search(says, sentence, re.DOTALL), (name, end, sentence)


def test_interrupting_does_not_wait_for_the_server(smoke_star, tmp_path):
    """The server is silent for a minute; the interrupt comes while the requests are on their way."""
    asked = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.set()
            over.wait(60)

    def interrupt():
        asked.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    over, server = threading.Event(), HTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=interrupt, daemon=True).start()
    samples = smoke_star[0][:2]
    generator = OpenAIGenerator("m", samples.videos, f"http://127.0.0.1:{server.server_port}/v1", timeout=50)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist would not hear it
    with pytest.raises(KeyboardInterrupt):
        generate(samples, generator, tmp_path / "r.jsonl")
    signal.signal(signal.SIGINT, before)
    assert not over.is_set()
    over.set()
    server.shutdown()


def test_wrong_settings_of_a_server_are_said(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(GenerationError, match=r"api.openai.com/v1 wants a key: set OPENAI_API_KEY"):
        OpenAIGenerator("m", tmp_path)
    for address in ("localhost:8000/v1", "ftp://x/v1", "http://", "8000", "http://h:99999/v1"):
        with pytest.raises(GenerationError, match="not an address such as http://localhost:8000/v1"):
            OpenAIGenerator("m", tmp_path, address)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(GenerationError, match="needs the package openai: pip install"):
        OpenAIGenerator("m", tmp_path, "http://localhost:8000/v1")


def test_unreadable_videos_stand_in_their_places(smoke_star):
    good = smoke_star[0][0]
    found = frames_of([good, replace(good, video="gone.mp4"), good], smoke_star[0].videos)
    assert [len(found[0]), len(found[2])] == [4, 4] and isinstance(found[1], VideoError) and "gone.mp4" in str(found[1])
