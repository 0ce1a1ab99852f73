"""Questions about stories, and their answers by rule.

A question *form* says which event it is about (`select`) and what it wants to know of it (`report`). That is enough to
ask it of any story, to answer it from a list of events (the true ones, or the ones a generator believes it saw), to
find distractors, and to tell whether a single frame can answer it (the ATP-hard list). Wording and type codes follow
the three benchmarks; so does the share of each type among the questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasvqa.mini.world import OBJECTS, ROOMS, VERBS, Event, Story, gerund, past

NUMBERS = ("one", "two", "three", "four", "five")


@dataclass(frozen=True)
class Form:
    """One way of asking.

    select: "verb" the event with that verb; "room" the event in that room; "event" a named event; "after"/"before" the
    event next to a named one; "never" the idle object that no event uses; "rooms" the number of different rooms.
    report: "object", "event", "verb", "room", "bystander" (an idle object of that event), "number" (of rooms) or
        "frame".
    """

    type: str
    share: float
    question: str
    select: str
    report: str
    answer: str


# Shares: STAR's and NExT-QA's own mix of types (rounded), IntentQA's of its validation split.
FORMS: dict[str, tuple[Form, ...]] = {
    "mini-star": (
        Form("Interaction", 0.07, "Which object was {past} by the person?", "verb", "object", "The {object}."),
        Form("Interaction", 0.14, "What did the person do with the {object}?", "object", "verb", "They {past} it."),
        Form(
            "Interaction",
            0.14,
            "Which object was near when the person {past} the {object}?",
            "event",
            "bystander",
            "The {object}.",
        ),
        *(
            form
            for order in ("after", "before")
            for form in (
                Form(
                    "Sequence",
                    0.06,
                    f"Which object did the person use right {order} they {{past}} the {{object}}?",
                    order,
                    "object",
                    "The {object}.",
                ),
                Form(
                    "Sequence",
                    0.18,
                    f"What happened right {order} the person {{past}} the {{object}}?",
                    order,
                    "event",
                    "They {past} the {object}.",
                ),
            )
        ),
        Form("Prediction", 0.10, "Which object will the person use next?", "never", "object", "The {object}."),
        Form(
            "Feasibility",
            0.07,
            "Which other object is possible to be used by the person?",
            "never",
            "object",
            "The {object}.",
        ),
    ),
    "mini-nextqa": (
        Form("CW", 0.26, "why did the {person} {verb} the {object}", "after", "event", "to {verb} the {object}"),
        Form("CW", 0.10, "why did the {person} go to the {room}", "room", "event", "to {verb} the {object}"),
        Form(
            "CH",
            0.08,
            "how did the {person} come to {verb} the {object}",
            "before",
            "event",
            "by {gerund} the {object}",
        ),
        Form("CH", 0.08, "how did the {person} use the {object}", "object", "verb", "{verb} it"),
        Form(
            "TN", 0.17, "what did the {person} do after {gerund} the {object}", "after", "event", "{verb} the {object}"
        ),
        Form(
            "TP",
            0.05,
            "what did the {person} do before {gerund} the {object}",
            "before",
            "event",
            "{verb} the {object}",
        ),
        Form("TC", 0.11, "what stood by when the {person} {past} the {object}", "event", "bystander", "the {object}"),
        Form("DO", 0.06, "what did the {person} {verb}", "verb", "object", "the {object}"),
        Form("DL", 0.06, "where did the {person} {verb} the {object}", "event", "room", "in the {room}"),
        Form("DC", 0.03, "how many rooms was the {person} in", "rooms", "number", "{number}"),
    ),
    "mini-intentqa": (
        Form("CW", 0.40, "why did the {person} {verb} the {object}", "after", "event", "to {verb} the {object}"),
        Form("CW", 0.18, "why did the {person} go to the {room}", "room", "event", "to {verb} the {object}"),
        Form(
            "CH",
            0.08,
            "how did the {person} come to {verb} the {object}",
            "before",
            "event",
            "by {gerund} the {object}",
        ),
        Form("CH", 0.08, "how did the {person} use the {object}", "object", "verb", "{verb} it"),
        Form(
            "TN", 0.20, "what did the {person} do after {gerund} the {object}", "after", "event", "{verb} the {object}"
        ),
        Form(
            "TP",
            0.06,
            "what did the {person} do before {gerund} the {object}",
            "before",
            "event",
            "{verb} the {object}",
        ),
    ),
}
NUM_OPTIONS = {"mini-star": 4, "mini-nextqa": 5, "mini-intentqa": 5}


@dataclass(frozen=True)
class Query:
    """A form asked about one story: `anchor` is the event that the question names, where its form names one."""

    form: Form
    anchor: Event | None
    person: str

    @property
    def text(self) -> str:
        return fill(self.form.question, self.anchor, self.person)


def fill(template: str, event: Event | None, person: str = "", number: str = "") -> str:
    """A template in words: "{past} the {object}" of an event that opens the towel is "opened the towel"."""
    words = {"person": person, "number": number}
    if event is not None:
        words |= {"verb": event.verb, "past": past(event.verb), "gerund": gerund(event.verb)}
        words |= {"object": event.object, "room": event.room}
    return template.format(**words)


def locate(query: Query, events: Sequence[Event]) -> list[int]:
    """Indices of the events the query is about, among `events` in order of time; empty when they do not show it."""
    select, anchor = query.form.select, query.anchor
    if anchor is None or select in ("never", "rooms"):
        return []
    if select == "verb":
        return [i for i, event in enumerate(events) if event.verb == anchor.verb]
    if select == "room":
        return [i for i, event in enumerate(events) if event.room == anchor.room]
    # Events are found again by their object: objects are all different within a clip.
    at = [i for i, event in enumerate(events) if event.object == anchor.object]
    step = {"after": 1, "before": -1}.get(select, 0)
    return [i + step for i in at if 0 <= i + step < len(events)]


def solve(query: Query, events: Sequence[Event]) -> str | None:
    """The answer that `events` imply, in the words of an option; None when they do not settle it."""
    form = query.form
    if form.select == "rooms":
        return NUMBERS[len({event.room for event in events}) - 1]
    if form.select == "never":
        # Seen idle in every frame and never used; a single frame leaves several candidates.
        idle = [{name for _, name in event.idle} for event in events]
        spare = set.intersection(*idle) - {event.object for event in events}
        return say(form, "object", spare.pop()) if len(spare) == 1 and len(events) > 1 else None
    found = locate(query, events)
    if len(found) != 1:
        return None
    event = events[found[0]]
    if form.report == "bystander":
        return say(form, "object", event.idle[0][1]) if event.idle else None
    if form.report == "frame":
        return say(form, "frame", NUMBERS[found[0]])
    return fill(form.answer, event, query.person)


def answer_of(query: Query, events: Sequence[Event]) -> str:
    """The answer of a question that `ask` made.

    Raises:
        ValueError: the events do not settle it.
    """
    answer = solve(query, events)
    if answer is None:
        raise ValueError(f"{query.text!r} has no answer in these events")
    return answer


def say(form: Form, field: str, word: str) -> str:
    """The form's answer with one word filled in."""
    return form.answer.format(**{field: word})


def needs_several_frames(query: Query, story: Story) -> bool:
    """True when no single frame of the clip gives the right answer: the rule behind the miniature's ATP-hard list.

    A count of rooms is among them although one frame would give "one": it is right only by luck.
    """
    if query.form.select == "rooms":
        return True
    truth = solve(query, story.seen)
    return all(solve(query, [event]) != truth for event in story.seen)


def ask(form: Form, story: Story, rng: np.random.Generator) -> Query | None:
    """The form asked about a story, about an event drawn at random; None when the story leaves it open or ambiguous."""
    order = [story.seen[i] for i in rng.permutation(len(story.seen))]
    for anchor in [None] if form.select in ("never", "rooms") else order:
        query = Query(form, anchor, story.person)
        if solve(query, story.seen) is not None:
            return query
    return None


def distractors(query: Query, story: Story, count: int, rng: np.random.Generator) -> list[str]:
    """`count` wrong options: mostly things that do happen in the clip, at another time.

    For events they come as a grid (right and wrong verb x right and wrong object), so that no option stands out by the
    words it shares with the others and a student that does not look at the video stays at chance.
    """
    form, seen = query.form, story.seen
    truth = solve(query, seen)
    target = [seen[i] for i in locate(query, seen)]
    anchor = query.anchor.object if query.anchor is not None and form.select in ("after", "before", "event") else None
    used = [event.object for event in seen if event.object != anchor]
    absent = [name for name in OBJECTS if name not in {event.object for event in seen} | {story.spare}]
    shuffled = lambda items: [items[i] for i in rng.permutation(len(items))]  # noqa: E731
    if form.report == "event":
        right = target[0]
        others = shuffled([event for event in seen if event not in (right, query.anchor)])
        verbs = [right.verb] + [event.verb for event in others if event.verb != right.verb][:1]
        if len(verbs) == 1:
            verbs.append(shuffled([verb for verb in VERBS if verb != right.verb])[0])
        names = [right.object] + [event.object for event in others][: (count + 1) // 2]
        pairs = [(verb, name) for verb in verbs for name in names if (verb, name) != (right.verb, right.object)]
        words = [form.answer.format(verb=v, past=past(v), gerund=gerund(v), object=o) for v, o in shuffled(pairs)]
    elif form.report == "verb":
        words = [form.answer.format(verb=verb, past=past(verb)) for verb in shuffled(list(VERBS))]
    elif form.report == "room":
        words = [say(form, "room", room) for room in shuffled(list(ROOMS))]
    elif form.report == "number":
        words = list(NUMBERS)
    elif form.report == "bystander":
        near = {name for _, name in target[0].idle}
        words = [say(form, "object", name) for name in shuffled([n for n in used if n not in near]) + shuffled(absent)]
    elif form.type == "Feasibility":
        words = [say(form, "object", name) for name in shuffled(absent)]
    else:
        spare = [story.spare] if form.select != "never" else []
        words = [say(form, "object", name) for name in shuffled(used) + spare + shuffled(absent)]
    wrong = [word for word in dict.fromkeys(words) if word != truth]
    return wrong[:count]
