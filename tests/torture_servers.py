"""Servers that misbehave: what each does to a generation, as a table. Everything stays on 127.0.0.1.

    python tests/torture_servers.py            all behaviours, a few minutes
    python tests/torture_servers.py drip       those whose name has "drip" in it

Each behaviour is met by a run over three questions, of which the server treats the second one badly. Such a run ends
in one of three ways: "kept" (the response is usable), "failed" (the question is listed with a sentence, the others are
kept) or "stopped" (the server refuses all that is left, one sentence). Anything else, a bare error, a secret that shows
anywhere, a run that does not end, is a mistake.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socketserver
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "usage": usage,
        "choices": [choice],
    } | more


def reply(body: object, status: str = "200 OK", kind: str = "application/json", **headers: str) -> Callable[[], Pieces]:
    """A whole HTTP answer; bodies other than bytes become JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": kind, "Content-Length": str(len(data))} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return lambda: iter([head.encode() + data])


def refuse(status: str, message: str = "not now", **headers: str) -> Callable[[], Pieces]:
    return reply({"error": {"message": message, "type": "x", "code": None}}, status, **headers)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(start: bytes, rest: bytes, pause: float = 0.1) -> Callable[[], Pieces]:
    def pieces() -> Pieces:
        yield start
        for byte in rest:
            time.sleep(pause)
            yield bytes([byte])

    return pieces


def endless(start: bytes, piece: bytes) -> Callable[[], Pieces]:
    def pieces() -> Pieces:
        yield start
        while True:
            yield piece

    return pieces


def silent() -> Pieces:
    time.sleep(60)
    yield b""


def _gzipped(data: bytes) -> Callable[[], Pieces]:
    return reply(gzip.compress(data), Content_Encoding="gzip")


def _chunked(data: bytes) -> Callable[[], Pieces]:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:20], data[20:])) + b"0\r\n\r\n"
    return lambda: iter([HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks])


WHOLE = json.dumps(completion()).encode()
LENGTH = b"Content-Length: %d\r\n\r\n" % len(WHOLE)
HTML = b"<!DOCTYPE html><html><title>502 Bad Gateway</title>" + b"<p>nginx</p>" * 2000 + b"</html>"
LEAK = f"Incorrect API key provided: Bearer {KEY}. You can find your API key at https://example.org, {PASSWORD}"

# name: (what the server sends, how the run ends, what the sentence says)
BEHAVIOURS: dict[str, tuple[Callable[[], Pieces], str, str]] = {
    "a plain answer": (reply(completion()), "kept", ""),
    "unknown fields": (reply(completion(logprobs=None, extra={"a": [1]}, message={"audio": None})), "kept", ""),
    "no usage": (reply(completion(usage=None)), "kept", ""),
    "usage of another kind": (reply(completion(usage={"prompt_tokens": "many", "completion_tokens": 1e9})), "kept", ""),
    "usage is a list": (reply(completion(usage=[1, 2])), "kept", ""),
    "chunked": (_chunked(WHOLE), "kept", ""),
    "gzipped": (_gzipped(WHOLE), "kept", ""),
    "text/plain": (reply(completion(), kind="text/plain"), "kept", ""),
    "no length, closes": (lambda: iter([HEAD + b"\r\n" + WHOLE]), "kept", ""),
    "content in parts": (reply(completion([{"type": "text", "text": GOOD}, {"type": "image"}, 3])), "kept", ""),
    "half a character": (reply(completion(GOOD + " \ud83d")), "kept", ""),
    "finish_reason is a number": (reply(completion(finish=7)), "kept", ""),
    "finish_reason length": (reply(completion(finish="length")), "kept", "cut after 512 tokens"),
    "the key in the answer": (reply(completion(f"{GOOD} {LEAK}")), "kept", ""),
    "drips fast enough": (drip(HEAD + LENGTH, WHOLE, 0.001), "kept", ""),
    "empty": (reply(completion("")), "failed", "empty; finish_reason 'stop'"),
    "blank": (reply(completion(" \n")), "failed", "empty"),
    "null": (reply(completion(None)), "failed", "empty"),
    "null, cut while thinking": (
        reply(completion(None, "length", message={"reasoning_content": "hm"})),
        "failed",
        "'length'.*reasoning_content, cut before the answer: raise max_new_tokens",
    ),
    "all of it in reasoning": (reply(completion(None, message={"reasoning": GOOD})), "kept", ""),
    "the answer without its reasoning": (
        reply(completion("B", message={"reasoning_content": "It falls."})),
        "kept",
        "",
    ),
    "text under an unknown name": (reply(completion(None, message={"analysis": GOOD})), "failed", "text in analysis"),
    "max_tokens is refused": (
        refuse("400 Bad Request", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        "stopped",
        "max_completion_tokens.: 4096. replaces max_tokens",
    ),
    "a refusal": (reply(completion(None, message={"refusal": "I cannot help."})), "failed", "I cannot help"),
    "content filter": (reply(completion("The dog", "content_filter")), "failed", "content filter"),
    "content is a number": (reply(completion(3)), "failed", "empty"),
    "content is an object": (reply(completion({"text": GOOD})), "kept", ""),
    "no parts": (reply(completion([])), "failed", "empty"),
    "{}": (reply({}), "failed", "no choice with a message in '{}'"),
    "[]": (reply([]), "failed", r"no object but '\[\]'"),
    "null as a whole": (reply(None), "failed", "no object but 'None'"),
    "a string": (reply("overloaded"), "failed", "no object but 'overloaded'"),
    "choices: []": (reply(completion(choices=[])), "failed", "no choice"),
    "choices: null": (reply(completion(choices=None)), "failed", "no choice"),
    "choices is an object": (reply(completion(choices={"a": 1})), "failed", "no choice"),
    "choices: [null]": (reply(completion(choices=[None])), "failed", "no choice"),
    "a choice without message": (reply(completion(choices=[{"text": GOOD}])), "failed", "no choice"),
    "message is a string": (reply(completion(choices=[{"message": GOOD}])), "failed", "no choice"),
    "an error in a 200": (reply({"error": {"message": "model overloaded", "code": 503}}), "failed", "model overloaded"),
    "an error in a 200, as text": (reply({"error": "model overloaded", "choices": None}), "failed", "model overloaded"),
    "an error in a 200 with the key": (reply({"error": {"message": LEAK}}), "failed", "Incorrect API key"),
    "HTML in a 200": (reply(HTML, kind="text/html"), "failed", "no JSON but '<!DOCTYPE.*usually ends in /v1"),
    "nothing in a 200": (reply(b""), "failed", "no JSON"),
    "204": (lambda: iter([b"HTTP/1.1 204 No Content\r\n\r\n"]), "failed", "no JSON"),
    "half a JSON": (reply(WHOLE[:50]), "failed", "no JSON"),
    "JSON nested deeply": (reply(b"[" * 200_000), "failed", "no JSON"),
    "bytes that are no UTF-8": (reply(b'{"a": "\xff\xfe"}'), "failed", "no JSON"),
    "an event stream": (
        reply(b"data: " + WHOLE + b"\n\ndata: [DONE]\n\n", kind="text/event-stream"),
        "failed",
        "no JSON",
    ),
    "broken gzip": (reply(b"not gzip", Content_Encoding="gzip"), "failed", "DecodingError|incorrect header"),
    "a gzip bomb": (_gzipped(b" " * 100_000_000), "failed", "more than 16777216 bytes"),
    "closes at once": (lambda: iter([]), "failed", "APIConnectionError"),
    "closes in the body": (lambda: iter([HEAD + LENGTH + WHOLE[:30]]), "failed", "peer closed connection"),
    "no HTTP": (lambda: iter([b"220 mail.example.org ESMTP ready\r\n" * 3]), "failed", "APIConnectionError"),
    "a status that is none": (reply(b"", "999 Odd"), "failed", "no answer"),
    "silent": (silent, "failed", "no whole answer within 1.5 s"),
    "drips a body": (drip(HEAD + LENGTH, WHOLE), "failed", "no whole answer within 1.5 s"),
    "drips headers": (drip(HEAD, b"X-A: " + b"a" * 500), "failed", "no whole answer within 1.5 s"),
    "drips the status": (drip(b"", HEAD + LENGTH), "failed", "no whole answer within 1.5 s"),
    "drips an error": (
        drip(b"HTTP/1.1 500 No\r\nContent-Length: 500\r\n\r\n", b"x" * 500),
        "failed",
        "no whole answer",
    ),
    "an endless body": (endless(HEAD + b"\r\n", b" " * 65536), "failed", "more than 16777216 bytes|no whole answer"),
    "endless headers": (
        endless(HEAD, b"X-A: " + b"a" * 1000 + b"\r\n"),
        "failed",
        "APIConnectionError|no whole answer",
    ),
    "endless 100s": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "failed", "no whole answer|APIConnectionError"),
    "400": (refuse("400 Bad Request", "content policy"), "failed", "BadRequestError.*content policy"),
    "400 in HTML": (reply(HTML, "400 Bad Request", "text/html"), "failed", "BadRequestError"),
    "403": (refuse("403 Forbidden"), "failed", "PermissionDeniedError"),
    "413": (refuse("413 Too Large", "images too large"), "failed", "images too large"),
    "422": (refuse("422 Unprocessable", "too many images"), "failed", "too many images"),
    "429": (refuse("429 Too Many Requests"), "failed", "RateLimitError"),
    "429, come again in a year": (refuse("429 Too Many", Retry_After="31536000"), "failed", "RateLimitError"),
    "500": (refuse("500 Internal Server Error"), "failed", "InternalServerError"),
    "500 with the key": (reply(f"Traceback: {LEAK}".encode(), "500 No", "text/plain"), "failed", "InternalServerError"),
    "502 in HTML": (reply(HTML, "502 Bad Gateway", "text/html"), "failed", "InternalServerError"),
    "503 without a body": (reply(b"", "503 Unavailable"), "failed", "InternalServerError"),
    "a redirect to itself": (reply(b"", "307 Temporary Redirect", Location="completions"), "failed", "307"),
    "a redirect to a file": (reply(b"", "302 Found", Location="file:///etc/passwd"), "failed", "302"),
    "401": (refuse("401 Unauthorized", LEAK), "stopped", "AuthenticationError.*Check OPENAI_API_KEY"),
    "404": (refuse("404 Not Found", "no such model"), "stopped", "NotFoundError.*Check.*model"),
    "404 in HTML": (reply(HTML, "404 Not Found", "text/html"), "stopped", "NotFoundError.*base_url"),
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


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


@contextmanager
def served() -> Iterator[int]:
    """A server with all behaviours on the loopback interface; its port."""
    server = _Server(("127.0.0.1", 0), _Handler)
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
            if set(error.failures) != {"q1"} or kept != ["q0", "q2"]:
                end = f"mistake: kept {kept}, failed {list(error.failures)}"
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
    """One grey picture in the place of a clip's frames: the table is about servers."""
    before, key = models.frames_of, os.environ.get("OPENAI_API_KEY")
    models.frames_of = lambda samples, *_: [[Image.new("RGB", (8, 8))] for _ in samples]
    os.environ["OPENAI_API_KEY"] = KEY
    try:
        yield
    finally:
        models.frames_of = before
        os.environ.pop("OPENAI_API_KEY")
        if key is not None:
            os.environ["OPENAI_API_KEY"] = key


def main(part: str = "") -> int:
    """Prints the table; the number of mistakes is the exit status."""
    mistakes = 0
    counts: dict[str, int] = {}
    with served() as port, without_videos():
        for name, (_, expected, says) in BEHAVIOURS.items():
            if part not in name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                end, sentence = outcome(port, name, Path(folder))
                seconds = time.monotonic() - began
            wrong = end != expected or not re.search(says, sentence, re.DOTALL) or seconds > 10 * TIMEOUT_S
            mistakes += wrong
            counts[end] = counts.get(end, 0) + 1
            print(f"{'WRONG ' * wrong}{name:32} {end:10} {seconds:6.1f} s  {sentence[:300]}", flush=True)
    ends = ", ".join(f"{n} {end}" for end, n in counts.items())
    print(f"{sum(counts.values())} behaviours: {ends}; {mistakes} mistakes")
    return mistakes


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
