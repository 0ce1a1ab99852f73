"""Frames: against a second decoder, upright, in the middle of equal parts; and files that cannot be read."""

import struct

import av
import numpy as np
import pytest

from reasvqa.mini.render import draw_frame
from reasvqa.mini.world import make_story
from reasvqa.video import VideoError, pick_frames, read_frames, read_many, video_digest


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


def abort(*_):
    import os

    os.abort()


def test_a_decoder_that_aborts_costs_one_file(videos, monkeypatch):
    """A file on which the decoder's process dies is reported; its neighbours in the queue are read all the same."""
    import reasvqa.video as video

    submit = video._submit

    def with_abort(workers, path, clip, num_frames, decord=True):
        if "text" in str(path):
            return video._executor(workers).submit(abort, str(path))
        return submit(workers, path, clip, num_frames, decord)

    monkeypatch.setattr(video, "_submit", with_abort)
    results = list(read_many([(videos / name, None) for name in ("good.mp4", "text.mp4", "good.mp4")], 2, workers=2))
    assert [isinstance(result, VideoError) for result in results] == [False, True, False]
    assert "process died" in str(results[1])


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
