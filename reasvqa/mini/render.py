"""Draws the miniature's stories as frames and real H.264 files.

Frames are 256x256: large enough to be pleasant to look at. The students see them at 64x64, where a board cell is 16
pixels. Sprites are drawn once at four times their size with Pillow and shrunk, which gives smooth edges; a frame is a
room's background with a few sprites laid over it.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from reasvqa.mini.world import BOARD, OBJECTS, SECONDS_PER_EVENT, Event, Story

SIZE = 256
CELL = SIZE // BOARD
FPS = 4
_SCALE = 4  # sprites are drawn this much larger and shrunk

_ROOM_RGB = {
    "kitchen": (205, 220, 236),
    "garden": (196, 226, 180),
    "bedroom": (240, 214, 222),
    "hall": (238, 226, 190),
    "garage": (204, 204, 208),
}
_SKIN = (240, 200, 165)
_HAIR = {"man": (70, 45, 25), "woman": (190, 60, 30), "boy": (235, 190, 70), "girl": (40, 30, 60)}
_SHIRT = {"man": (70, 90, 130), "woman": (150, 80, 120), "boy": (180, 90, 60), "girl": (110, 130, 70)}
_TROUSERS = (60, 60, 75)


class _Pen:
    """Draws in unit coordinates of one cell (x to the right, y down, both 0..1)."""

    def __init__(self, size: int = CELL * _SCALE):
        self.size = size
        self.image = Image.new("RGBA", (size, size))
        self.draw = ImageDraw.Draw(self.image)

    def at(self, points):
        return [(x * self.size, y * self.size) for x, y in points]

    def polygon(self, points, fill):
        self.draw.polygon(self.at(points), fill=fill)

    def ellipse(self, x, y, rx, ry, fill):
        self.draw.ellipse(self.at([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)

    def box(self, x0, y0, x1, y1, fill, radius=0.0):
        self.draw.rounded_rectangle(self.at([(x0, y0), (x1, y1)]), radius * self.size, fill=fill)

    def line(self, points, fill, width):
        self.draw.line(self.at(points), fill=fill, width=int(width * self.size), joint="curve")

    def small(self) -> np.ndarray:
        return np.asarray(self.image.resize((CELL, CELL), Image.Resampling.LANCZOS), dtype=np.float32)


def _shade(rgb, factor: float):
    """A lighter (factor > 1) or darker tone of a colour."""
    return tuple(int(min(255, max(0, channel * factor + (factor > 1) * 18))) for channel in rgb)


def _draw_object(pen: _Pen, name: str, x: float, y: float, r: float) -> None:
    """Object `name` centred at (x, y), about 2r wide and high."""
    rgb = OBJECTS[name].rgb
    dark, light = _shade(rgb, 0.68), _shade(rgb, 1.18)

    def box(x0, y0, x1, y1, fill=rgb, radius=0.0):
        pen.box(x + x0 * r, y + y0 * r, x + x1 * r, y + y1 * r, fill, radius * r)

    def polygon(points, fill=rgb):
        pen.polygon([(x + px * r, y + py * r) for px, py in points], fill)

    def ellipse(cx, cy, rx, ry, fill=rgb):
        pen.ellipse(x + cx * r, y + cy * r, rx * r, ry * r, fill)

    if name == "towel":
        box(-0.7, -1, 0.7, 0.75)
        box(-0.7, 0.3, 0.7, 0.45, light)
        for k in range(5):
            box(-0.7 + 0.3 * k, 0.75, -0.5 + 0.3 * k, 1)
    elif name == "laptop":
        polygon([(-0.7, -0.8), (0.7, -0.8), (0.7, 0.35), (-0.7, 0.35)])
        box(-0.55, -0.65, 0.55, 0.2, light)
        polygon([(-0.7, 0.4), (0.7, 0.4), (1, 0.85), (-1, 0.85)], dark)
    elif name == "box":
        polygon([(-0.95, -0.45), (0, -0.9), (0.95, -0.45), (0, 0)], light)
        polygon([(-0.95, -0.45), (0, 0), (0, 1), (-0.95, 0.5)])
        polygon([(0.95, -0.45), (0, 0), (0, 1), (0.95, 0.5)], dark)
    elif name == "cup":
        ellipse(0.6, 0.05, 0.42, 0.42, _shade(rgb, 0.8))
        ellipse(0.6, 0.05, 0.22, 0.22, (150, 150, 150))
        polygon([(-0.8, -0.7), (0.6, -0.7), (0.45, 0.85), (-0.65, 0.85)])
        ellipse(-0.1, -0.7, 0.7, 0.18, (200, 205, 210))
    elif name == "book":
        polygon([(-1, -0.7), (0, -0.45), (0, 0.95), (-1, 0.7)])
        polygon([(1, -0.7), (0, -0.45), (0, 0.95), (1, 0.7)], dark)
        polygon([(-0.8, -0.5), (0, -0.3), (0.8, -0.5), (0.8, -0.35), (0, -0.15), (-0.8, -0.35)], (235, 235, 225))
    elif name == "pillow":
        polygon([(-1, -0.75), (0, -0.5), (1, -0.75), (0.75, 0), (1, 0.75), (0, 0.5), (-1, 0.75), (-0.75, 0)])
        ellipse(0, 0, 0.62, 0.5, light)
    elif name == "blanket":
        polygon([(-1, -0.5), (-0.3, -0.8), (0.4, -0.55), (1, -0.8), (1, 0.55), (0.35, 0.85), (-0.35, 0.55), (-1, 0.85)])
        polygon([(-0.4, -0.75), (-0.2, -0.8), (-0.2, 0.65), (-0.4, 0.55)], dark)
        polygon([(0.35, -0.55), (0.55, -0.6), (0.55, 0.75), (0.35, 0.85)], light)
    elif name == "phone":
        box(-0.5, -1, 0.5, 1, rgb, 0.18)
        box(-0.36, -0.75, 0.36, 0.6, (60, 75, 95))
    elif name == "broom":
        polygon([(0.75, -1), (0.95, -0.85), (0.1, 0.3), (-0.1, 0.15)], dark)
        polygon([(-0.25, 0.0), (0.3, 0.4), (-0.2, 1), (-1, 0.55)])
    elif name == "shoe":
        polygon([(-0.9, -0.6), (-0.1, -0.6), (0.15, 0.0), (1, 0.2), (1, 0.6), (-0.9, 0.6)])
        box(-0.95, 0.55, 1, 0.78, dark)
    elif name == "bag":
        ellipse(0, -0.45, 0.5, 0.5, dark)
        ellipse(0, -0.4, 0.32, 0.36, (225, 225, 225))
        polygon([(-0.75, -0.4), (0.75, -0.4), (0.95, 0.95), (-0.95, 0.95)])
    elif name == "plate":
        ellipse(0, 0, 1, 1)
        ellipse(0, 0, 0.62, 0.62, light)
    elif name == "lamp":
        polygon([(-0.45, -1), (0.45, -1), (0.85, 0), (-0.85, 0)])
        box(-0.1, 0, 0.1, 0.8, dark)
        box(-0.5, 0.75, 0.5, 0.95, dark)
    elif name == "chair":
        box(-0.75, -1, -0.45, 1)
        box(-0.6, -0.05, 0.75, 0.3)
        box(0.45, 0.2, 0.75, 1, dark)
    elif name == "sandwich":
        polygon([(-1, 0.1), (0, -0.9), (1, 0.1)])
        polygon([(-1, 0.1), (1, 0.1), (1, 0.35), (-1, 0.35)], (70, 170, 60))
        box(-1, 0.35, 1, 0.75, dark)
    elif name == "mirror":
        ellipse(0, -0.2, 0.72, 0.82)
        ellipse(0, -0.2, 0.46, 0.56, light)
        box(-0.12, 0.55, 0.12, 1)
    else:
        raise KeyError(name)


# Where the person stands and where the object is, per verb: (person x, y, size), (object x, y, r).
_POSE = {
    "open": ((0.27, 0.52, 1.0), (0.72, 0.70, 0.21)),
    "wash": ((0.27, 0.52, 1.0), (0.72, 0.70, 0.21)),
    "lift": ((0.50, 0.67, 0.80), (0.50, 0.21, 0.20)),
    "push": ((0.24, 0.53, 1.0), (0.74, 0.46, 0.22)),
    "kick": ((0.24, 0.50, 1.0), (0.77, 0.78, 0.20)),
    "climb": ((0.50, 0.33, 0.76), (0.50, 0.77, 0.22)),
}


def _draw_person(pen: _Pen, person: str, verb: str, x: float, y: float, size: float) -> None:
    """Head, hair, shirt, arms and legs in the pose of `verb`; (x, y) is the middle of the body."""
    s = 0.44 * size

    def p(px, py):
        return x + px * s, y + py * s

    limb = 0.06 * size
    shirt, hair = _SHIRT[person], _HAIR[person]
    hips, foot = p(0, 0.35), 0.98
    legs = {"kick": [(-0.15, foot), (0.75, 0.55)], "climb": [(-0.28, foot), (0.28, foot)]}
    for end in legs.get(verb, [(-0.2, foot), (0.2, foot)]):
        pen.line([hips, p(*end)], _TROUSERS, limb * 1.25)
    arms = {
        "lift": [(-0.42, -0.95), (0.42, -0.95)],
        "push": [(0.75, -0.15), (0.75, 0.08)],
        "open": [(0.72, 0.22), (0.62, 0.05)],
        "wash": [(0.72, 0.22), (0.62, 0.05)],
        "kick": [(-0.5, 0.25), (-0.45, -0.1)],
        "climb": [(-0.6, -0.5), (0.6, -0.5)],
    }[verb]
    for end in arms:
        pen.line([p(0, -0.22), p(*end)], _SKIN, limb)
    cx, cy = p(0, 0.02)
    pen.box(cx - 0.24 * s, cy - 0.36 * s, cx + 0.24 * s, cy + 0.40 * s, shirt, 0.08 * s)
    hx, hy = p(0, -0.62)
    if person in ("woman", "girl"):
        pen.box(hx - 0.27 * s, hy - 0.18 * s, hx + 0.27 * s, hy + 0.42 * s, hair, 0.1 * s)
    pen.ellipse(hx, hy - 0.05 * s, 0.26 * s, 0.27 * s, hair)
    pen.ellipse(hx + 0.03 * s, hy + 0.05 * s, 0.2 * s, 0.21 * s, _SKIN)


@cache
def _event_sprite(person: str, verb: str, name: str) -> np.ndarray:
    """float32 (CELL, CELL, 4) RGBA of a person doing `verb` to object `name`."""
    pen = _Pen()
    (px, py, size), (ox, oy, r) = _POSE[verb]
    if verb == "open":  # light comes out of what is opened
        for dx in (-0.16, 0.0, 0.16):
            pen.polygon(
                [(ox + dx * 0.4, oy - 0.2), (ox + dx * 1.5 - 0.05, 0.12), (ox + dx * 1.5 + 0.05, 0.12)], (255, 235, 60)
            )
    if verb == "wash":  # drops fall on what is washed
        for dx, dy in ((-0.16, 0.16), (0.02, 0.1), (0.18, 0.18), (-0.07, 0.33), (0.11, 0.34)):
            pen.polygon(
                [(ox + dx, dy - 0.08), (ox + dx + 0.055, dy + 0.05), (ox + dx - 0.055, dy + 0.05)], (30, 90, 235)
            )
            pen.ellipse(ox + dx, dy + 0.05, 0.055, 0.045, (30, 90, 235))
    if verb == "push":
        for dy in (0.74, 0.84):
            pen.line([(0.55, dy), (0.95, dy)], (110, 110, 110), 0.025)
    if verb == "kick":
        for dx in (0.0, 0.1, 0.2):
            pen.line([(0.62 + dx, 0.5), (0.58 + dx, 0.4)], (120, 60, 40), 0.03)
    _draw_object(pen, name, ox, oy, r)
    _draw_person(pen, person, verb, px, py, size)
    return pen.small()


@cache
def _idle_sprite(name: str) -> np.ndarray:
    """float32 (CELL, CELL, 4) RGBA of an object that nobody uses."""
    pen = _Pen()
    pen.ellipse(0.5, 0.86, 0.3, 0.06, (0, 0, 0, 60))
    _draw_object(pen, name, 0.5, 0.55, 0.3)
    return pen.small()


@cache
def _background(room: str) -> np.ndarray:
    """uint8 (SIZE, SIZE, 3): a tinted room with a faint pattern of its own."""
    image = Image.new("RGB", (SIZE, SIZE), _ROOM_RGB[room])
    draw = ImageDraw.Draw(image)
    tone = _shade(_ROOM_RGB[room], 0.955)
    if room == "kitchen":  # tiles
        for k in range(0, SIZE, 32):
            draw.line([(k, 0), (k, SIZE)], tone, 2)
            draw.line([(0, k), (SIZE, k)], tone, 2)
    elif room == "garden":  # tufts of grass
        for x in range(8, SIZE, 32):
            for y in range(12, SIZE, 32):
                shift = 16 * ((y // 32) % 2)
                draw.line([(x + shift, y), (x + shift - 4, y - 8)], tone, 2)
                draw.line([(x + shift, y), (x + shift + 4, y - 8)], tone, 2)
    elif room == "bedroom":  # wallpaper
        for x in range(0, SIZE, 32):
            draw.rectangle([(x, 0), (x + 14, SIZE)], tone)
    elif room == "garage":  # bricks
        for y in range(0, SIZE, 16):
            draw.line([(0, y), (SIZE, y)], tone, 2)
            for x in range(16 * (y // 16 % 2), SIZE, 32):
                draw.line([(x, y), (x, y + 16)], tone, 2)
    else:  # floorboards
        for y in range(0, SIZE, 22):
            draw.line([(0, y), (SIZE, y)], tone, 3)
    return np.asarray(image)


def _paste(frame: np.ndarray, sprite: np.ndarray, cell: int, dy: int = 0) -> None:
    """Lays an RGBA sprite over board cell `cell` of `frame`, in place, moved down by `dy` pixels."""
    row, column = divmod(cell, BOARD)
    y0, x0 = row * CELL + dy, column * CELL
    y1, cut = max(y0, 0), max(-y0, 0)
    y2 = min(y0 + CELL, SIZE)
    part = sprite[cut : cut + (y2 - y1)]
    target = frame[y1:y2, x0 : x0 + CELL]
    alpha = part[..., 3:] / 255.0
    target[:] = (target * (1 - alpha) + part[..., :3] * alpha).astype(np.uint8)


def draw_frame(event: Event, person: str, phase: float = 0.5) -> np.ndarray:
    """The picture of an event, uint8 (256, 256, 3). `phase` (0..1) is the time within it: the person bobs a little."""
    frame = _background(event.room).copy()
    for cell, name in event.idle:
        _paste(frame, _idle_sprite(name), cell)
    actor = _event_sprite(person, event.verb, event.object)
    _paste(frame, actor, event.cell, dy=round(2 * np.sin(4 * np.pi * phase)))
    return frame


def write_video(story: Story, path: Path) -> None:
    """Writes the story as H.264 mp4 (256x256, 4 frames a second), by atomic rename.

    A light sensor noise, fixed by the story's id, keeps the files from being slide shows.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    noise = np.random.default_rng([ord(letter) for letter in story.id])
    grain = noise.normal(0, 1.5, size=(SIZE + 64, SIZE + 64, 1)).astype(np.float32)
    with av.open(str(partial), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "31", "preset": "ultrafast", "threads": "1"}
        per_event = int(FPS * SECONDS_PER_EVENT)
        for event in story.events:
            for k in range(per_event):
                dy, dx = noise.integers(0, 64, 2)
                frame = draw_frame(event, story.person, k / per_event) + grain[dy : dy + SIZE, dx : dx + SIZE]
                picture = av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), format="rgb24")
                file.mux(stream.encode(picture))
        file.mux(stream.encode())
    os.replace(partial, path)
