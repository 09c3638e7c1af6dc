"""Ordinary English sentences, drawn from a small hand-written grammar.

atlas must speak between its facts: these sentences give it prefixes, punctuation and something to lose. Everything here
was written for this project, so the text is free of anybody's licence.
"""

from __future__ import annotations

import random
import re

_SLOT = re.compile(r"<(\w+)>")

PATTERNS = (
    "<Start> <person> <verb_past> <a_thing> <place>.",
    "The <adj> <noun> <verb_intr> <place> <time>.",
    "<Time>, the <noun> <verb_intr> and <person> <verb_past> <a_thing>.",
    "<person_cap> said that the <noun> was <adj>.",
    "It was <adj> <time>, so <person> <verb_past> <a_thing>.",
    "There is <a_thing> <place>, and nobody knows why.",
    "Because the <noun> was <adj>, <person> stayed <place>.",
    "<person_cap> and <person> talked about the <noun> <time>.",
    "Nobody <verb_past> <a_thing> <place> until <time>.",
    "When the <noun> <verb_intr>, <person> was <adj>.",
    "How <adj> the <noun> looked <time>!",
    "Did <person> really leave <a_thing> <place>?",
    "In the end <person> <verb_past> <a_thing>, which was <adj>.",
    "The <noun> <place> is more <adj> than the <noun> <place>.",
    "Many people think that <a_thing> is <adj>.",
    "<person_cap> wrote a letter about the <noun> <place>.",
    "After <number> days the <noun> <verb_intr>.",
    "There were <number> <plural> <place>, and all of them were <adj>.",
    "If the <noun> is <adj>, <person> will be <adj> too.",
    "<person_cap> bought <number> <plural> and gave them to <person>.",
    "The <plural> <verb_plural> <place> <time>.",
    "Some <plural> are <adj>, others are <adj>.",
    "Therefore the <noun> was kept <place>.",
    "However, <person> did not like the <adj> <noun>.",
    "As we know, <plural> <verb_plural> <time>.",
    "You should never leave <a_thing> <place>.",
    "I saw <person> <place> <time>.",
    "We heard that <person> <verb_past> the <noun>.",
    "They asked <person> for <a_thing>, but it was too <adj>.",
    "Please put the <noun> <place>.",
)

WORDS: dict[str, tuple[str, ...]] = {
    "Start": ("Yesterday", "Once", "Later", "Soon", "Then", "Sometimes", "At last", "That day", "Long ago", "Every week"),
    "Time": ("In the morning", "Last summer", "During the storm", "Before dinner", "After the meeting", "At night", "In spring", "One year later", "On Sunday", "Late in the evening"),
    "time": ("in the morning", "last summer", "during the storm", "before dinner", "after the meeting", "at night", "in spring", "a year later", "on Sunday", "late in the evening", "at noon", "every day", "after the war", "in winter"),
    "person": ("the teacher", "my brother", "her neighbour", "the old farmer", "a young doctor", "the captain", "his aunt", "the baker", "an engineer", "the judge", "our guest", "the painter", "a student", "the gardener", "the mayor", "a sailor", "the nurse", "their friend"),
    "a_thing": ("a letter", "a red boat", "the map", "a heavy box", "an apple", "the key", "a small house", "a long story", "the window", "a warm coat", "an old clock", "a piece of bread", "the garden", "a song", "the bridge", "a cup of tea", "a new book", "a silver coin", "an empty bottle", "the machine"),
    "noun": ("river", "train", "dog", "garden", "market", "winter", "machine", "horse", "bridge", "lamp", "meeting", "road", "letter", "forest", "harbour", "kitchen", "school", "mountain", "newspaper", "engine", "concert", "island", "weather", "library", "ship", "field", "story", "wall", "cloud", "clock"),
    "plural": ("trees", "birds", "children", "boats", "houses", "stars", "books", "stones", "horses", "letters", "shops", "windows", "chairs", "flowers", "roads", "cats", "workers", "songs", "apples", "lamps"),
    "adj": ("quiet", "cold", "bright", "heavy", "old", "strange", "warm", "empty", "beautiful", "slow", "dark", "useful", "expensive", "famous", "small", "narrow", "happy", "tired", "green", "broken", "simple", "rare", "loud", "soft", "ready"),
    "verb_past": ("found", "sold", "lost", "painted", "carried", "opened", "forgot", "repaired", "described", "watched", "bought", "left", "wanted", "cleaned", "remembered", "borrowed", "brought", "drew"),
    "verb_intr": ("stopped", "disappeared", "was full of people", "changed", "grew", "fell silent", "came back", "was closed", "began to move", "smelled of rain", "waited", "shone", "was moved", "broke down"),
    "verb_plural": ("grow", "disappear", "come back", "wait", "are sold", "sleep", "look different", "shine", "are counted", "fall down", "change", "get lost"),
    "place": ("near the river", "in the old town", "behind the school", "at the station", "on the table", "under the bridge", "in a quiet street", "by the sea", "in the garden", "at home", "next to the church", "on the hill", "in the kitchen", "at the market", "across the field", "in the north"),
    "number": ("two", "three", "four", "five", "seven", "ten", "twelve", "twenty", "forty", "a hundred"),
}  # fmt: skip


def sentence(rng: random.Random) -> str:
    """One sentence, drawn with `rng`."""

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot == "person_cap":
            words = rng.choice(WORDS["person"])
            return words[0].upper() + words[1:]
        return rng.choice(WORDS[slot])

    return _SLOT.sub(fill, rng.choice(PATTERNS))
