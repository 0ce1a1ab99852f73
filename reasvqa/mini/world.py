"""The miniature's world: who does what to which object, where, and in which order.

A *story* is a few seconds of one person's life: a sequence of events, each two seconds long. In an event the person
does one thing (one of 6 verbs) to one object (one of 16) in one room (one of 5). The frame is a 4x4 board of cells: the
event happens in one of them, a few idle objects stand in others. Everything a question can ask is written in the story,
so that answers, captions and reasoning follow from it by rule.

Objects have names ("towel") and colours ("crimson"). While students are pretrained, pictures of half of the objects go
by the name and those of the others (`NEW`) by the colour. The benchmark uses names only. So a pretrained student sees
well, knows how to answer and can say most of what it sees, but has to learn, from a few hundred questions, what the
benchmark calls the rest: this is what the miniature leaves to be learned. An answer touches one or two objects, a
reasoning four or five.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOARD = 4  # cells per side; at the students' resolution a cell is exactly one ViT patch
SECONDS_PER_EVENT = 2.0


@dataclass(frozen=True)
class Thing:
    """An object: the benchmark's `name`, its `colour` in a word, and how it is drawn."""

    name: str
    colour: str
    rgb: tuple[int, int, int]


OBJECTS: dict[str, Thing] = {
    thing.name: thing
    for thing in (
        Thing("towel", "crimson", (205, 20, 60)),
        Thing("laptop", "gray", (120, 126, 138)),
        Thing("box", "brown", (126, 74, 30)),
        Thing("cup", "white", (250, 250, 250)),
        Thing("book", "navy", (22, 34, 120)),
        Thing("pillow", "pink", (255, 150, 190)),
        Thing("blanket", "violet", (140, 70, 205)),
        Thing("phone", "black", (22, 22, 26)),
        Thing("broom", "yellow", (250, 220, 30)),
        Thing("shoe", "orange", (250, 125, 20)),
        Thing("bag", "green", (20, 125, 45)),
        Thing("plate", "cyan", (70, 220, 240)),
        Thing("lamp", "lime", (165, 240, 30)),
        Thing("chair", "blue", (30, 105, 245)),
        Thing("sandwich", "tan", (215, 170, 105)),
        Thing("mirror", "teal", (10, 135, 130)),
    )
}
NEW = ("cup", "book", "pillow", "broom", "shoe", "bag", "lamp", "mirror")  # pretraining calls their pictures by colours
# Regular verbs only: the students' tokenizer splits stem and ending, so "open", "opens" and "opened" share a stem.
VERBS = ("open", "wash", "lift", "push", "kick", "climb")
ROOMS = ("kitchen", "garden", "bedroom", "hall", "garage")
PEOPLE = ("man", "woman", "boy", "girl")


def past(verb: str) -> str:
    """ "open" -> "opened"."""
    return verb + "ed"


def gerund(verb: str) -> str:
    """ "open" -> "opening"."""
    return verb + "ing"


def present(verb: str) -> str:
    """ "open" -> "opens", "push" -> "pushes"."""
    return verb + ("es" if verb.endswith("sh") else "s")


@dataclass(frozen=True)
class Event:
    """Two seconds: the person does `verb` to `object` in `room`, inside board cell `cell`, while `idle` objects stand
    by.

    `idle` maps board cells (0..15, row by row) to object names.
    """

    verb: str
    object: str
    room: str
    cell: int
    idle: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Story:
    """A video's content: `events` in order of time; `first`..`last` (inclusive) is what questions see.

    `spare` is an object that stands idle in every frame the questions see and is never used there: it is the one the
    person turns to next. With `last < len(events) - 1` the event after the clip shows it.
    """

    id: str
    person: str
    events: tuple[Event, ...]
    first: int
    last: int
    spare: str

    @property
    def seen(self) -> tuple[Event, ...]:
        """The events inside the clip that questions ask about."""
        return self.events[self.first : self.last + 1]

    @property
    def clip(self) -> tuple[float, float]:
        """Start and end of the clip in seconds."""
        return self.first * SECONDS_PER_EVENT, (self.last + 1) * SECONDS_PER_EVENT


def make_story(rng: np.random.Generator, id: str, *, before: int = 0, seen: int = 4, after: int = 0) -> Story:
    """Draws a story of `before + seen + after` events, of which the middle `seen` are what questions are about.

    Within the clip the objects are all different and no verb comes more than twice. Two idle objects stand in every
    frame: the spare one and one that is used at another time, so that only comparing frames tells which of them is
    never used.
    """
    names = [str(name) for name in rng.permutation(list(OBJECTS))]
    used, spare, rest = names[:seen], names[seen], names[seen + 1 :]
    verbs = [str(verb) for verb in rng.permutation(np.repeat(VERBS, 2))[:seen]]
    rooms = [str(room) for room in rng.choice(ROOMS, size=before + seen + after)]
    person = str(rng.choice(PEOPLE))
    plot = (
        [(str(rng.choice(VERBS)), rest[i]) for i in range(before)]
        + list(zip(verbs, used, strict=True))
        + [(str(rng.choice(VERBS)), spare if i == 0 else rest[before + i]) for i in range(after)]
    )
    events = []
    for (verb, name), room in zip(plot, rooms, strict=True):
        others = [other for other in used if other != name]
        bystanders = [str(rng.choice(others))] + ([spare] if name != spare else [])
        cells = [int(cell) for cell in rng.permutation(BOARD * BOARD)[: 1 + len(bystanders)]]
        idle = tuple(sorted(zip(cells[1:], bystanders, strict=True)))
        events.append(Event(verb, name, room, cells[0], idle))
    return Story(id, person, tuple(events), before, before + seen - 1, spare)
