"""Frames against the number drawn in each picture and against other decoders; and files that cannot be read."""

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import av
import made_videos as made
import numpy as np
import psutil
import pytest
import torture
from PIL import Image

from reasvqa import video
from reasvqa.mini.render import draw_frame
from reasvqa.mini.world import make_story
from reasvqa.video import VideoError, decode, pick_frames, read_frames, read_many, video_digest


def numbers(path, num_frames=4, clip=None) -> list[int]:
    """Which pictures are read."""
    frames = decode(str(path), num_frames, clip)
    assert not isinstance(frames, str), frames
    return made.numbers_of(frames)


def middles(shown: list[int] | range, num_frames: int) -> list[int]:
    """The pictures in the middle of equal parts, where each of `shown` stays for as long."""
    return [shown[int((t + 0.5) * len(shown) / num_frames)] for t in range(num_frames)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flipping_a_pancake.mkv", "nasa_13013.mp4", "video_0.mov"])
def test_real_clips_are_those_of_decoding_from_the_beginning(shared, name):
    path = shared / "videos" / name
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        rate = float(stream.average_rate)
    for num_frames in (1, 4):
        frames = read_frames(path, num_frames)
        assert frames.dtype == np.uint8
        expected = [whole[int((t + 0.5) * len(whole) / num_frames)] for t in range(num_frames)]
        np.testing.assert_array_equal(frames, expected)
    if name == "nasa_13013.mp4":
        expected = [whole[int(second * rate)] for second in (3.5, 4.5, 5.5, 6.5)]
        np.testing.assert_array_equal(read_frames(path, 4, (3.0, 7.0)), expected)


def test_decord_reads_the_same_frames(videos):
    decord = pytest.importorskip("decord", reason="decord has no wheel for this system")
    reader = decord.VideoReader(str(videos / "good.mp4"))
    places = [int((t + 0.5) * len(reader) / 4) for t in range(4)]
    np.testing.assert_array_equal(read_frames(videos / "good.mp4"), reader.get_batch(places).asnumpy())


def test_each_frame_shows_its_event(videos):
    story = make_story(np.random.default_rng(0), "good", before=1, after=1)
    frames = read_frames(videos / "good.mp4", 4, story.clip).astype(int)
    drawn = np.stack([draw_frame(event, story.person) for event in story.seen]).astype(int)
    distance = [[np.abs(frame - picture).mean() for picture in drawn] for frame in frames]
    assert np.argmin(distance, axis=1).tolist() == [0, 1, 2, 3]
    assert np.diag(distance).max() < 6


# Open groups of pictures: pictures behind a key frame are shown before it, and need one that is farther ahead.
OPEN_264 = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3"}
OPEN_265 = {"x265-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=4:log-level=error"}
KINDS = [
    ("libx264", "mp4", {"bf": "3", "g": "40"}),
    ("libx264", "mkv", OPEN_264),
    ("libx264", "mp4", OPEN_264),
    ("libx264", "ts", OPEN_264),
    ("libx264", "avi", {"bf": "3", "g": "40"}),  # avi does not say when a picture is shown
    ("libx264", "mp4", {"bf": "3", "g": "40", "movflags": "negative_cts_offsets"}),
    ("libx265", "mp4", OPEN_265),
    ("libx265", "mkv", OPEN_265),
    ("libx265", "ts", OPEN_265),
    ("mpeg4", "mp4", {"bf": "2", "g": "20"}),
    ("mpeg4", "mkv", {"bf": "2", "g": "20"}),
    ("mpeg4", "avi", {"bf": "2", "g": "20"}),
    ("mpeg4", "flv", {}),
    ("mpeg2video", "mpg", {"bf": "2", "g": "12"}),
    ("mpeg2video", "ts", {"bf": "2", "g": "12"}),
    ("libvpx-vp9", "webm", {"g": "40", "deadline": "realtime", "cpu-used": "8"}),
    ("libsvtav1", "mp4", {"preset": "12"}),
    ("gif", "gif", {}),
    ("qtrle", "mov", {"g": "20"}),  # its palette stands in the first packet only
    ("rpza", "mov", {}),  # each packet calls itself a key frame
]


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "container", "options"), KINDS)
def test_every_kind_of_file_gives_the_pictures_of_its_times(tmp_path, codec, container, options):
    if codec == "mpeg4" and container == "flv":
        codec = "flv"
    path = made.write(tmp_path / f"v.{container}", codec, **options)
    assert numbers(path) == middles(range(200), 4) and numbers(path, 23) == middles(range(200), 23)
    assert numbers(path, 5, (2.0, 5.0)) == middles(range(50, 125), 5)


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("codec", "sound"), [("libx264", False), ("libx264", True), ("libx265", False), ("mpeg4", False)]
)
def test_what_was_cut_without_encoding(tmp_path, codec, container, sound):
    """mp4 and mov hide the pictures before the cut (edit list); in mkv the copy begins at a key frame."""
    options = {"x265-params": "keyint=40:bframes=3:log-level=error"} if codec == "libx265" else {"bf": "2", "g": "40"}
    whole = made.write(tmp_path / "whole.mp4", codec, sound=sound, **options)
    path = made.remux(whole, tmp_path / f"cut.{container}", 3.12)
    shown = range(78, 200)
    if container == "mkv":  # the muxer moves negative times to the beginning
        first = numbers(path, 1, (0.0, 0.04))[0]
        assert first <= 78
        shown = range(first, 200)
    assert numbers(path) == middles(shown, 4) and numbers(path, 3, (1.0, 2.0)) == middles(shown[25:50], 3)


REFRESH_264 = {"x264-params": "intra-refresh=1:keyint=20:bframes=2"}  # no key frame but the first


@pytest.mark.parametrize("container", ["ts", "mkv"])
@pytest.mark.parametrize("options", [OPEN_264, REFRESH_264])
def test_a_recording_may_begin_between_key_frames(tmp_path, options, container):
    """What cannot be decoded at its beginning is not shown, and not missing."""
    content = made.write(tmp_path / "whole.ts", **options).read_bytes()
    path = tmp_path / "part.ts"
    path.write_bytes(content[len(content) * 45 // 100 // 188 * 188 :])
    if container == "mkv":
        path = made.remux(path, tmp_path / "part.mkv")
    with av.open(str(path)) as file:
        shown = made.numbers_of(frame.to_ndarray(format="rgb24") for frame in file.decode(video=0))
    assert shown == list(range(shown[0], 200)) and numbers(path) == middles(shown, 4)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_recordings_that_were_joined(tmp_path, order):
    """Each part has its own times, which overlap."""
    whole = made.write(tmp_path / "whole.mp4", g="20")
    parts = [made.remux(whole, tmp_path / f"{i}.ts", *span) for i, span in enumerate([(0, 4), (4.8, 8)])]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts[i].read_bytes() for i in order))
    with av.open(str(path)) as file:
        shown = made.numbers_of(frame.to_ndarray(format="rgb24") for frame in file.decode(video=0))
    assert len(shown) > 170 and numbers(path) == middles(shown, 4)


def test_pictures_that_are_wrongly_called_key_frames(tmp_path):
    """As some of Xvid are: decoding cannot start there."""
    path = made.write(tmp_path / "v.mkv", "mpeg4", bf="2", g="20")
    with av.open(str(path)) as old, av.open(str(tmp_path / "w.mkv"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream, packet.is_keyframe = stream, True
                new.mux(packet)
    assert numbers(tmp_path / "w.mkv") == middles(range(200), 4)


@pytest.mark.parametrize(
    ("edits", "shown"),
    [
        ([(2, 1)], [*range(25, 75)]),
        ([(1, 2), (1, 6)], [*range(50, 75), *range(150, 175)]),
        ([(1, 6), (1, 2)], [*range(150, 175), *range(50, 75)]),
        ([(1, 2), (1, 2)], [*range(50, 75)] * 2),
        ([(1, -1), (2, 3)], [*range(75, 125)]),  # nothing is shown at first
    ],
)
def test_edit_lists(tmp_path, edits, shown):
    path = made.set_edits(made.write(tmp_path / "v.mp4", bf="0", g="40"), edits)
    assert numbers(path) == middles(shown, 4) and numbers(path, 10) == middles(shown, 10)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_pictures_that_stay_for_different_times(tmp_path, container):
    times = [*range(100), *range(100, 400, 5)]  # 25 a second for 4 seconds, then 5 a second for 12
    path = made.write(tmp_path / f"v.{container}", times=times, bf="3", g="40")
    assert numbers(path, 4, (0.0, 15.2)) == [47, 108, 127, 146]
    if container == "mp4":
        cut = made.remux(path, tmp_path / "cut.mp4", 3.2)
        assert numbers(cut, 3, (0.0, 2.4)) == [90, 102, 106]


UPRIGHT = {
    (-1, 0, 0, 1): lambda p: p[:, ::-1],  # mirrored
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, -1, 0): lambda p: np.rot90(p, 3),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (0, 1, 1, 0): lambda p: np.rot90(p, 3)[:, ::-1],  # turned, then mirrored
    (0, -1, -1, 0): lambda p: np.rot90(p, 1)[:, ::-1],
}


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_pictures_are_turned_and_mirrored_as_the_file_says(tmp_path, container):
    stored = made.write(tmp_path / f"v.{container.replace('mkv', 'mp4')}", times=range(30), bf="2")
    for number, (matrix, turn) in enumerate(UPRIGHT.items()):
        turned = made.turn(stored, tmp_path / f"{number}{stored.suffix}", *matrix)
        if container == "mkv":
            turned = made.remux(turned, tmp_path / f"{number}.mkv")
        expected = np.stack([turn(frame) for frame in decode(str(stored), 2, None)])
        np.testing.assert_array_equal(decode(str(turned), 2, None), expected)


NO_CLIP = r"clip .* is not \(start, end\) in seconds"


@pytest.mark.parametrize(
    ("name", "clip", "cause"),
    [
        ("empty.mp4", None, "empty"),
        ("text.mp4", None, "Invalid data"),
        ("torn.mp4", None, "PyAV"),
        ("absent.mp4", None, "no such file"),
        ("good.mp4", (50, 60), "starts at 50.00 s, but the video ends at 12.00 s"),
        *(("good.mp4", clip, NO_CLIP) for clip in [(-1, 2), (1, 1), (float("nan"), 2), (10**400, 10**401)]),
        *(("good.mp4", clip, NO_CLIP) for clip in [(1,), ("a", 2), 3]),
    ],
)
def test_errors_name_the_file(videos, name, clip, cause):
    with pytest.raises(VideoError, match=f"{name}: .*{cause}"):
        read_frames(videos / name, 4, clip)


@pytest.mark.parametrize("num_frames", [0, -1, 4.0, "4", None])
def test_the_number_of_frames_is_an_integer(videos, num_frames):
    with pytest.raises(ValueError, match="num_frames: expected an integer of at least 1"):
        read_frames(videos / "good.mp4", num_frames)


def test_the_number_of_decoders_is_positive(videos):
    with pytest.raises(ValueError, match="workers: expected at least 1, got -1"):
        next(read_many([(videos / "good.mp4", None)], workers=-1))


def test_a_clip_may_end_after_the_video(videos):
    path = str(videos / "good.mp4")
    for end in (13.0, 1e300, float("inf"), np.float32(99)):
        np.testing.assert_array_equal(decode(path, 2, (2, end)), decode(path, 2, (2, 12)))


@pytest.fixture
def faulty(monkeypatch):
    """Decoders die or hang as a file's name says, and are given up after 3 s."""
    monkeypatch.setattr(video, "decode", made.faulty)
    monkeypatch.setattr(video, "TIMEOUT_S", 3)


@pytest.mark.parametrize("faults", [{3: "segfault", 7: "abort", 8: "spin"}, {0: "hang", 1: "hang"}])
@pytest.mark.slow
def test_decoders_that_die_or_hang_cost_their_file_only(videos, tmp_path, faulty, faults):
    """Wherever they stand in the queue."""
    clips = made.clips_with_faults(videos / "good.mp4", tmp_path, 12, faults)
    good, results = decode(str(videos / "good.mp4"), 2, None), list(read_many(clips, 2, 2))
    assert len(results) == 12
    causes = {"segfault": r"died \(SIGSEGV\)", "abort": r"died \(SIGABRT\)"}
    for place, result in enumerate(results):
        if fault := faults.get(place):
            cause = causes.get(fault, "longer than 3 s")
            assert isinstance(result, VideoError) and re.search(f"{place:03d}_{fault}.mp4: .*{cause}", str(result))
        else:
            np.testing.assert_array_equal(result, good)


def test_what_is_no_longer_wanted_is_not_waited_for(videos, tmp_path, faulty):
    others = set(workers_of(psutil.Process()))
    frames = read_many(made.clips_with_faults(videos / "good.mp4", tmp_path, 8, {1: "hang", 2: "spin"}), 2, 2)
    assert next(frames).shape[0] == 2
    began = time.monotonic()
    frames.close()
    assert not set(workers_of(psutil.Process())) - others and time.monotonic() - began < 10


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    children = process.children(recursive=True)
    return [child for child in children if child.is_running() and "spawn_main" in " ".join(child.cmdline())]


def run(program: str, *arguments, **options) -> subprocess.Popen:
    """A process of its own that may be killed. Its program has no `if __name__ == "__main__"`."""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    command = [sys.executable, "-", *map(str, arguments)]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(textwrap.dedent(program))
    process.stdin.close()
    return process


@pytest.mark.slow
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
        assert process.stdout.read().split() == ["0", "True", "True"] * 2


@pytest.mark.slow
def test_decoders_are_small(videos):
    """They import neither torch nor pandas: some 50 MB each, started in a third of a second."""
    program = """
        import psutil, sys
        from reasvqa.video import read_frames
        read_frames(sys.argv[1])
        print(*(mapped.path for child in psutil.Process().children() for mapped in child.memory_maps()), sep="\\n")
        """
    with run(program, videos / "good.mp4") as process:
        libraries = process.stdout.read()
    assert "libavcodec" in libraries and not re.search("/(torch|pandas|scipy)/", libraries)


CONTAINERS = {
    "v.mkv": {},
    "v.flv": {},
    "v.mp4": {"movflags": "faststart"},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("left", [0.4, 0.95])
def test_a_file_that_was_cut_off_is_refused(videos, tmp_path, name, left):
    """Other frames would be the middles of what is left. A clip that is all there is read."""
    whole = made.remux(videos / "good.mp4", tmp_path / name, **CONTAINERS[name])
    frames = decode(str(videos / "good.mp4"), 4, None)
    np.testing.assert_array_equal(decode(str(whole), 4, None), frames)
    content = whole.read_bytes()
    (cut := tmp_path / f"cut_{name}").write_bytes(content[: int(left * len(content))])
    cause = r"truncated: it should last \d+.\d\d s, but holds \d+.\d\d s"
    assert re.search(cause, str(decode(str(cut), 4, None)))
    assert "truncated" in str(decode(str(cut), 4, (1.0, 12.0)))
    np.testing.assert_array_equal(decode(str(cut), 2, (0.0, 2.0)), decode(str(videos / "good.mp4"), 2, (0.0, 2.0)))


@pytest.mark.parametrize("name", ["still.mp4", "still.mkv", "sound.mkv"])
def test_files_that_last_longer_than_their_pictures(videos, tmp_path, name):
    """The last picture stays for seconds, as in a screen recording, or there is more sound: nothing is missing."""
    with av.open(str(videos / "good.mp4")) as old, av.open(str(tmp_path / name), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("pcm_s16le", rate=8000) if name == "sound.mkv" else None
        packets = [packet for packet in old.demux(video=0) if packet.dts is not None]
        if sound is None:
            packets[-1].duration *= 20
            max(packets, key=lambda packet: packet.pts).duration = packets[-1].duration
        for packet in packets:
            packet.stream = copy
            new.mux(packet)
        for _ in range(20 if sound is not None else 0):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
            frame.sample_rate = 8000
            new.mux(sound.encode(frame))
    with av.open(str(tmp_path / name)) as file:
        assert file.duration > 14e6
    found = decode(str(tmp_path / name), 4, None)
    np.testing.assert_array_equal(found, decode(str(videos / "good.mp4"), 4, None))


def test_playlists_and_pictures_are_refused(videos, tmp_path, monkeypatch):
    other = videos / "good.mp4"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\n{other}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    (tmp_path / "list.mp4").write_text(playlist)
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {other}\n")
    (tmp_path / "concat.ffconcat").write_text(f"file '{other}'\n")
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.mp4", "png")
    for path in tmp_path.iterdir():
        result = str(decode(str(path), 1, None))
        assert "a picture, a playlist, or not a supported format" in result or (
            path.suffix in (".mp4", ".ffconcat") and "Invalid" in result
        )
    monkeypatch.chdir(tmp_path)
    protocols = (f"concat:{other}", f"file:{other}", f"subfile,,start,0,end,0,,:{other}", "http://127.0.0.1/v.mp4")
    for name in (*protocols, "-"):
        assert decode(name, 1, None) == "no such file"


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


def test_mutated_clips_are_read_or_refused(videos, tmp_path):
    counts = torture.mutated_clips([videos / "good.mp4"], tmp_path, 24, seed=0)
    assert counts["read"] + counts["refused"] == 24 == counts.total() and counts["refused"] > 4


def test_pick_frames_follows_time_not_count():
    """Variable frame rate: ten frames in the first second, one in each of the next three; parts are equal in time."""
    starts = np.array([i / 10 for i in range(10)] + [1.0, 2.0, 3.0])
    picked = pick_frames(starts, 3, (0.0, 3.0))
    assert picked.tolist() == [5, 10, 11]


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
