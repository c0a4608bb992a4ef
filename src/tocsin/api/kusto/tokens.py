"""Words of a management command: bare words, quoted names, punctuation; and where what is piped into begins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tocsin.base.errors import UsageError

__all__ = ["Command", "Word", "read_command"]

_WORD = re.compile(
    r"""\s+ | //[^\n]*
      | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | @"(?:[^"]|"")*" | @'(?:[^']|'')*')
      | (?P<word>[A-Za-z_][\w.*-]*|\d[\w.-]*)
      | (?P<mark>[()\[\],;=|<>:{}+/*!?&%$\#~^`@.\\-])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word. `name`: it was quoted, so it is a name or a text, never a keyword."""

    text: str
    name: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Command:
    """A command's words after its dot, and the text that follows its first pipe (with the place where it begins), if it has one."""

    words: tuple[Word, ...]
    pipe: str = ""
    pipe_at: int = 0


def read_command(text: str) -> Command:
    """The words of a command. Raises UsageError USE0022 when it isn't one."""
    start = re.match(r"(?:\s|//[^\n]*\n)*\.", text)
    if start is None:
        raise UsageError(
            "A management command begins with a dot.", code="USE0022", hint="Queries go to /v2/rest/query."
        )
    words: list[Word] = []
    at = start.end()
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:  # the last alternative takes any character
            break
        kind, found, at = match.lastgroup, match.group(), match.end()
        if kind == "mark" and found == "|":
            return Command(_joined(words), text[at - 1 :], at - 1)
        if kind == "string":
            words.append(Word(_unquoted(found), name=True))
        elif kind is not None:
            words.append(Word(found))
    return Command(_joined(words))


def _unquoted(text: str) -> str:
    if text.startswith("@"):
        quote = text[1]
        return text[2:-1].replace(quote * 2, quote)
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _joined(words: list[Word]) -> tuple[Word, ...]:
    """``['name']`` and ``[name]`` as one name each."""
    found: list[Word] = []
    index = 0
    while index < len(words):
        if (
            words[index].text == "["
            and not words[index].name
            and [w.text for w in words[index + 2 : index + 3]] == ["]"]
        ):
            found.append(Word(words[index + 1].text, name=True))
            index += 3
        else:
            found.append(words[index])
            index += 1
    while found and found[-1].text == ";" and not found[-1].name:
        found.pop()
    return tuple(found)
