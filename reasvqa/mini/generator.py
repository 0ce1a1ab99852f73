"""A simulated multimodal generator that stands for InternVL in phase 1 at mini scale. It is not a neural network.

It reads the story behind a video and a question, *perceives* the four frames with occasional errors, *infers* an answer
from what it believes it saw, again with occasional errors, and writes its reasoning in the styles of real models. As
the paper observes of InternVL (section 3.2), most of its wrong answers come from inference: it compares the wrong
events or eliminates the wrong option, while most of what it says it saw is right. Its parameters are both error rates
and how often it names no option. Two of its strengths stand for the paper's two generators.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reasvqa.mini.questions import NUMBERS, Query, solve
from reasvqa.mini.world import OBJECTS, VERBS, Event, Story, gerund, past, present
from reasvqa.samples import LETTERS

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
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
    slipped = answer not in options
    if rng.random() < strength.inference:
        choice = int(rng.choice([i for i in range(len(options)) if i != choice]))
        slipped = True
    style = int(rng.integers(4))
    steps = describe(query, events, style)
    steps += explain(query, events, options, choice, slipped, rng)
    if style == 1:  # numbered steps, as chat models like them
        body = "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))
        body = "###Detailed Explanation:\n" + body if rng.random() < 0.5 else body
    else:
        body = " ".join(steps)
    if rng.random() < strength.silent:
        return body + "\nIt is hard to tell from these frames alone."
    return conclude(body, LETTERS[choice], options[choice], rng)


def describe(query: Query, events: Sequence[Event], style: int) -> list[str]:
    """Return a sentence for each frame: what the person does, and rooms and idle objects if the question needs them."""
    rooms = "room" in (query.form.select, query.form.report) or query.form.select == "rooms"
    bystanders = query.form.select == "never" or query.form.report == "bystander"
    sentences = []
    for i, event in enumerate(events):
        fact = f"they {event.verb} the {event.object}"
        fact += f" in the {event.room}" if rooms else ""
        fact += " near the " + " and the ".join(name for _, name in event.idle) if bystanders else ""
        if style == 0:
            sentences.append(f"{ORDINALS[i].capitalize()} {fact}.")
        elif style == 2:
            sentences.append(f"In frame {NUMBERS[i]} {fact}.")
        else:
            sentences.append(fact.capitalize() + ".")
    return sentences


def explain(
    query: Query, events: Sequence[Event], options: Sequence[str], choice: int, slipped: bool, rng: np.random.Generator
) -> list[str]:
    """Return the steps from what the generator saw to its choice.

    If it slipped, it mostly concludes without a step; with a chance of `RESTATED` it states the wrong choice as a fact.
    """
    form = query.form
    steps = []
    if not slipped or rng.random() < RESTATED:
        words = options[choice].rstrip(".").split()
        name = words[-1]
        verb = next((v for v in VERBS if {v, past(v), gerund(v)} & set(words)), "use")
        if query.anchor and form.select in ("after", "before"):
            steps.append(f"{form.select.capitalize()} the {query.anchor.object} they {verb} the {name}.")
        elif form.select == "never":
            steps.append(f"They never use the {name}.")
        elif form.select == "rooms":
            steps.append("The rooms are the " + ", the ".join(dict.fromkeys(event.room for event in events)) + ".")
    # Elimination, as in the paper's Figure 2: rule out an option that names nothing visible.
    visible = {event.object for event in events} | {name for event in events for _, name in event.idle}
    unseen = [name for name in OBJECTS if name not in visible and any(f"the {name}" in o.lower() for o in options)]
    if unseen and rng.random() < 0.25:
        steps.append(f"The {unseen[0]} is not there.")
    return steps


_EVENT = re.compile(rf"\bthey ({'|'.join(VERBS)}) the (\w+)(?: in the (\w+))?(?: near the (\w+)(?: and the (\w+))?)?$")
_STEP = re.compile(r"(after|before) the (\w+) they (\w+) the (\w+)$")


def judge(text: str, story: Story) -> list[tuple[str, bool | None]]:
    """Judge the sentences of a reasoning in this generator's language, its own or a student's.

    Events are told in order: the first sentence that tells one is about the first frame.

    Returns:
        Each sentence, and whether it is true of the clip. None: it claims nothing that can be judged, because it is
        broken or tells a fifth event.
    """
    seen, told, judged = story.seen, 0, []
    objects = [event.object for event in seen]
    for sentence in re.findall(r"[^.\n]*[a-z][^.\n]*", text):
        words = re.sub(r"[^a-z, ]", "", sentence.lower()).strip()
        truth: bool | None = None
        if step := _STEP.match(words):
            at = (objects.index(step[2]) if step[2] in objects else -9) + (1 if step[1] == "after" else -1)
            truth = 0 <= at < len(seen) and seen[at].object == step[4] and step[3] in ("use", seen[at].verb)
        elif never := re.match(r"they never use the (\w+)$", words):
            truth = never[1] not in objects
        elif absent := re.match(r"the (\w+) is not there$", words):
            truth = absent[1] not in {*objects, *(name for event in seen for _, name in event.idle)}
        elif words.startswith("the rooms are the "):
            truth = set(words.removeprefix("the rooms are the ").split(", the ")) == {event.room for event in seen}
        elif (event := _EVENT.search(words)) and told < len(seen):
            true, told = seen[told], told + 1
            near = {name for name in event.groups()[3:] if name}
            truth = event[1] == true.verb and event[2] == true.object and event[3] in (None, true.room)
            truth = truth and near <= {name for _, name in true.idle}
        judged.append((sentence.strip(), truth))
    return judged


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
    sentences = [
        f"The {story.person} {present(event.verb)} the {event.object} in the {event.room}." for event in events
    ]
    idle = dict.fromkeys(name for event in events for _, name in event.idle)
    return " ".join(sentences) + " The " + ", the ".join(idle) + " can be seen."
