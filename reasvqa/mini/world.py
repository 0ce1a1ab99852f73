"""The miniature's world: who does what to which object, where, and in which order.

A *story* is a sequence of events in one person's day, two seconds each. In an event the person does one thing (of 6
verbs) to one object (of 16) in one room (of 5). A frame is a board of 4x4 cells: the event takes place in one of them,
and idle objects stand in others. A story holds everything a question can ask, so answers, captions and reasoning follow
from it by rule.

Objects have names ("towel") and colours ("crimson"). Pretraining calls half of the objects by their names and the
others (`NEW`) by their colours; the benchmark uses names only. A pretrained student therefore sees well, answers well
and can describe most of what it sees, but a few hundred questions have to teach it the names of the rest. An answer
mentions one or two objects, a reasoning four or five.
"""

from dataclasses import dataclass

import numpy as np

BOARD = 4  # cells per side; at the students' resolution a cell is exactly one ViT patch
SECONDS_PER_EVENT = 2.0


@dataclass(frozen=True)
class Thing:
    """An object: the word for its colour, and the colour it is drawn in (0..255)."""

    colour: str
    rgb: tuple[int, int, int]


OBJECTS: dict[str, Thing] = {  # by the benchmark's name
    "towel": Thing("crimson", (205, 20, 60)),
    "laptop": Thing("gray", (120, 126, 138)),
    "box": Thing("brown", (126, 74, 30)),
    "cup": Thing("white", (250, 250, 250)),
    "book": Thing("navy", (22, 34, 120)),
    "pillow": Thing("pink", (255, 150, 190)),
    "blanket": Thing("violet", (140, 70, 205)),
    "phone": Thing("black", (22, 22, 26)),
    "broom": Thing("yellow", (250, 220, 30)),
    "shoe": Thing("orange", (250, 125, 20)),
    "bag": Thing("green", (20, 125, 45)),
    "plate": Thing("cyan", (70, 220, 240)),
    "lamp": Thing("lime", (165, 240, 30)),
    "chair": Thing("blue", (30, 105, 245)),
    "sandwich": Thing("tan", (215, 170, 105)),
    "mirror": Thing("teal", (10, 135, 130)),
}
NEW = ("cup", "book", "pillow", "broom", "shoe", "bag", "lamp", "mirror")  # pretraining calls these by their colours
# Regular verbs only: the tokenizer splits off endings, so "open", "opens" and "opened" share a stem.
VERBS = ("open", "wash", "lift", "push", "kick", "climb")
ROOMS = ("kitchen", "garden", "bedroom", "hall", "garage")
PEOPLE = ("man", "woman", "boy", "girl")


def past(verb: str) -> str:
    """Return "opened" for "open"."""
    return verb + "ed"


def gerund(verb: str) -> str:
    """Return "opening" for "open"."""
    return verb + "ing"


def present(verb: str) -> str:
    """Return "opens" for "open" and "pushes" for "push"."""
    return verb + ("es" if verb.endswith("sh") else "s")


@dataclass(frozen=True)
class Event:
    """Two seconds in which the person does `verb` to `object` in `room`, inside board cell `cell` (0..15, row by row).

    `idle` pairs other cells with the names of the objects that stand there.
    """

    verb: str
    object: str
    room: str
    cell: int
    idle: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Story:
    """A video's content: events in order of time. Questions are about events `first` to `last`, both included.

    `spare` is an object that stands idle in all of these events and is used in none. The person uses it next: the event
    after `last`, if there is one, shows it.
    """

    id: str
    person: str
    events: tuple[Event, ...]
    first: int
    last: int
    spare: str

    @property
    def seen(self) -> tuple[Event, ...]:
        return self.events[self.first : self.last + 1]

    @property
    def clip(self) -> tuple[float, float]:
        """Start and end of these events in seconds."""
        return self.first * SECONDS_PER_EVENT, (self.last + 1) * SECONDS_PER_EVENT


def make_story(rng: np.random.Generator, id: str, *, before: int = 0, seen: int = 4, after: int = 0) -> Story:
    """Draw a story of `before + seen + after` events; questions are about the `seen` ones.

    Within the clip all objects differ, and no verb comes more than twice. Two idle objects stand in every frame: the
    spare one, and one that is used at another time. So only comparing frames tells which of them is never used.
    """
    names = [str(name) for name in rng.permutation(list(OBJECTS))]
    used, spare, rest = names[:seen], names[seen], names[seen + 1 :]
    verbs = [str(verb) for verb in rng.permutation(np.repeat(VERBS, 2))[:seen]]
    rooms = [str(room) for room in rng.choice(ROOMS, size=before + seen + after)]
    person = str(rng.choice(PEOPLE))
    plot = [(str(rng.choice(VERBS)), name) for name in rest[:before]]
    plot += zip(verbs, used, strict=True)
    plot += [(str(rng.choice(VERBS)), name) for name in [spare, *rest[before + 1 :]][:after]]
    events = []
    for (verb, name), room in zip(plot, rooms, strict=True):
        bystanders = [str(rng.choice([other for other in used if other != name]))]
        bystanders += [spare] if name != spare else []
        cells = [int(cell) for cell in rng.permutation(BOARD * BOARD)[: 1 + len(bystanders)]]
        idle = tuple(sorted(zip(cells[1:], bystanders, strict=True)))
        events.append(Event(verb, name, room, cells[0], idle))
    return Story(id, person, tuple(events), before, before + seen - 1, spare)
