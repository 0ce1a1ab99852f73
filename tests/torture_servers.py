"""Servers that misbehave, for `python tests/torture.py servers`. Everything stays on 127.0.0.1.

Each behaviour is met by a run over three questions, of which the server treats the second one badly. Such a run ends
in one of three ways: "kept" (the response is usable), "failed" (the question is listed with a sentence, the others are
kept) or "stopped" (the server refuses all that is left, one sentence). Anything else, a bare error, a secret that shows
anywhere, a run that does not end, is a mistake.
"""

from __future__ import annotations

import gzip
import json
import re
import socketserver
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import pytest
from PIL import Image

from reasvqa.generation import GenerationError, UnansweredError, generate, models
from reasvqa.samples import Sample

KEY, PASSWORD = "sk-proj-4f9Qw7ZkSecret", "hunter2-Secret"
TIMEOUT_S = 1.5
SAMPLES = [
    Sample(f"q{i}", "v.mp4", None, f"What falls in part {i}?", ("the cat", "the dog"), i % 2, "TN") for i in range(3)
]
GOOD = "The dog falls.\n###Answer: B"

Pieces = Iterator[bytes]


def completion(content: object = GOOD, finish: object = "stop", **more) -> dict:
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choices = [{"index": 0, "finish_reason": finish, "message": message}]
    return dict(id="1", object="chat.completion", created=0, model="m", usage=usage, choices=choices) | more


def reply(body: object, status: str = "200 OK", kind: str = "application/json", **headers: str) -> Callable[[], Pieces]:
    """A whole HTTP answer; bodies other than bytes become JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": kind, "Content-Length": len(data)} | {k.replace("_", "-"): headers[k] for k in headers}
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return lambda: iter([head.encode() + data])


def refuse(status: str, message: str = "not now", **headers: str) -> Callable[[], Pieces]:
    return reply({"error": {"message": message, "type": "x", "code": None}}, status, **headers)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(start: bytes, rest: Iterable[bytes], pause: float = 0.1) -> Callable[[], Pieces]:
    """Send `start`, then one piece of the rest after the other."""

    def pieces() -> Pieces:
        yield start
        for piece in rest:
            time.sleep(pause)
            yield piece

    return pieces


def each(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def _gzipped(data: bytes) -> Callable[[], Pieces]:
    return reply(gzip.compress(data), Content_Encoding="gzip")


def _chunked(data: bytes) -> Callable[[], Pieces]:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:20], data[20:])) + b"0\r\n\r\n"
    return lambda: iter([HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks])


WHOLE = json.dumps(completion()).encode()
LENGTH = b"Content-Length: %d\r\n\r\n" % len(WHOLE)
HTML = b"<!DOCTYPE html><html><title>502 Bad Gateway</title>" + b"<p>nginx</p>" * 2000 + b"</html>"
LEAK = f"Incorrect API key provided: Bearer {KEY}. You can find your API key at https://example.org, {PASSWORD}"

KEPT = {  # by name: what the server sends, and what the warning says
    "a plain answer": (reply(completion()), ""),
    "unknown fields": (reply(completion(logprobs=None, extra={"a": [1]}, message={"audio": None})), ""),
    "no usage": (reply(completion(usage=None)), ""),
    "usage of another kind": (reply(completion(usage={"prompt_tokens": "many", "completion_tokens": 1e9})), ""),
    "usage is a list": (reply(completion(usage=[1, 2])), ""),
    "chunked": (_chunked(WHOLE), ""),
    "gzipped": (_gzipped(WHOLE), ""),
    "text/plain": (reply(completion(), kind="text/plain"), ""),
    "no length, closes": (lambda: iter([HEAD + b"\r\n" + WHOLE]), ""),
    "content in parts": (reply(completion([{"type": "text", "text": GOOD}, {"type": "image"}, 3])), ""),
    "content is an object": (reply(completion({"text": GOOD})), ""),
    "half a character": (reply(completion(GOOD + " \ud83d")), ""),
    "finish_reason is a number": (reply(completion(finish=7)), ""),
    "finish_reason length": (reply(completion(finish="length")), "cut after 512 tokens"),
    "the key in the answer": (reply(completion(f"{GOOD} {LEAK}")), ""),
    "drips fast enough": (drip(HEAD + LENGTH, each(WHOLE), 0.001), ""),
    "all of it in reasoning": (reply(completion(None, message={"reasoning": GOOD})), ""),
    "the answer without its reasoning": (reply(completion("B", message={"reasoning_content": "It falls."})), ""),
}
THINKING = completion(None, "length", message={"reasoning_content": "hm"})
STREAM = b"data: " + WHOLE + b"\n\ndata: [DONE]\n\n"
FAILED = {  # by name: what the server sends, and what is said about the question
    "blank": (reply(completion(" \n")), "empty; finish_reason 'stop'"),
    "null": (reply(completion(None)), "empty"),
    "null, cut while thinking": (reply(THINKING), "'length'.*reasoning_content, cut .*: raise max_new_tokens"),
    "text under an unknown name": (reply(completion(None, message={"analysis": GOOD})), "text in analysis"),
    "a refusal": (reply(completion(None, message={"refusal": "I cannot help."})), "I cannot help"),
    "content filter": (reply(completion("The dog", "content_filter")), "content filter"),
    "content is a number": (reply(completion(3)), "empty"),
    "no parts": (reply(completion([])), "empty"),
    "{}": (reply({}), "no chat completion .* but '{}'"),
    "[]": (reply([]), r"no chat completion .* but '\[\]'"),
    "a string": (reply("overloaded"), "no chat completion .* but .*overloaded"),
    "choices: []": (reply(completion(choices=[])), "no chat completion"),
    "choices: null": (reply(completion(choices=None)), "no chat completion"),
    "choices is an object": (reply(completion(choices={"a": 1})), "no chat completion"),
    "choices: [null]": (reply(completion(choices=[None])), "no chat completion"),
    "message is a string": (reply(completion(choices=[{"message": GOOD}])), "no chat completion"),
    "an error in a 200, as text": (reply({"error": "model overloaded", "choices": None}), "model overloaded"),
    "an error in a 200 with the key": (reply({"error": {"message": LEAK}}), "Incorrect API key"),
    "HTML in a 200": (reply(HTML, kind="text/html"), "base_url usually ends in /v1. but '<!DOCTYPE"),
    "nothing in a 200": (reply(b""), "no chat completion"),
    "204": (lambda: iter([b"HTTP/1.1 204 No Content\r\n\r\n"]), "no chat completion"),
    "half a JSON": (reply(WHOLE[:50]), "no chat completion"),
    "JSON nested deeply": (reply(b"[" * 200_000), "no chat completion"),
    "bytes that are no UTF-8": (reply(b'{"a": "\xff\xfe"}'), "no chat completion"),
    "an event stream": (reply(STREAM, kind="text/event-stream"), "no chat completion"),
    "broken gzip": (reply(b"not gzip", Content_Encoding="gzip"), "DecodingError|incorrect header"),
    "a gzip bomb": (_gzipped(b" " * 100_000_000), "more than 16777216 bytes"),
    "closes at once": (lambda: iter([]), "APIConnectionError"),
    "closes in the body": (lambda: iter([HEAD + LENGTH + WHOLE[:30]]), "peer closed connection"),
    "no HTTP": (lambda: iter([b"220 mail.example.org ESMTP ready\r\n" * 3]), "APIConnectionError"),
    "a status that is none": (reply(b"", "999 Odd"), "no answer"),
    "silent": (drip(b"", [b""], 60), "no whole answer within 1.5 s"),
    "drips a body": (drip(HEAD + LENGTH, each(WHOLE)), "no whole answer within 1.5 s"),
    "drips headers": (drip(HEAD, each(b"X-A: " + b"a" * 500)), "no whole answer within 1.5 s"),
    "drips the status": (drip(b"", each(HEAD + LENGTH)), "no whole answer within 1.5 s"),
    "drips an error": (drip(b"HTTP/1.1 500 No\r\nContent-Length: 500\r\n\r\n", each(b"x" * 500)), "no whole answer"),
    "an endless body": (drip(HEAD + b"\r\n", repeat(b" " * 65536), 0), "more than 16777216 bytes|no whole answer"),
    "endless headers": (drip(HEAD, repeat(b"X-A: aaaaaaaa\r\n"), 0), "APIConnectionError|no whole answer"),
    "endless 100s": (drip(b"", repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), 0), "no whole answer|APIConnectionError"),
    "404, no images": (refuse("404 Not Found", "no support for image inputs"), "model that accepts four images"),
    "400, few images": (refuse("400 Bad Request", "At most 1 image(s) may be provided"), "--limit-mm-per-prompt"),
    "400": (refuse("400 Bad Request", "content policy"), "BadRequestError.*content policy"),
    "403": (refuse("403 Forbidden"), "PermissionDeniedError.*Check OPENAI_API_KEY"),
    "413": (refuse("413 Too Large", "images too large"), "images too large"),
    "422": (refuse("422 Unprocessable", "too many images"), "too many images"),
    "429, come again in a year": (refuse("429 Too Many", Retry_After="31536000"), "RateLimitError"),
    "500 with the key": (reply(f"Traceback: {LEAK}".encode(), "500 No", "text/plain"), "InternalServerError"),
    "502 in HTML": (reply(HTML, "502 Bad Gateway", "text/html"), "InternalServerError"),
    "503 without a body": (reply(b"", "503 Unavailable"), "InternalServerError"),
    "a redirect to itself": (reply(b"", "307 Temporary Redirect", Location="completions"), "307"),
    "a redirect to a file": (reply(b"", "302 Found", Location="file:///etc/passwd"), "302"),
}
UNSUPPORTED = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
MANY = "maxOutputTokens value of 512 but the supported range is from 1 (inclusive) to 101 (exclusive)"
STOPPED = {  # by name: what the server sends, and what is said
    "max_tokens is refused": (refuse("400 No", UNSUPPORTED), "max_completion_tokens.: 4096. replaces max_tokens"),
    "as Gemini refuses": (reply([{"error": {"code": 400, "message": UNSUPPORTED}}], "400 No"), "Use 'max_.*replaces"),
    "as Gemini, too many": (reply([{"error": {"message": MANY}}], "400 No"), "maxOutputTokens.*smaller max_new_tokens"),
    "as FastAPI refuses": (reply({"detail": [{"loc": ["body", "max_tokens"]}]}, "422 No"), "'max_tokens'.*replaces"),
    "as TGI refuses": (reply({"error": "`temperature` must be positive"}, "422 No"), "be positive.*omits the temp"),
    "which parameter?": (refuse("400 No", "Sampling parameters are not supported"), "omits the temperature"),
    "as Qwen refuses": (refuse("400 No", "enable_thinking must be false"), "'enable_thinking': False. adds"),
    "403 for a field": (refuse("403 No", "temperature is not for your plan"), "omits the temperature"),
    "one is required": (refuse("400 No", "max_completion_tokens is required"), "'max_completion_tokens': 4096"),
    "401": (refuse("401 Unauthorized", LEAK), "AuthenticationError.*Check OPENAI_API_KEY"),
    "404": (refuse("404 Not Found", "no such model"), "NotFoundError.*Check.*model"),
    "404 in HTML": (reply(HTML, "404 Not Found", "text/html"), "NotFoundError.*base_url"),
}
BEHAVIOURS: dict[str, tuple[Callable[[], Pieces], str, str]] = {
    name: (sends, end, says)
    for end, table in (("kept", KEPT), ("failed", FAILED), ("stopped", STOPPED))
    for name, (sends, says) in table.items()
}


class _Handler(socketserver.StreamRequestHandler):
    """Reads one request. Question 1 gets the behaviour that the path names, all others a plain answer."""

    def handle(self) -> None:
        line = self.rfile.readline().decode()
        length = 0
        while (header := self.rfile.readline().strip()) != b"":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        body = self.rfile.read(length)
        number = int(line.split()[1].split("/")[1])
        pieces = list(BEHAVIOURS.values())[number][0] if b"in part 1?" in body else reply(completion())
        try:
            for piece in pieces():
                self.wfile.write(piece)
        except OSError:
            pass  # the other side has had enough


@contextmanager
def served() -> Iterator[int]:
    """Start a server with all behaviours on the loopback interface; yield its port."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def outcome(port: int, name: str, folder: Path) -> tuple[str, str]:
    """(kept, failed, stopped or the mistake; the sentence) of a run against one behaviour. OPENAI_API_KEY is `KEY`."""
    path = folder / "r.jsonl"
    address = f"http://user:{PASSWORD}@127.0.0.1:{port}/{list(BEHAVIOURS).index(name)}/v1"
    shown = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        timeout = TIMEOUT_S if "no whole answer" in BEHAVIOURS[name][2] else 60
        generator = models.OpenAIGenerator("m", folder, address, timeout=timeout, retries=0)
        try:
            table = generate(SAMPLES, generator, path)
            end, sentence = "kept", "; ".join(str(w.message) for w in warned)
            if table["prediction"].tolist() != [1, 1, 1]:
                end = f"mistake: predictions {table['prediction'].tolist()}"
        except UnansweredError as error:
            end, sentence = "failed", str(error)
            shown.append(traceback.format_exc())
            kept = [row["id"] for row in map(json.loads, path.read_text().splitlines())]
            failed = [row["id"] for row in map(json.loads, (folder / "r.failed.jsonl").read_text().splitlines())]
            if failed != ["q1"] or kept != ["q0", "q2"]:
                end = f"mistake: kept {kept}, failed {failed}"
        except GenerationError as error:
            end, sentence = "stopped", str(error)
            shown.append(traceback.format_exc())
        except Exception as error:
            end, sentence = f"mistake: {type(error).__name__}", str(error)
    shown += [sentence, repr(vars(generator)), generator.report(), *(p.read_text() for p in folder.glob("r.*"))]
    if any(secret in text for secret in (KEY, PASSWORD) for text in shown):
        end = "mistake: a secret shows"
    return end, sentence


@contextmanager
def without_videos() -> Iterator[None]:
    """Put one grey picture in the place of a clip's frames: the table is about servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "frames_of", lambda samples, *_: [[Image.new("RGB", (8, 8))] for _ in samples])
        patch.setenv("OPENAI_API_KEY", KEY)
        yield


def mistakes() -> list[str]:
    """Print the table; return the behaviours whose runs do not end as they should."""
    wrong = []
    with served() as port, without_videos():
        for name, (_, expected, says) in BEHAVIOURS.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                end, sentence = outcome(port, name, Path(folder))
                seconds = time.monotonic() - began
            print(f"{name:32} {end:10} {seconds:6.1f} s  {sentence[:300]}", flush=True)
            if end != expected or not re.search(says, sentence, re.DOTALL) or seconds > 10 * TIMEOUT_S:
                wrong.append(f"{name}: {end}")
    return wrong
