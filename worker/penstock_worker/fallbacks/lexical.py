"""The degraded classification: which label's words the text uses.

1. Each label becomes a set of weighted terms: its own words, those of its description, and those that a
   small lexicon (`_lexicon.py`) knows for it.
2. Terms are counted in the text. A subject or title counts three times; quotes, signatures and mail
   headers do not count; a word that is denied ("not happy") speaks for the opposite, if its label has
   one.
3. A label's score is the BM25 sum (Robertson and Zaragoza 2009) over its terms, with the labels as the
   collection: a term that several labels share says less.

No score is a probability. A label without evidence scores 0.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from penstock_worker.fallbacks._lexicon import CATCH_ALL, DENIALS, ENTRIES, Entry
from penstock_worker.fallbacks.sentences import Role, sentences
from penstock_worker.fallbacks.text import WORD, Terms, fold, split_name

_NAME_WEIGHT: Final = 2.0
_DESCRIPTION_WEIGHT: Final = 1.0
_LEXICON_WEIGHT: Final = 0.9
_PHRASE_WEIGHT: Final = 1.6

_SATURATION = 1.2  # BM25's k1: how soon a further mention stops to count
_TITLE_COUNTS = 3
_DENIAL_REACH = 3  # words after a denial that it denies
_UNCOUNTED = frozenset({Role.QUOTE, Role.SIGNATURE, Role.HEADER, Role.GREETING})
_MOST_CHARS = 400_000  # of running text; a label shows itself well before that
_ALSO = 0.3  # share of the best score that a further label needs
_LEAST = 1.1 * _LEXICON_WEIGHT  # more than one mention of one word of the lexicon: needed where none is an answer


def classify(
    text: str,
    labels: Mapping[str, str | None],
    *,
    multi_label: bool = False,
    allow_none: bool = False,
) -> list[str]:
    """The label that *text* speaks for most, or with *multi_label* each that it speaks for, strongest
    first.

    *labels* maps each name to a description, or None. Ties go to the label that stands first. Without
    evidence for any label the answer is [] if *allow_none*, else the first label that means "none of the
    others" ("other", "general", "neutral", ...), else the first label; so with *multi_label* alone the
    list is never empty. Raises ValueError for no labels.
    """
    scores = classify_scores(text, labels)
    floor = _LEAST * _rareness(1, len(labels))
    least = floor if allow_none else 0.0
    ranked = sorted((name for name in scores if scores[name] > least), key=lambda name: -scores[name])
    if not ranked:
        return [] if allow_none else [_without_evidence(labels)]
    if not multi_label:
        return ranked[:1]
    enough = max(floor, _ALSO * scores[ranked[0]])
    return ranked[:1] + [name for name in ranked[1:] if scores[name] >= enough]


def classify_scores(text: str, labels: Mapping[str, str | None]) -> dict[str, float]:
    """How strongly *text* speaks for each of *labels*, in their order; 0.0 is no evidence at all.

    Scores are sums, to be compared within one call only. Raises ValueError for no labels.
    """
    if not labels:
        raise ValueError("labels must not be empty")
    terms = Terms(sample=text)
    queries = {name: _query(name, description, terms) for name, description in labels.items()}
    counts = _count(text, terms, queries)
    rarity = _rarity(queries)
    return {
        name: sum((weight * rarity[term] * _saturate(counts[term]) for term, weight in query.items()), start=0.0)
        for name, query in queries.items()
    }


def _query(name: str, description: str | None, terms: Terms) -> dict[str, float]:
    """Terms that speak for a label, with their weights; a phrase is a term with spaces in it, "!x" is "x"
    denied.
    """
    weights: dict[str, float] = {}
    words = split_name(name)
    for entry in _entries(words):
        _add(weights, _known_words(entry, terms), _LEXICON_WEIGHT)
        _add(weights, entry.phrases, _PHRASE_WEIGHT)
    _add(weights, terms.of(description or ""), _DESCRIPTION_WEIGHT)
    if not CATCH_ALL & set(map(fold, words)):
        _add(weights, terms.of(" ".join(words)) or map(fold, words), _NAME_WEIGHT)
    return weights


def _add(weights: dict[str, float], found: Iterator[str] | list[str] | tuple[str, ...], weight: float) -> None:
    for term in found:
        weights[term] = max(weight, weights.get(term, 0.0))


def _entries(words: list[str]) -> list[Entry]:
    named = {fold(word) for word in words}
    return [entry for entry in ENTRIES if entry.names & named]


def _known_words(entry: Entry, terms: Terms) -> Iterator[str]:
    yield from map(terms.stem, entry.words)
    for opposite in ENTRIES:
        if opposite.against and opposite.against in entry.names:
            yield from (f"!{terms.stem(word)}" for word in opposite.words)


def _rarity(queries: Mapping[str, dict[str, float]]) -> dict[str, float]:
    """BM25's inverse document frequency, with the labels as documents; above 0 even for a single label."""
    holding = Counter(term for query in queries.values() for term in query)
    total = len(queries)
    return {term: _rareness(held, total) for term, held in holding.items()}


def _rareness(held: int, total: int) -> float:
    return math.log(1 + (total - held + 0.5) / (held + 0.5))


def _saturate(count: float) -> float:
    return count * (_SATURATION + 1) / (count + _SATURATION)


def _count(text: str, terms: Terms, queries: Mapping[str, dict[str, float]]) -> Counter[str]:
    """How often each term of any label occurs, phrases and denied words too."""
    wanted = {term for query in queries.values() for term in query}
    phrases = tuple(term for term in wanted if " " in term)
    counts: Counter[str] = Counter()
    for piece, times in _pieces(text, terms.language):
        for term in _signed(piece, terms):
            if term in wanted:
                counts[term] += times
        folded = piece.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        counts.update({phrase: times for phrase in phrases if phrase in folded})
    return counts


def _pieces(text: str, language: str) -> Iterator[tuple[str, int]]:
    """Sentences with how much they count; everything once if nothing else is left."""
    found = [each for each in sentences(text[:_MOST_CHARS], language) if each.role not in _UNCOUNTED]
    if not found:
        yield text[:_MOST_CHARS], 1
    for at, each in enumerate(found):
        yield each.text, _TITLE_COUNTS if each.role is Role.TITLE and at < 3 else 1


def _signed(piece: str, terms: Terms) -> Iterator[str]:
    """The terms of *piece*; up to three words after a denial as "!term"."""
    denied = 0
    for word in WORD.findall(piece):
        if fold(word) in DENIALS:
            denied = _DENIAL_REACH
            continue
        for term in terms.of(word):
            yield f"!{term}" if denied else term
        denied = max(0, denied - 1)


def _without_evidence(labels: Mapping[str, str | None]) -> str:
    for name in labels:
        if CATCH_ALL & {fold(word) for word in split_name(name)}:
            return name
    return next(iter(labels))
