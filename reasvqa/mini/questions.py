"""Ask questions about stories and answer them by rule.

A question *form* says which event it is about (`select`) and what it asks about that event (`report`). This is enough
to ask it of any story, to answer it from a list of events (the true ones, or those a generator believes it saw), to
choose distractors, and to decide whether a single frame can answer it (the ATP-hard list). Wording, type codes and the
share of each type follow the three benchmarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reasvqa.mini.world import OBJECTS, ROOMS, VERBS, Event, Story, gerund, past

NUMBERS = ("one", "two", "three", "four", "five")
NUM_OPTIONS = {"mini-star": 4, "mini-nextqa": 5, "mini-intentqa": 5}


@dataclass(frozen=True)
class Form:
    """One way of asking.

    Attributes:
        type: the benchmark's type code.
        share: of the benchmark's questions.
        question: the wording, with blanks for `fill`.
        select: "verb", the event with that verb; "room", the event in that room; "event" or "object", a named event;
            "after" or "before", the event next to a named one; "never", the idle object that no event uses; "rooms",
            the number of different rooms.
        report: "object", "event", "verb", "room", "bystander" (an idle object of that event), "number" (of rooms) or
            "frame".
        answer: the options' wording, with blanks.
    """

    type: str
    share: float
    question: str
    select: str
    report: str
    answer: str = "The {object}."


_THEY_DID = "They {past} the {object}."
_USED_BEFORE = "Which object did the person use right before they {past} the {object}?"
_STAR = (
    Form("Interaction", 0.07, "Which object was {past} by the person?", "verb", "object"),
    Form("Interaction", 0.14, "What did the person do with the {object}?", "object", "verb", "They {past} it."),
    Form("Interaction", 0.14, "Which object was near when the person {past} the {object}?", "event", "bystander"),
    Form("Sequence", 0.06, "Which object did the person use right after they {past} the {object}?", "after", "object"),
    Form("Sequence", 0.18, "What happened right after the person {past} the {object}?", "after", "event", _THEY_DID),
    Form("Sequence", 0.06, _USED_BEFORE, "before", "object"),
    Form("Sequence", 0.18, "What happened right before the person {past} the {object}?", "before", "event", _THEY_DID),
    Form("Prediction", 0.10, "Which object will the person use next?", "never", "object"),
    Form("Feasibility", 0.07, "Which other object is possible to be used by the person?", "never", "object"),
)
_NEXTQA = (
    Form("CW", 0.26, "why did the {person} {verb} the {object}", "after", "event", "to {verb} the {object}"),
    Form("CW", 0.10, "why did the {person} go to the {room}", "room", "event", "to {verb} the {object}"),
    Form("CH", 0.08, "how did the {person} come to {verb} the {object}", "before", "event", "by {gerund} the {object}"),
    Form("CH", 0.08, "how did the {person} use the {object}", "object", "verb", "{verb} it"),
    Form("TN", 0.17, "what did the {person} do after {gerund} the {object}", "after", "event", "{verb} the {object}"),
    Form("TP", 0.05, "what did the {person} do before {gerund} the {object}", "before", "event", "{verb} the {object}"),
    Form("TC", 0.11, "what stood by when the {person} {past} the {object}", "event", "bystander", "the {object}"),
    Form("DO", 0.06, "what did the {person} {verb}", "verb", "object", "the {object}"),
    Form("DL", 0.06, "where did the {person} {verb} the {object}", "event", "room", "in the {room}"),
    Form("DC", 0.03, "how many rooms was the {person} in", "rooms", "number", "{number}"),
)
# IntentQA asks the first six of NExT-QA's forms.
_INTENTQA = (0.40, 0.18, 0.08, 0.08, 0.20, 0.06)

# The shares are the benchmarks' own, rounded: STAR's and NExT-QA's, and those of IntentQA's validation split.
FORMS: dict[str, tuple[Form, ...]] = {
    "mini-star": _STAR,
    "mini-nextqa": _NEXTQA,
    "mini-intentqa": tuple(replace(form, share=share) for form, share in zip(_NEXTQA[:6], _INTENTQA, strict=True)),
}


@dataclass(frozen=True)
class Query:
    """A form asked about one story. `anchor` is the event that the question names; any, if it names none."""

    form: Form
    anchor: Event
    person: str

    @property
    def text(self) -> str:
        return fill(self.form.question, self.anchor, self.person)


def fill(template: str, event: Event, person: str) -> str:
    """Fill in a template: "{past} the {object}" becomes "opened the towel" for an event that opens the towel."""
    forms = {"verb": event.verb, "past": past(event.verb), "gerund": gerund(event.verb)}
    return template.format(person=person, object=event.object, room=event.room, **forms)


def locate(query: Query, events: Sequence[Event]) -> list[int]:
    """Return the indices of the events that the query is about; none if `events`, in order of time, do not show it."""
    select, anchor = query.form.select, query.anchor
    if select in ("verb", "room"):
        return [i for i, event in enumerate(events) if getattr(event, select) == getattr(anchor, select)]
    # The object identifies an event: objects are all different within a clip.
    step = {"after": 1, "before": -1}.get(select, 0)
    found = [i + step for i, event in enumerate(events) if event.object == anchor.object]
    return [i for i in found if 0 <= i < len(events)]


def solve(query: Query, events: Sequence[Event]) -> str | None:
    """Return the answer that `events` imply, in the words of an option; None if they do not settle it."""
    form = query.form
    if form.select == "rooms":
        return NUMBERS[len({event.room for event in events}) - 1]
    if form.select == "never":
        # Idle in every frame and never used. A single frame leaves several candidates.
        idle = [{name for _, name in event.idle} for event in events]
        spare = set.intersection(*idle) - {event.object for event in events}
        return form.answer.format(object=spare.pop()) if len(spare) == 1 and len(events) > 1 else None
    found = locate(query, events)
    if len(found) != 1:
        return None
    event = events[found[0]]
    if form.report == "bystander":
        return form.answer.format(object=event.idle[0][1]) if event.idle else None
    if form.report == "frame":
        return form.answer.format(frame=NUMBERS[found[0]])
    return fill(form.answer, event, query.person)


def needs_several_frames(query: Query, story: Story) -> bool:
    """Return whether no single frame of the clip gives the right answer: the rule behind the miniature's ATP-hard list.

    A count of rooms always needs several: one frame gives "one", which is right only by luck.
    """
    truth = solve(query, story.seen)
    return query.form.select == "rooms" or all(solve(query, [event]) != truth for event in story.seen)


def ask(form: Form, story: Story, rng: np.random.Generator) -> tuple[Query, str] | None:
    """Ask about an event drawn at random. Return the question and its answer; None if the story does not settle it."""
    for i in rng.permutation(len(story.seen)):
        query = Query(form, story.seen[i], story.person)
        if (answer := solve(query, story.seen)) is not None:
            return query, answer
    return None


def distractors(query: Query, story: Story, count: int, rng: np.random.Generator) -> list[str]:
    """Return `count` wrong options: mostly things that do happen in the clip, at another time.

    Options that tell events form a grid (right and wrong verb times right and wrong object). No option then stands out
    by the words it shares with others, so a student that does not look at the video stays at chance.
    """

    def shuffled(items: Sequence) -> list:
        return [items[i] for i in rng.permutation(len(items))]

    form, seen = query.form, story.seen
    truth = solve(query, seen)
    target = [seen[i] for i in locate(query, seen)]
    anchor = query.anchor.object if form.select in ("after", "before", "event") else None
    used = [event.object for event in seen if event.object != anchor]
    absent = [name for name in OBJECTS if name not in {event.object for event in seen} | {story.spare}]
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
        words = [form.answer.format(verb=verb, past=past(verb)) for verb in shuffled(VERBS)]
    elif form.report == "room":
        words = [form.answer.format(room=room) for room in shuffled(ROOMS)]
    elif form.report == "number":
        words = list(NUMBERS)
    else:
        if form.report == "bystander":
            near = {name for _, name in target[0].idle}
            names = shuffled([name for name in used if name not in near]) + shuffled(absent)
        elif form.type == "Feasibility":
            names = shuffled(absent)
        else:
            names = [*shuffled(used), story.spare, *shuffled(absent)]
        words = [form.answer.format(object=name) for name in names]
    return [word for word in dict.fromkeys(words) if word != truth][:count]
