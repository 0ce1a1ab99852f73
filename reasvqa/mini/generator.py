"""A simulated multimodal generator that stands for InternVL in phase 1 at mini scale. It is not a neural network.

It reads the story behind a video and a question, *perceives* the four frames with occasional errors, *infers* an
answer from what it believes it saw, again with occasional errors, and writes its reasoning in whole sentences, as
real models do. As the paper observes of InternVL (section 3.2), most of its wrong answers come from inference: it
compares the wrong events or eliminates the wrong option, while most of what it says it saw is right. Its parameters
are both error rates and how often it names no option. Two of its strengths stand for the paper's two generators.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from reasvqa.mini.questions import Query, solve
from reasvqa.mini.world import OBJECTS, PEOPLE, VERBS, Event, Story, gerund, past, present
from reasvqa.samples import LETTERS

ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")
RESTATED = 0.2  # share of the wrong inferences that are stated as facts before the conclusion


@dataclass(frozen=True)
class Strength:
    """How often a generator errs."""

    name: str
    perception: float  # chance that an event, or the idle objects of a frame, are seen wrongly
    inference: float  # chance that the wrong option is concluded from what was seen
    silent: float  # chance that no option is named


# sim-4b and sim-26b are set to be right about as often as InternVL 4B and 26B in the paper's Table 4 (60 and 69 %). The
# others span the range from guessing to faultless, to find where imperfect reasoning stops helping.
_STRENGTHS = (
    Strength("sim-chance", perception=0.40, inference=0.72, silent=0.03),
    Strength("sim-weak", perception=0.15, inference=0.50, silent=0.03),
    Strength("sim-4b", perception=0.08, inference=0.31, silent=0.03),
    Strength("sim-26b", perception=0.05, inference=0.26, silent=0.02),
    Strength("sim-strong", perception=0.02, inference=0.08, silent=0.01),
    Strength("sim-perfect", perception=0.0, inference=0.0, silent=0.0),
)
STRENGTHS = {strength.name: strength for strength in _STRENGTHS}


def rng_for(*words: str) -> np.random.Generator:
    """Return a random generator fixed by words, so that a generator always answers a question in the same way."""
    return np.random.default_rng(list(hashlib.sha256("\n".join(words).encode()).digest()))


def perceive(story: Story, strength: Strength, rng: np.random.Generator) -> tuple[Event, ...]:
    """Return the events of the clip as the generator believes it saw them."""

    def misread(name: str) -> str:
        return str(rng.choice([other for other in OBJECTS if other != name]))

    believed = []
    for event in story.seen:
        if rng.random() < strength.perception:
            if rng.random() < 0.3:
                event = replace(event, verb=str(rng.choice([verb for verb in VERBS if verb != event.verb])))
            else:
                event = replace(event, object=misread(event.object))
        if rng.random() < strength.perception:
            event = replace(event, idle=tuple((cell, misread(name)) for cell, name in event.idle))
        believed.append(event)
    return tuple(believed)


def respond(query: Query, options: Sequence[str], story: Story, strength: Strength, rng: np.random.Generator) -> str:
    """Return the generator's free-text response to a multiple-choice question about a story's clip."""
    events = perceive(story, strength, rng)
    answer = solve(query, events)
    choice = options.index(answer) if answer in options else int(rng.integers(len(options)))
    if rng.random() < strength.inference:
        choice = int(rng.choice([i for i in range(len(options)) if i != choice]))
    # A sentence for each frame. Idle objects are mentioned where the question is about them.
    bystanders = query.form.select == "never" or query.form.report == "bystander"
    steps = [tell(i, event, story.person, bystanders) for i, event in enumerate(events)]
    steps += explain(query, events, options, choice, options[choice] != answer, rng)
    body = " ".join(steps)
    if rng.random() < strength.silent:
        return body + "\nIt is hard to tell from these frames alone."
    return conclude(body, LETTERS[choice], options[choice], rng)


def tell(i: int, event: Event, person: str, bystanders: bool = False) -> str:
    """Return the sentence for frame `i`: "First, the man opens the towel in the hall near the cup and the box."."""
    near = " near the " + " and the ".join(name for _, name in event.idle) if bystanders else ""
    return f"{ORDINALS[i]}, the {person} {present(event.verb)} the {event.object} in the {event.room}{near}."


def explain(
    query: Query, events: Sequence[Event], options: Sequence[str], choice: int, slipped: bool, rng: np.random.Generator
) -> list[str]:
    """Return the steps from what the generator saw to its choice.

    If it slipped, it mostly concludes without a step; with a chance of `RESTATED` it states the wrong choice as a fact.
    """
    form, person = query.form, query.person
    steps = []
    if not slipped or rng.random() < RESTATED:
        words = options[choice].rstrip(".").split()
        name = words[-1]
        verb = next((v for v in VERBS if {v, past(v), gerund(v)} & set(words)), "use")
        if form.select in ("after", "before"):
            when = f"{form.select.capitalize()} the {query.anchor.object}"
            steps.append(f"{when} the {person} {present(verb)} the {name}.")
        elif form.select == "never":
            steps.append(f"The {person} never uses the {name}.")
        elif form.select == "rooms":
            steps.append("The rooms are the " + ", the ".join(dict.fromkeys(event.room for event in events)) + ".")
    # Elimination, as in the paper's Figure 2: rule out an option that names nothing visible.
    visible = {event.object for event in events} | {name for event in events for _, name in event.idle}
    unseen = [name for name in OBJECTS if name not in visible and any(f"the {name}" in o.lower() for o in options)]
    if unseen and rng.random() < 0.25:
        steps.append(f"The {unseen[0]} is not there.")
    return steps


PRESENT = {present(verb): verb for verb in (*VERBS, "use")}
DOES = rf"\bthe (?:{'|'.join(PEOPLE)}) ({'|'.join(PRESENT)}) the (\w+)"
_EVENT = re.compile(rf"{DOES}(?: in the (\w+))?(?: near the (\w+)(?: and the (\w+))?)?$")
_STEP = re.compile(rf"(after|before) the (\w+) {DOES}$")


def judge(sentence: str, story: Story, event: Event | None) -> bool | None:
    """Return whether a sentence in this generator's language is true of the clip; None if it claims nothing that can
    be judged, or is broken. `event` is the one that the sentence should tell, if it tells one."""
    words = re.sub(r"[^a-z, ]", "", sentence.lower()).strip()
    seen = story.seen
    objects = [of.object for of in seen]
    if step := _STEP.match(words):
        at = (objects.index(step[2]) if step[2] in objects else -9) + (1 if step[1] == "after" else -1)
        return 0 <= at < len(seen) and seen[at].object == step[4] and PRESENT[step[3]] in ("use", seen[at].verb)
    if never := re.match(r"the \w+ never uses the (\w+)$", words):
        return never[1] not in objects
    if absent := re.match(r"the (\w+) is not there$", words):
        return absent[1] not in {*objects, *(name for of in seen for _, name in of.idle)}
    if words.startswith("the rooms are the "):
        return set(words.removeprefix("the rooms are the ").split(", the ")) == {of.room for of in seen}
    if event is None:
        return None
    # "the man lifts the chair near the and the cup": what was done can be judged although a word is gone.
    told = _EVENT.search(words) or _EVENT.search(words.partition(" near ")[0])
    if not told:
        return None
    near = {name for name in told.groups()[3:] if name}
    right = PRESENT[told[1]] == event.verb and told[2] == event.object and told[3] in (None, event.room)
    return right and near <= {name for _, name in event.idle}


class Claim(NamedTuple):
    """A sentence; whether it is true of the clip (None: it claims nothing that can be judged); the event it tells."""

    sentence: str
    true: bool | None
    event: Event | None


def claims(text: str, story: Story) -> list[Claim]:
    """Judge each sentence of a reasoning against its clip.

    Events are told in order. A sentence that lost words keeps its place, so those behind it are still compared with
    their own frames.
    """
    found, frames = [], iter(story.seen)
    for sentence in map(str.strip, re.findall(r"[^.\n]*[a-z][^.\n]*", text)):
        event = next(frames, None) if re.match(r"(first|second|third|fourth),", sentence.lower()) else None
        found.append(Claim(sentence, judge(sentence, story, event), event))
    return found


def conclude(body: str, letter: str, option: str, rng: np.random.Generator) -> str:
    """Add the conclusion in one of the forms that real models write, some of them against the prompt's instructions."""
    text = option.rstrip(".")
    forms = (
        f"{body}\n###Answer: {letter}",
        f"###Answer: {letter}\n{body}",
        f"{body}\n**Answer:** ({letter}) {option}",
        f"{body} Therefore, the correct answer is {letter}: {text}.",
        f"{body} Thus, the correct answer is {letter}.\n###Answer: {letter}",
        f"{body}\n**Conclusion**: Based on these observations, the best option is {letter}. {text}."
        f"\n**Answer**: {letter}",
        f"{body} Given these observations and the context, the answer is {letter}. {text}.",
        f"### Answer: {letter}\n{body}\n### Conclusion: {text} is the best fit.",
    )
    return forms[int(rng.integers(len(forms)))]


def caption(story: Story, strength: Strength, detailed: bool, rng: np.random.Generator) -> str:
    """Return a question-independent caption (Table 9): of one event or, if `detailed`, of all the generator saw."""
    events = perceive(story, strength, rng)
    if not detailed:
        event = events[int(rng.integers(len(events)))]
        return f"A {story.person} is {gerund(event.verb)} the {event.object}."
    told = [f"The {story.person} {present(e.verb)} the {e.object} in the {e.room}." for e in events]
    idle = dict.fromkeys(name for event in events for _, name in event.idle)
    return " ".join(told) + " The " + ", the ".join(idle) + " can be seen."
