# ruff: noqa: RUF001, RUF002 - the punctuation of other scripts is meant
"""Words, terms and languages: what the three fallbacks share.

1. A **word** is what a reader would count: a run between white space (`count_words`).
2. A **term** is what is compared: a word folded, stemmed, and left out when it is a stop word. A run of a
   script written without spaces has no such words; its terms are its overlapping pairs of characters.
3. The **language** only chooses stop words and stemmer. A wrong guess makes scores coarser, never wrong.

Everything is linear in the length of the text, and nothing raises on any string.
"""

import re
import unicodedata
from collections import Counter
from typing import Final

import snowballstemmer  # type: ignore[import-untyped]

from penstock_worker.fallbacks._stopwords import NO_STOP_WORDS, STEMMERS, STOP_WORDS

DEFAULT_LANGUAGE: Final = "en"

# Letters, digits and the marks that belong to them: Python's \w leaves out combining vowel signs.
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
    "\u0e31\u0e34-\u0e4e\u1000-\u109f\u1780-\u17d3"
)
WORD: Final = re.compile(rf"[^\W_]++(?:[{_MARKS}]++[^\W_]*+)*+(?:['’][^\W_]++)*+")

_WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
UNSPACED: Final = re.compile(f"[{_WIDE}{_DENSE}]")
_WIDE_RUN = re.compile(f"[{_WIDE}]+")
_DENSE_RUN = re.compile(f"[{_DENSE}]+")

_WIDE_CHARS_PER_WORD = 2
_DENSE_CHARS_PER_WORD = 4
_LONGEST_WORD = 64  # characters of a word that are looked at
_MOST_STEMS = 60_000  # distinct words stemmed per text; a stem costs about 15 µs
_MOST_REMEMBERED = 400_000
_SAMPLE_CHARS = 20_000  # read to guess a language


def count_words(text: str) -> int:
    """How many words *text* has: its runs between white space, never fewer.

    A run that holds more than one word's worth of a script without spaces counts for more: two characters
    of Chinese or Japanese, or four of Thai, Lao, Burmese or Khmer, are one word.
    """
    if UNSPACED.search(text) is None:
        return len(text.split())
    return sum(map(_words_in_run, text.split()))


def _words_in_run(run: str) -> int:
    wide = sum(map(len, _WIDE_RUN.findall(run)))
    dense = sum(map(len, _DENSE_RUN.findall(run)))
    return max(1, -(-wide // _WIDE_CHARS_PER_WORD) + -(-dense // _DENSE_CHARS_PER_WORD))


def cut_words(text: str, most: int) -> str:
    """The beginning of *text*, cut after a word so that it and its "…" are at most *most* words (1 or
    more).
    """
    kept: list[str] = []
    room = most
    for run in text.split(None, most)[:most]:
        size = _words_in_run(run)
        if size > room:
            kept.append(_cut_run(run, room)) if room else None
            break
        kept.append(run)
        room -= size
    return " ".join(kept).rstrip(".,;:!?…、，。！？ ") + "…"


def _cut_run(run: str, most: int) -> str:
    low, high = 0, len(run)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _words_in_run(run[:middle]) <= most else (low, middle - 1)
    return run[:low]


def fold(word: str) -> str:
    """*word* without case and width, so that "Ｅmail" and "email" are one."""
    return unicodedata.normalize("NFKC", word[:_LONGEST_WORD]).casefold().replace("’", "'")


_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def split_name(name: str) -> list[str]:
    """The words of a name in any of the usual spellings: invoiceNumber, INVOICE_NUMBER, "invoice-number"."""
    return WORD.findall(_HUMP.sub(" ", name[:400]).replace("_", " "))


def guess_language(text: str) -> str:
    """The code of the language whose commonest words *text* uses most; "en" when none stands out.

    Looks at the first 20,000 characters.
    """
    words = Counter(fold(word) for word in WORD.findall(text[:_SAMPLE_CHARS]))
    scores = {code: sum(words[stop] for stop in stops) for code, stops in STOP_WORDS.items()}
    best = max(scores, key=lambda code: scores[code])
    return best if scores[best] > scores[DEFAULT_LANGUAGE] else DEFAULT_LANGUAGE


class Terms:
    """Turns text into terms of one language, remembering each word.

    Make one per call: it is not safe to share between threads. Past 60,000 distinct words a word is
    folded but no longer stemmed, so that a text of five million different words costs seconds and not
    minutes.
    """

    def __init__(self, language: str | None = None, sample: str = "") -> None:
        self.language = normal_language(language) or guess_language(sample)
        self._stops = STOP_WORDS.get(self.language, NO_STOP_WORDS)
        name = STEMMERS.get(self.language)
        self._stemmer = snowballstemmer.stemmer(name) if name else None
        self._known: dict[str, tuple[str, ...]] = {}
        self._stemmed = 0

    def of(self, text: str) -> list[str]:
        """The terms of *text*, in order, stop words left out."""
        known = self._known
        terms: list[str] = []
        for word in WORD.findall(text):
            found = known.get(word)
            terms.extend(self._look_at(word) if found is None else found)
        return terms

    def stem(self, word: str) -> str:
        """The stem of one word, stop word or not."""
        folded = fold(word).removesuffix("'s")
        if self._stemmer is None or self._stemmed >= _MOST_STEMS:
            return folded
        self._stemmed += 1
        return str(self._stemmer.stemWord(folded))

    def is_stop(self, word: str) -> bool:
        """Whether *word* says nothing about a text in this language."""
        return fold(word) in self._stops

    def _look_at(self, word: str) -> tuple[str, ...]:
        if UNSPACED.search(word):
            found = _pairs(word)
        elif self.is_stop(word):
            found = ()
        else:
            found = (self.stem(word),)
        if len(word) <= _LONGEST_WORD and len(self._known) < _MOST_REMEMBERED:
            self._known[word] = found
        return found


def normal_language(language: str | None) -> str | None:
    """The two-letter code in a tag such as "de-AT" or "EN_us"; None for None and for a blank tag."""
    tag = (language or "").strip().lower().replace("_", "-").split("-")[0]
    by_name = {name: code for code, name in STEMMERS.items()}
    return by_name.get(tag, tag) or None


def _pairs(run: str) -> tuple[str, ...]:
    if len(run) < 2:
        return (run,)
    return tuple(run[at : at + 2] for at in range(len(run) - 1))
