"""Draw the miniature's stories as frames and H.264 files.

Frames are 256x256, large enough to look at. Students see them at 64x64, where a board cell has 16 pixels.
Pillow draws each sprite at four times its size and shrinks it, which gives smooth edges. A frame is a room's background
with a few sprites laid over it.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from reasvqa.files import atomic_path
from reasvqa.mini.world import BOARD, OBJECTS, SECONDS_PER_EVENT, Event, Story

SIZE = 256
CELL = SIZE // BOARD
FPS = 2
_LARGE = 4 * CELL  # the side of a sprite in pixels before it is shrunk

_ROOM_RGB = {"kitchen": (205, 220, 236), "garden": (196, 226, 180), "bedroom": (240, 214, 222)}
_ROOM_RGB |= {"hall": (238, 226, 190), "garage": (204, 204, 208)}
_SKIN = (240, 200, 165)
_HAIR = {"man": (70, 45, 25), "woman": (190, 60, 30), "boy": (235, 190, 70), "girl": (40, 30, 60)}
_SHIRT = {"man": (70, 90, 130), "woman": (150, 80, 120), "boy": (180, 90, 60), "girl": (110, 130, 70)}
_TROUSERS = (60, 60, 75)

# By verb: the middle of the person's body and their size; the object's centre and half its width; hands; feet.
# Hands and feet are relative to the body, everything else to the cell.
_STANDING = ((-0.2, 0.98), (0.2, 0.98))
_POSE = {
    "open": ((0.27, 0.52, 1.0), (0.72, 0.70, 0.21), ((0.72, 0.22), (0.62, 0.05)), _STANDING),
    "wash": ((0.27, 0.52, 1.0), (0.72, 0.70, 0.21), ((0.72, 0.22), (0.62, 0.05)), _STANDING),
    "lift": ((0.50, 0.67, 0.80), (0.50, 0.21, 0.20), ((-0.42, -0.95), (0.42, -0.95)), _STANDING),
    "push": ((0.24, 0.53, 1.0), (0.74, 0.46, 0.22), ((0.75, -0.15), (0.75, 0.08)), _STANDING),
    "kick": ((0.24, 0.50, 1.0), (0.77, 0.78, 0.20), ((-0.5, 0.25), (-0.45, -0.1)), ((-0.15, 0.98), (0.75, 0.55))),
    "climb": ((0.50, 0.33, 0.76), (0.50, 0.77, 0.22), ((-0.6, -0.5), (0.6, -0.5)), ((-0.28, 0.98), (0.28, 0.98))),
}


class _Pen:
    """Draws on a sprite in units of its own: its origin is at (x, y) of the cell, x to the right and y down, 0..1."""

    def __init__(self, image: Image.Image, x: float = 0.0, y: float = 0.0, unit: float = 1.0):
        self.draw = ImageDraw.Draw(image)
        self.x, self.y, self.unit = x, y, unit

    def pixels(self, points):
        return [((self.x + x * self.unit) * _LARGE, (self.y + y * self.unit) * _LARGE) for x, y in points]

    def polygon(self, points, fill):
        self.draw.polygon(self.pixels(points), fill=fill)

    def ellipse(self, x, y, rx, ry, fill):
        self.draw.ellipse(self.pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)

    def box(self, x0, y0, x1, y1, fill, radius=0.0):
        self.draw.rounded_rectangle(self.pixels([(x0, y0), (x1, y1)]), radius * self.unit * _LARGE, fill=fill)

    def line(self, points, fill, width):
        self.draw.line(self.pixels(points), fill=fill, width=int(width * self.unit * _LARGE), joint="curve")


def _shade(rgb, factor: float):
    """Return a lighter (factor > 1) or darker tone of a colour."""
    return tuple(int(min(255, max(0, channel * factor + (factor > 1) * 18))) for channel in rgb)


def _shrink(image: Image.Image) -> np.ndarray:
    """Return the finished sprite, float32 (CELL, CELL, 4) RGBA, 0..255."""
    return np.asarray(image.resize((CELL, CELL), Image.Resampling.LANCZOS), dtype=np.float32)


def _draw_object(pen: _Pen, name: str) -> None:
    """Draw an object about two units wide and high around the pen's origin."""
    rgb = OBJECTS[name].rgb
    dark, light = _shade(rgb, 0.68), _shade(rgb, 1.18)
    if name == "towel":
        pen.box(-0.7, -1, 0.7, 0.75, rgb)
        pen.box(-0.7, 0.3, 0.7, 0.45, light)
        for k in range(5):
            pen.box(-0.7 + 0.3 * k, 0.75, -0.5 + 0.3 * k, 1, rgb)
    elif name == "laptop":
        pen.polygon([(-0.7, -0.8), (0.7, -0.8), (0.7, 0.35), (-0.7, 0.35)], rgb)
        pen.box(-0.55, -0.65, 0.55, 0.2, light)
        pen.polygon([(-0.7, 0.4), (0.7, 0.4), (1, 0.85), (-1, 0.85)], dark)
    elif name == "box":
        pen.polygon([(-0.95, -0.45), (0, -0.9), (0.95, -0.45), (0, 0)], light)
        pen.polygon([(-0.95, -0.45), (0, 0), (0, 1), (-0.95, 0.5)], rgb)
        pen.polygon([(0.95, -0.45), (0, 0), (0, 1), (0.95, 0.5)], dark)
    elif name == "cup":
        pen.ellipse(0.6, 0.05, 0.42, 0.42, _shade(rgb, 0.8))
        pen.ellipse(0.6, 0.05, 0.22, 0.22, (150, 150, 150))
        pen.polygon([(-0.8, -0.7), (0.6, -0.7), (0.45, 0.85), (-0.65, 0.85)], rgb)
        pen.ellipse(-0.1, -0.7, 0.7, 0.18, (200, 205, 210))
    elif name == "book":
        pen.polygon([(-1, -0.7), (0, -0.45), (0, 0.95), (-1, 0.7)], rgb)
        pen.polygon([(1, -0.7), (0, -0.45), (0, 0.95), (1, 0.7)], dark)
        pen.polygon([(-0.8, -0.5), (0, -0.3), (0.8, -0.5), (0.8, -0.35), (0, -0.15), (-0.8, -0.35)], (235, 235, 225))
    elif name == "pillow":
        pen.polygon([(-1, -0.75), (0, -0.5), (1, -0.75), (0.75, 0), (1, 0.75), (0, 0.5), (-1, 0.75), (-0.75, 0)], rgb)
        pen.ellipse(0, 0, 0.62, 0.5, light)
    elif name == "blanket":
        pen.polygon(
            [(-1, -0.5), (-0.3, -0.8), (0.4, -0.55), (1, -0.8), (1, 0.55), (0.35, 0.85), (-0.35, 0.55), (-1, 0.85)], rgb
        )
        pen.polygon([(-0.4, -0.75), (-0.2, -0.8), (-0.2, 0.65), (-0.4, 0.55)], dark)
        pen.polygon([(0.35, -0.55), (0.55, -0.6), (0.55, 0.75), (0.35, 0.85)], light)
    elif name == "phone":
        pen.box(-0.5, -1, 0.5, 1, rgb, 0.18)
        pen.box(-0.36, -0.75, 0.36, 0.6, (60, 75, 95))
    elif name == "broom":
        pen.polygon([(0.75, -1), (0.95, -0.85), (0.1, 0.3), (-0.1, 0.15)], dark)
        pen.polygon([(-0.25, 0.0), (0.3, 0.4), (-0.2, 1), (-1, 0.55)], rgb)
    elif name == "shoe":
        pen.polygon([(-0.9, -0.6), (-0.1, -0.6), (0.15, 0.0), (1, 0.2), (1, 0.6), (-0.9, 0.6)], rgb)
        pen.box(-0.95, 0.55, 1, 0.78, dark)
    elif name == "bag":
        pen.ellipse(0, -0.45, 0.5, 0.5, dark)
        pen.ellipse(0, -0.4, 0.32, 0.36, (225, 225, 225))
        pen.polygon([(-0.75, -0.4), (0.75, -0.4), (0.95, 0.95), (-0.95, 0.95)], rgb)
    elif name == "plate":
        pen.ellipse(0, 0, 1, 1, rgb)
        pen.ellipse(0, 0, 0.62, 0.62, light)
    elif name == "lamp":
        pen.polygon([(-0.45, -1), (0.45, -1), (0.85, 0), (-0.85, 0)], rgb)
        pen.box(-0.1, 0, 0.1, 0.8, dark)
        pen.box(-0.5, 0.75, 0.5, 0.95, dark)
    elif name == "chair":
        pen.box(-0.75, -1, -0.45, 1, rgb)
        pen.box(-0.6, -0.05, 0.75, 0.3, rgb)
        pen.box(0.45, 0.2, 0.75, 1, dark)
    elif name == "sandwich":
        pen.polygon([(-1, 0.1), (0, -0.9), (1, 0.1)], rgb)
        pen.polygon([(-1, 0.1), (1, 0.1), (1, 0.35), (-1, 0.35)], (70, 170, 60))
        pen.box(-1, 0.35, 1, 0.75, dark)
    elif name == "mirror":
        pen.ellipse(0, -0.2, 0.72, 0.82, rgb)
        pen.ellipse(0, -0.2, 0.46, 0.56, light)
        pen.box(-0.12, 0.55, 0.12, 1, rgb)


def _draw_person(pen: _Pen, person: str, hands, feet) -> None:
    """Draw legs, arms, shirt, hair and face; the pen's origin is the middle of the body."""
    for foot in feet:
        pen.line([(0, 0.35), foot], _TROUSERS, 0.17)
    for hand in hands:
        pen.line([(0, -0.22), hand], _SKIN, 0.136)
    pen.box(-0.24, -0.34, 0.24, 0.42, _SHIRT[person], 0.08)
    if person in ("woman", "girl"):  # long hair
        pen.box(-0.27, -0.80, 0.27, -0.20, _HAIR[person], 0.1)
    pen.ellipse(0, -0.67, 0.26, 0.27, _HAIR[person])
    pen.ellipse(0.03, -0.57, 0.2, 0.21, _SKIN)


@cache
def _event_sprite(person: str, verb: str, name: str) -> np.ndarray:
    """Return the sprite of a person doing `verb` to object `name`."""
    image = Image.new("RGBA", (_LARGE, _LARGE))
    body, (x, y, half_width), hands, feet = _POSE[verb]
    pen = _Pen(image)
    if verb == "open":  # light comes out of what is opened
        for dx in (-0.16, 0.0, 0.16):
            top = x + dx * 1.5
            pen.polygon([(x + dx * 0.4, y - 0.2), (top - 0.05, 0.12), (top + 0.05, 0.12)], (255, 235, 60))
    if verb == "wash":  # drops fall on what is washed
        for dx, top in ((-0.16, 0.16), (0.02, 0.1), (0.18, 0.18), (-0.07, 0.33), (0.11, 0.34)):
            sides = [(x + dx + 0.055, top + 0.05), (x + dx - 0.055, top + 0.05)]
            pen.polygon([(x + dx, top - 0.08), *sides], (30, 90, 235))
            pen.ellipse(x + dx, top + 0.05, 0.055, 0.045, (30, 90, 235))
    if verb == "push":
        for height in (0.74, 0.84):
            pen.line([(0.55, height), (0.95, height)], (110, 110, 110), 0.025)
    if verb == "kick":
        for dx in (0.0, 0.1, 0.2):
            pen.line([(0.62 + dx, 0.5), (0.58 + dx, 0.4)], (120, 60, 40), 0.03)
    _draw_object(_Pen(image, x, y, half_width), name)
    _draw_person(_Pen(image, body[0], body[1], 0.44 * body[2]), person, hands, feet)
    return _shrink(image)


@cache
def _idle_sprite(name: str) -> np.ndarray:
    """Return the sprite of an object that nobody uses, on its shadow."""
    image = Image.new("RGBA", (_LARGE, _LARGE))
    _Pen(image).ellipse(0.5, 0.86, 0.3, 0.06, (0, 0, 0, 60))
    _draw_object(_Pen(image, 0.5, 0.55, 0.3), name)
    return _shrink(image)


@cache
def _background(room: str) -> np.ndarray:
    """Return a tinted room with a faint pattern of its own, uint8 (SIZE, SIZE, 3)."""
    image = Image.new("RGB", (SIZE, SIZE), _ROOM_RGB[room])
    draw = ImageDraw.Draw(image)
    tone = _shade(_ROOM_RGB[room], 0.955)
    if room == "kitchen":  # tiles
        for k in range(0, SIZE, 32):
            draw.line([(k, 0), (k, SIZE)], tone, 2)
            draw.line([(0, k), (SIZE, k)], tone, 2)
    elif room == "garden":  # tufts of grass, every other row shifted
        for y in range(12, SIZE, 32):
            for x in range(8 + 16 * (y // 32 % 2), SIZE, 32):
                draw.line([(x, y), (x - 4, y - 8)], tone, 2)
                draw.line([(x, y), (x + 4, y - 8)], tone, 2)
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


def _paste(frame: np.ndarray, sprite: np.ndarray, cell: int) -> None:
    """Lay a sprite over board cell `cell` of `frame`, in place."""
    row, column = divmod(cell, BOARD)
    colour, alpha = np.split(sprite, [3], axis=2)
    target = frame[row * CELL :, column * CELL :][:CELL, :CELL]
    target[:] = (target * (1 - alpha / 255.0) + colour * (alpha / 255.0)).astype(np.uint8)


def draw_frame(event: Event, person: str) -> np.ndarray:
    """Return the picture of an event, uint8 (256, 256, 3) RGB."""
    frame = _background(event.room).copy()
    for cell, name in event.idle:
        _paste(frame, _idle_sprite(name), cell)
    _paste(frame, _event_sprite(person, event.verb, event.object), event.cell)
    return frame


# How far a data set's pictures are from those of pretraining, 0 to 1: home videos against pictures of the web.
LOOKS = {"clear": 0.0, "indoor": 0.6, "dusk": 0.8, "night": 1.0}
DEFAULT_LOOK = "indoor"


def colours_of(look: float) -> tuple[np.ndarray, float]:
    """Return the matrix M, float32 (3, 3), and the offset d that tint, flatten and darken colours: c @ M + d."""
    contrast = 1 - 0.4 * look
    mix = (1 - 0.3 * look) * np.eye(3) + 0.3 * look * np.roll(np.eye(3), 1, axis=1)
    return (contrast * mix).astype(np.float32), 127.5 * (1 - contrast) - 25.5 * look


def write_video(story: Story, path: Path, look: float = 0.0) -> None:
    """Write the story as an H.264 mp4 file (256x256, `FPS` frames a second) that appears whole or not at all.

    Noise that is fixed by the story's id makes every frame different.

    Args:
        look: 0 is a clear picture with a little sensor noise; 1 is dim, tinted and grainy, as a phone films at night.
    """
    import av

    noise = np.random.default_rng([ord(letter) for letter in story.id])
    grain = noise.normal(0, 1.5, size=(SIZE + 64, SIZE + 64, 1)).astype(np.float32)
    coarse = noise.normal(0, 7.65 * look, size=((SIZE + 64) // 4, (SIZE + 64) // 4, 3)).astype(np.float32)
    grain = grain + coarse.repeat(4, axis=0).repeat(4, axis=1)
    matrix, offset = colours_of(look)
    with atomic_path(path) as partial, av.open(str(partial), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "31", "preset": "ultrafast", "threads": "1"}
        for event in story.events:
            scene = draw_frame(event, story.person).astype(np.float32) @ matrix + offset
            for _ in range(int(FPS * SECONDS_PER_EVENT)):
                dy, dx = 4 * noise.integers(0, 16, 2)
                frame = scene + grain[dy : dy + SIZE, dx : dx + SIZE]
                picture = av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), format="rgb24")
                file.mux(stream.encode(picture))
        file.mux(stream.encode())
