"""Frames: against a second decoder, upright, in the middle of equal parts; and files that cannot be read."""

import io
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import torture
from packaging.requirements import Requirement
from PIL import Image

from reasvqa import video
from reasvqa.mini.render import draw_frame
from reasvqa.mini.world import make_story
from reasvqa.video import VideoError, decode, pick_frames, read_frames, read_many, video_digest


def decode_whole(path):
    """All frames of the largest video stream, by PyAV, from the beginning: the second decoder."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(container.streams.best("video"))]


@pytest.mark.parametrize("name", ["flipping_a_pancake.mkv", "nasa_13013.mp4", "video_0.mov"])
@pytest.mark.parametrize("num_frames", [1, 4])
def test_real_clips_against_a_second_decoder(shared, name, num_frames):
    frames, whole = read_frames(shared / "videos" / name, num_frames), decode_whole(shared / "videos" / name)
    assert frames.dtype == np.uint8 and frames.shape == (num_frames, *whole[0].shape)
    for t in range(num_frames):
        np.testing.assert_array_equal(frames[t], whole[int((t + 0.5) * len(whole) / num_frames)])


def test_a_clip_is_cut_by_seconds(shared):
    path = shared / "videos" / "nasa_13013.mp4"
    whole, rate = decode_whole(path), 30000 / 1001
    frames = read_frames(path, 4, (3.0, 7.0))
    for t, second in enumerate((3.5, 4.5, 5.5, 6.5)):
        np.testing.assert_array_equal(frames[t], whole[int(second * rate)])


def test_each_frame_shows_its_event(videos):
    story = make_story(np.random.default_rng(0), "good", before=1, after=1)
    frames = read_frames(videos / "good.mp4", 4, story.clip).astype(int)
    drawn = np.stack([draw_frame(event, story.person) for event in story.seen]).astype(int)
    distance = [[np.abs(frame - picture).mean() for picture in drawn] for frame in frames]
    assert np.argmin(distance, axis=1).tolist() == [0, 1, 2, 3]
    assert np.diag(distance).max() < 6


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_rotation_is_applied(videos, tmp_path, matrix, turns):
    """A phone's video: the container says how to turn the picture (ISO 14496-12, tkhd matrix)."""
    data = bytearray((videos / "good.mp4").read_bytes())
    at = data.find(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    upright = np.stack([np.rot90(frame, turns) for frame in read_frames(videos / "good.mp4")])
    assert np.abs(read_frames(tmp_path / "turned.mp4").astype(int) - upright).mean() < 1


def test_av1_goes_to_the_second_reader(tmp_path):
    """decord cannot read AV1; PyAV can."""
    pictures = [np.full((64, 64, 3), value, np.uint8) for value in (20, 90, 160, 230)]
    with av.open(str(tmp_path / "av1.mp4"), "w") as file:
        stream = file.add_stream("libsvtav1" if "libsvtav1" in av.codecs_available else "libaom-av1", rate=4)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    assert np.abs(read_frames(tmp_path / "av1.mp4").mean(axis=(1, 2, 3)) - [20, 90, 160, 230]).max() < 4


@pytest.mark.parametrize(
    ("name", "cause"),
    [("empty.mp4", "empty"), ("text.mp4", "Invalid data"), ("torn.mp4", "PyAV"), ("absent.mp4", "no such file")],
)
def test_unreadable_files_are_named(videos, name, cause):
    with pytest.raises(VideoError, match=cause) as error:
        read_frames(videos / name)
    assert name in str(error.value)


def test_a_clip_outside_of_the_video(videos):
    with pytest.raises(VideoError, match=r"starts at 50.00 s, but the video ends at 12.00 s"):
        read_frames(videos / "good.mp4", 4, (50, 60))


@pytest.fixture
def faulty(monkeypatch):
    """Decoders die or hang as a file's name says, and are given up after 3 s; none of them stays."""
    monkeypatch.setattr(video, "_PROGRAM", torture.FAULTY)
    monkeypatch.setattr(video, "TIMEOUT_S", 3)
    monkeypatch.setattr(video, "_idle", [])
    yield
    video.close()


@pytest.mark.parametrize(
    ("workers", "faults"),
    [
        (2, {3: "segfault", 10: "abort"}),
        (2, {0: "hang"}),
        (4, {0: "abort", 1: "hang_decord", 2: "segfault", 3: "segfault_decord", 11: "spin"}),
    ],
)
@pytest.mark.slow
def test_decoders_that_die_or_hang_cost_their_file_only(videos, tmp_path, faulty, workers, faults):
    """Wherever they stand in the queue. Where decord is at fault, PyAV reads the file."""
    clips = torture.clips_with_faults(videos / "good.mp4", tmp_path, 12, faults)
    good, results = read_frames(videos / "good.mp4", 2), list(read_many(clips, 2, workers))
    assert len(results) == 12
    for place, result in enumerate(results):
        fault = faults.get(place, "decord")
        if "decord" in fault:
            np.testing.assert_array_equal(result, good)
        else:
            cause = {"segfault": "died \\(SIGSEGV\\)", "abort": "died \\(SIGABRT\\)"}.get(fault, "longer than 3 s")
            assert isinstance(result, VideoError) and re.search(f"{place:03d}_{fault}.mp4: .*{cause}", str(result))


def test_what_is_no_longer_wanted_is_not_waited_for(videos, tmp_path, faulty, monkeypatch):
    monkeypatch.setattr(video, "TIMEOUT_S", 10_000)
    others = set(torture.decoders())
    frames = read_many(torture.clips_with_faults(videos / "good.mp4", tmp_path, 8, {1: "hang", 2: "spin"}), 2, 3)
    assert next(frames).shape[0] == 2
    while len(set(torture.decoders()) - others) < 3:
        time.sleep(0.01)
    frames.close()
    while len(set(torture.decoders()) - others) > len(video._idle):  # those that hang are gone at once
        time.sleep(0.01)


def run(program: str, *arguments, **options) -> subprocess.Popen:
    """A process of its own that may be killed."""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*options.pop("first", []), path])}
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("sign", ["SIGKILL", "SIGTERM"])
@pytest.mark.slow
def test_decoders_end_with_their_parent(videos, tmp_path, sign):
    """One is idle, one hangs, and a process forked before holds their pipes open: the parent is killed, they end."""
    clips = torture.clips_with_faults(videos / "good.mp4", tmp_path, 2, {1: "hang"})
    program = """
        import os, sys, time, torture
        from reasvqa import video
        video._PROGRAM = torture.FAULTY
        frames = video.read_many([(path, None) for path in sys.argv[1:]], 2, 2)
        next(frames)
        sibling = os.fork()
        if sibling == 0:
            time.sleep(3600)
        while len(torture.decoders()) < 3:
            time.sleep(0.01)
        print(sibling, *[child.pid for child in torture.decoders() if child.pid != sibling], flush=True)
        next(frames)
        """
    parent = run(program, *(path for path, _ in clips))
    sibling, *rest = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
    try:
        assert len(rest) == 2
        parent.send_signal(getattr(signal, sign))
        parent.wait()
        _, alive = psutil.wait_procs(rest, timeout=30)
        assert not alive and sibling.is_running()
    finally:
        sibling.kill()
        parent.stdout.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork_decoders_are_started_anew(videos):
    program = """
        import multiprocessing, sys
        from reasvqa.video import read_frames, read_many
        def same():
            sys.exit(0 if (read_frames(sys.argv[1], 2) == before).all() else 1)
        def inherited():
            try:
                next(started)
            except RuntimeError as error:
                sys.exit(0 if "before a fork" in str(error) else 1)
        before = read_frames(sys.argv[1], 2)
        started = read_many([(sys.argv[1], None)] * 5, 2, 1)
        next(started)
        context = multiprocessing.get_context("fork")
        for work in (same, inherited):
            child = context.Process(target=work)
            child.start()
            child.join(60)
            print(child.exitcode, (read_frames(sys.argv[1], 2) == before).all(), (next(started) == before).all())
        """
    with run(program, videos / "good.mp4") as process:
        assert process.communicate(timeout=150)[0].split() == ["0", "True", "True"] * 2


def test_decoders_are_small(videos, monkeypatch):
    """They import neither torch nor pandas: some 50 MB each, started in a third of a second."""
    program = """
import sys
from reasvqa import video
video.decode = lambda *a, honest=video.decode, **named: len(honest(*a, **named)) and " ".join(sys.modules)
video.serve()
"""
    monkeypatch.setattr(video, "_PROGRAM", program)
    monkeypatch.setattr(video, "_idle", [])
    modules = str(next(read_many([(videos / "good.mp4", None)], 1, 1))).split()
    video.close()
    assert "av" in modules and not {"torch", "pandas", "transformers", "scipy"} & set(modules)


@pytest.mark.parametrize(
    ("platform_machine", "sys_platform", "wanted"),
    [
        ("x86_64", "linux", True),
        ("AMD64", "win32", True),
        ("aarch64", "linux", False),
        ("arm64", "darwin", False),
        ("x86_64", "darwin", False),
        ("ARM64", "win32", False),
    ],
)
def test_decord_is_installed_where_it_has_wheels(platform_machine, sys_platform, wanted):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (decord,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "decord")
    environment = {"platform_machine": platform_machine, "sys_platform": sys_platform}
    assert decord.marker is not None and decord.marker.evaluate(environment) == wanted


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_where_decord_cannot_be_imported_pyav_reads_the_same(videos, tmp_path, error):
    (tmp_path / "decord.py").write_text(f"raise {error}('no decord for this system')")
    program = """
        import sys, numpy as np
        from reasvqa import video
        assert video._decord() is None
        np.save(sys.argv[2], video.read_frames(sys.argv[1], 5, (1.0, 9.0)))
        """
    with run(program, videos / "good.mp4", tmp_path / "frames.npy", first=[str(tmp_path)]) as process:
        assert process.wait(timeout=60) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "frames.npy"), read_frames(videos / "good.mp4", 5, (1.0, 9.0)))


def test_real_clips_are_read_alike_by_both(shared):
    pytest.importorskip("decord")
    for path in sorted((shared / "videos").iterdir()):
        for clip in (None, (0.02, 0.09)):
            by_decord, by_av = decode(str(path), 4, clip), decode(str(path), 4, clip, decord=False)
            np.testing.assert_array_equal(by_decord, by_av)


CONTAINERS = {
    "v.mkv": {},
    "v.flv": {},
    "v.mp4": {"movflags": "faststart"},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("left", [0.4, 0.95])
@pytest.mark.parametrize("decord", [True, False])
def test_a_file_that_was_cut_off_is_refused(videos, tmp_path, name, left, decord):
    """Other frames would be the middles of what is left. A clip that is all there is read."""
    whole = torture.remux(videos / "good.mp4", tmp_path / name, **CONTAINERS[name])
    frames = decode(str(videos / "good.mp4"), 4, None)
    np.testing.assert_array_equal(decode(str(whole), 4, None, decord), frames)
    content = whole.read_bytes()
    (cut := tmp_path / f"cut_{name}").write_bytes(content[: int(left * len(content))])
    cause = r"cut off: it should last \d+.\d\d s, but holds \d+.\d\d s"
    assert re.search(cause, str(decode(str(cut), 4, None, decord)))
    assert "cut off" in str(decode(str(cut), 4, (1.0, 12.0), decord))
    np.testing.assert_array_equal(
        decode(str(cut), 2, (0.0, 2.0), decord), decode(str(videos / "good.mp4"), 2, (0.0, 2.0))
    )


@pytest.mark.parametrize("name", ["v.ts", "v.mpg", "v.avi", "v.mp4", "v.mkv", "v.gif"])
def test_other_containers_against_a_second_decoder(videos, tmp_path, name):
    """decord takes wrong frames from ts, mpg and avi, and seeking ends anywhere in ts."""
    codec = {"v.mpg": "mpeg2video", "v.gif": "gif"}.get(name, "mpeg4")
    with av.open(str(tmp_path / name), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width = stream.height = 256
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for picture in decode_whole(videos / "good.mp4"):
            for _ in range(2):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
                file.mux(stream.encode(frame))
        file.mux(stream.encode())
    whole = decode_whole(tmp_path / name)
    for num_frames in (3, 4):
        wanted = [whole[int((t + 0.5) * len(whole) / num_frames)] for t in range(num_frames)]
        np.testing.assert_array_equal(read_frames(tmp_path / name, num_frames), wanted)


@pytest.mark.parametrize("name", ["still.mp4", "still.mkv"])
def test_the_last_picture_may_stay(videos, tmp_path, name):
    """A screen recording ends with a picture that is shown for seconds: nothing is missing."""
    with av.open(str(videos / "good.mp4")) as old, av.open(str(tmp_path / name), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.dts is not None]
        packets[-1].duration *= 20
        max(packets, key=lambda packet: packet.pts).duration = packets[-1].duration
        for packet in packets:
            packet.stream = copy
            new.mux(packet)
    with av.open(str(tmp_path / name)) as file:
        assert file.duration > 14e6
    for decord in (True, False):
        found = decode(str(tmp_path / name), 4, None, decord)
        np.testing.assert_array_equal(found, decode(str(videos / "good.mp4"), 4, None))


def test_sound_may_outlast_the_pictures(videos, tmp_path):
    """A container that lasts longer than its pictures is not cut off when its sound lasts as long."""
    with av.open(str(videos / "good.mp4")) as old, av.open(str(tmp_path / "sound.mkv"), "w") as new:
        pictures, sound = new.add_stream_from_template(old.streams.video[0]), new.add_stream("pcm_s16le", rate=8000)
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                new.mux(packet)
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
            frame.sample_rate = 8000
            new.mux(sound.encode(frame))
        new.mux(sound.encode())
    with av.open(str(tmp_path / "sound.mkv")) as file:
        assert file.duration >= 19e6
    for decord in (True, False):
        found = decode(str(tmp_path / "sound.mkv"), 4, None, decord)
        np.testing.assert_array_equal(found, decode(str(videos / "good.mp4"), 4, None))


@pytest.mark.parametrize("decord", [True, False])
def test_playlists_and_pictures_are_refused(videos, tmp_path, decord, monkeypatch):
    other = videos / "good.mp4"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{other}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    (tmp_path / "list.mp4").write_text(playlist)
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {other}\n")
    (tmp_path / "concat.ffconcat").write_text(f"file '{other}'\n")
    (tmp_path / "picture.mp4").write_bytes(png(64, 64))
    for path in tmp_path.iterdir():
        result = str(decode(str(path), 1, None, decord))
        assert "a picture, a playlist, or of no kind" in result or (
            path.suffix in (".mp4", ".ffconcat") and "Invalid" in result
        )
    monkeypatch.chdir(tmp_path)
    for name in (
        f"concat:{other}",
        f"file:{other}",
        f"subfile,,start,0,end,0,,:{other}",
        "-",
        "http://127.0.0.1/v.mp4",
    ):
        assert decode(name, 1, None, decord) == "no such file"


def png(width: int, height: int) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (width, height)).save(picture, "png")
    return picture.getvalue()


def test_a_small_file_with_enormous_frames_is_refused(tmp_path):
    """A GIF of some 40 bytes whose canvas has four thousand million pixels."""
    path = tmp_path / "bomb.gif"
    path.write_bytes(b"GIF89a\xff\xff\xff\xff\xf0\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;")
    with pytest.raises(VideoError, match=r"bomb.gif: .*(65535 x 65535 pixels|Invalid|PyAV)"):
        read_frames(path)


def test_the_limit_of_pixels(videos, monkeypatch):
    height, width = decode(str(videos / "good.mp4"), 1, None).shape[1:3]
    monkeypatch.setattr(video, "MAX_PIXELS", height * width)
    assert decode(str(videos / "good.mp4"), 1, None).shape == (1, height, width, 3)
    monkeypatch.setattr(video, "MAX_PIXELS", height * width - 1)
    assert f"frames of {width} x {height} pixels, more than" in decode(str(videos / "good.mp4"), 1, None)


@pytest.mark.parametrize("num_frames", [0, -1, 2.5, 4.0, "4", None, float("nan")])
def test_the_number_of_frames_is_whole(videos, num_frames):
    with pytest.raises(ValueError, match="num_frames must be a whole number from 1 on"):
        read_frames(videos / "good.mp4", num_frames)


@pytest.mark.parametrize("clip", [(-1, 2), (2, 1), (1, 1), (float("nan"), 2), (10**400, 10**401), (1,), ("a", 2), 3])
def test_a_clip_is_two_times(videos, clip):
    with pytest.raises(VideoError, match=r"good.mp4: clip .* is not \(start, end\) in seconds"):
        read_frames(videos / "good.mp4", 4, clip)


def test_a_clip_may_end_after_the_video(videos):
    for end in (13.0, 1e300, float("inf"), np.float32(99)):
        np.testing.assert_array_equal(
            read_frames(videos / "good.mp4", 2, (2, end)), read_frames(videos / "good.mp4", 2, (2, 12))
        )


def test_mutated_clips_are_read_or_refused(videos, tmp_path):
    counts = torture.mutated_clips([videos / "good.mp4"], tmp_path, 24, seed=0)
    assert counts["read"] + counts["refused"] == 24 == counts.total() and counts["refused"] > 4


def test_pick_frames_follows_time_not_count():
    """Variable frame rate: ten frames in the first second, one in each of the next three; parts are equal in time."""
    starts = np.array([i / 10 for i in range(10)] + [1.0, 2.0, 3.0])
    picked = pick_frames(starts, 3, (0.0, 3.0))
    assert picked.tolist() == [5, 10, 11]


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_pick_frames_are_middles_of_equal_parts(count):
    starts = np.arange(count) / 25
    assert pick_frames(starts, 4, None).tolist() == [int((t + 0.5) * count / 4) for t in range(4)]


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 131_073, 196_608])
def test_a_small_file_is_fingerprinted_whole(tmp_path, size):
    """Every byte of a file of up to 192 KiB counts, at the borders of what is read as well."""
    content = np.random.default_rng(size).bytes(size)
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    digests = {video_digest(path)}
    places = {place for border in (0, size // 2, size, 65_536, 131_072) for place in range(border - 2, border + 2)}
    for place in (places := {place for place in places if 0 <= place < size}):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        digests.add(video_digest(path))
    assert len(digests) == len(places) + 1


def test_a_large_file_is_fingerprinted_by_size_and_three_parts(tmp_path):
    content = bytearray(1_000_000)
    path = tmp_path / "v.mp4"

    def digest():
        path.write_bytes(content)
        return video_digest(path)

    first = digest()
    assert len(first) == 16 and digest() == first
    for place in (10, 500_000, 999_990):
        content[place] = 1
        assert digest() != first
        content[place] = 0
    content.append(0)
    assert digest() != first
    with pytest.raises(VideoError, match=r"absent.mp4: No such file"):
        video_digest(tmp_path / "absent.mp4")
