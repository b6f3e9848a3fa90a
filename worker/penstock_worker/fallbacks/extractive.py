# ruff: noqa: RUF001 - the punctuation of other scripts is meant
"""The degraded summary: the sentences of the text that say most of it, chosen by counting.

1. The text is taken apart into sentences with roles (`sentences.py`); only running text and lists compete,
   the rest only when there is nothing else.
2. A sentence scores by how much it shares with the text as a whole (TF-IDF centroid), with the other strong
   sentences (TextRank), and with title and focus; by where it stands; and by words that announce something
   ("decided", "root cause", "please").
3. The best are taken one by one, each time weighing score against likeness to what was taken before
   (maximal marginal relevance, Carbonell and Goldstein 1998), as long as they fit.
4. They come out in the order of the source.

The ranking is linear in the text; TextRank and the weighing look at a bounded number of strong sentences.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from penstock_worker.fallbacks._cues import CUE_PHRASES, CUE_WORDS, SMALL_TALK
from penstock_worker.fallbacks.sentences import Role, Sentence, sentences
from penstock_worker.fallbacks.text import UNSPACED, Terms, count_words, cut_words

Style = Literal["paragraph", "bullets"]

_ROLE_WEIGHT: Final = {Role.BODY: 1.0, Role.ITEM: 0.85, Role.DATA: 0.5}
_SECOND_CHOICE: Final = {Role.QUOTE: 0.4, Role.TITLE: 0.3}
_LAST_CHOICE: Final = {Role.SIGNATURE: 0.2, Role.GREETING: 0.1, Role.HEADER: 0.1}

_MOST_SENTENCES = 60_000  # weighed; of more, the longer ones
_POOL = 160  # strongest sentences compared with each other
_LIKENESS_WEIGHT = 0.55  # of likeness against score when the next sentence is taken
_SAME = 0.72  # likeness from which a sentence says nothing new
_WORTH = 0.35  # share of the best score below which a sentence is left out
_CUT_UNLESS = 0.45  # share of the best score that makes a sentence do instead of a better, too long one

Vector = dict[str, float]


@dataclass(slots=True)
class _Scored:
    at: int  # place among all sentences
    sentence: Sentence
    words: int
    vector: Vector
    score: float = 0.0


def summarize(
    text: str,
    *,
    max_words: int,
    style: Style = "paragraph",
    language: str | None = None,
    focus: str | None = None,
) -> str:
    """The sentences of *text* that say most of it, in their order, in at most *max_words* words.

    Words are counted by `count_words`: runs between white space, and for scripts without spaces two
    characters (Chinese, Japanese) or four (Thai, Lao, Burmese, Khmer) each; the dash of a bullet counts
    too. Sentences are whole; only when no worthwhile one fits is the best one cut after a word, ending in
    "…". White space inside a sentence is made single, a full stop is set between list items that have none;
    nothing else is changed.

    *language* ("en", "de-AT", ...) chooses stop words and stemming; None guesses. *focus* is words to
    prefer. Blank text gives ""; any other text something. Raises ValueError for *max_words* below 1.
    """
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, not {max_words}")
    terms = Terms(language, sample=text)
    marker_words = 1 if style == "bullets" and max_words > 1 else 0
    ranked = _rank(_weighable(sentences(text, terms.language)), terms, focus)
    chosen = _choose(ranked, max_words, marker_words)
    if not chosen:
        chosen = [_cut(ranked, text, max_words - marker_words)] if text.strip() else []
    return _write(chosen, bullets=marker_words > 0)


def _weighable(found: Iterable[Sentence]) -> list[Sentence]:
    """The sentences to weigh: all of the best kind of role there is, at most 60,000 (the longer half, and
    so on)."""
    everything = list(found)
    least = 0
    while len(everything) > _MOST_SENTENCES:
        least = max(least + 1, len(everything[len(everything) // 2].text))
        longer = [each for each in everything if len(each.text) > least]
        everything = longer if longer else everything[:_MOST_SENTENCES]
    return everything


def _weights(found: Sequence[Sentence]) -> dict[Role, float]:
    for weights in (_ROLE_WEIGHT, _SECOND_CHOICE):
        if any(each.role in weights for each in found):
            return weights
    return _LAST_CHOICE


def _rank(found: Sequence[Sentence], terms: Terms, focus: str | None) -> list[_Scored]:
    """Every sentence that may be taken, best first."""
    weights = _weights(found)
    bags = [Counter(terms.of(each.text)) for each in found]
    idf = _inverse_frequencies([bag for each, bag in zip(found, bags, strict=True) if each.role in weights])
    titles = _vector(Counter(terms.of(" ".join(_titles(found)))), idf)
    wanted = set(terms.of(focus or ""))
    scored = [
        _Scored(at, each, count_words(each.text), _vector(bag, idf))
        for at, (each, bag) in enumerate(zip(found, bags, strict=True))
        if each.role in weights
    ]
    _score_alone(scored, titles)
    pool = sorted(scored, key=lambda one: (-one.score, one.at))[:_POOL]
    _add_mutual_support(pool)
    cues = {terms.stem(word) for word in CUE_WORDS}
    for order, one in enumerate(scored):
        one.score = _finish(one, order, len(scored), cues, terms) * weights[one.sentence.role]
    _prefer(scored, wanted)
    return sorted(scored, key=lambda one: (-one.score, one.at))


def _titles(found: Sequence[Sentence]) -> list[str]:
    """The title or subject; not every heading, or a long text would be ranked by its chapters."""
    return [each.text for each in found[:20] if each.role is Role.TITLE][:2]


def _inverse_frequencies(bags: Sequence[Counter[str]]) -> dict[str, float]:
    holding: Counter[str] = Counter()
    for bag in bags:
        holding.update(bag.keys())
    return {term: math.log(1 + len(bags) / count) for term, count in holding.items()}


def _vector(bag: Counter[str], idf: dict[str, float]) -> Vector:
    """TF-IDF of length 1; empty for a sentence without terms."""
    raw = {term: (1 + math.log(count)) * idf.get(term, 0.0) for term, count in bag.items()}
    length = math.sqrt(sum(weight * weight for weight in raw.values()))
    return {term: weight / length for term, weight in raw.items()} if length else {}


def _likeness(one: Vector, other: Vector) -> float:
    if len(other) < len(one):
        one, other = other, one
    return sum(weight * other[term] for term, weight in one.items() if term in other)


def _score_alone(scored: Sequence[_Scored], titles: Vector) -> None:
    """Likeness to the whole text, from 0 to 1, and a little for likeness to its title."""
    centre: Counter[str] = Counter()
    for one in scored:
        centre.update(one.vector)
    for one in scored:
        one.score = sum(weight * centre[term] for term, weight in one.vector.items())
    most = max((one.score for one in scored), default=0.0) or 1.0
    for one in scored:
        one.score = one.score / most + 0.25 * _likeness(one.vector, titles)


def _add_mutual_support(pool: Sequence[_Scored], rounds: int = 12, damping: float = 0.85) -> None:
    """TextRank (Mihalcea and Tarau 2004) over *pool*, added to the scores, from 0 to 0.25."""
    links = [[_likeness(one.vector, other.vector) if one is not other else 0.0 for other in pool] for one in pool]
    sums = [sum(row) or 1.0 for row in links]
    rank = [1.0] * len(pool)
    for _ in range(rounds):
        flow = [standing / total for standing, total in zip(rank, sums, strict=True)]
        rank = [(1 - damping) + damping * sum(map(float.__mul__, flow, row)) for row in links]
    most = max(rank, default=1.0) or 1.0
    for one, standing in zip(pool, rank, strict=True):
        one.score += 0.25 * standing / most


def _finish(one: _Scored, order: int, total: int, cues: set[str], terms: Terms) -> float:
    """Score with place, length and announcing words counted in."""
    score = one.score + 0.4 * math.exp(-order / 3) + 0.15 * (1 - order / total)
    score += 0.08 if one.sentence.opens else 0.0
    score += 0.15 * min(2, sum(1 for term in one.vector if term in cues))
    folded = one.sentence.text.casefold() if one.words <= 80 else ""
    score += 0.45 if any(phrase in folded for phrase in CUE_PHRASES) else 0.0
    score *= 0.35 if any(folded.startswith(phrase) for phrase in SMALL_TALK) else 1.0
    return score * _length_factor(one)


def _length_factor(one: _Scored) -> float:
    """Scraps say too little, and a very long sentence takes the room of two."""
    if one.sentence.text.endswith(":") or len(one.vector) < 2:
        return 0.4
    if one.words < 6:
        return 0.65
    return 1.0 if one.words <= 40 else max(0.6, 1.0 - (one.words - 40) / 150)


def _prefer(scored: Sequence[_Scored], wanted: set[str]) -> None:
    if not wanted:
        return
    for one in scored:
        held = sum(1 for term in wanted if term in one.vector)
        one.score = one.score * (1 + held / len(wanted)) + 2.0 * held / len(wanted)


def _choose(ranked: Sequence[_Scored], max_words: int, marker_words: int) -> list[_Scored]:
    """The sentences to show, in source order; none when the best does not fit and no other is worth its
    place."""
    if not ranked:
        return []
    best = ranked[0].score
    pool = [one for one in ranked if one.words + marker_words <= max_words and one.score >= best * _WORTH]
    if not pool or pool[0].score < best * _CUT_UNLESS:
        return []
    chosen = _take(pool[:_POOL], max_words, marker_words)
    room = max_words - sum(one.words + marker_words for one in chosen)
    chosen += _fill_up(pool[_POOL:], {_key(one) for one in chosen}, room, marker_words)
    return sorted(chosen, key=lambda one: one.at)


def _take(pool: Sequence[_Scored], max_words: int, marker_words: int) -> list[_Scored]:
    """Sentences of *pool* by maximal marginal relevance, until none that says something new fits."""
    top = pool[0].score or 1.0
    left = [(one, 0.0) for one in pool]  # with the greatest likeness to what was taken
    chosen: list[_Scored] = []
    room = max_words
    while left:
        best, _ = max(left, key=lambda pair: pair[0].score / top - _LIKENESS_WEIGHT * pair[1])
        chosen.append(best)
        room -= best.words + marker_words
        fitting = (pair for pair in left if pair[0] is not best and pair[0].words + marker_words <= room)
        grown = ((one, max(like, _likeness(best.vector, one.vector))) for one, like in fitting)
        left = [(one, like) for one, like in grown if like < _SAME]
    return chosen


def _fill_up(rest: Sequence[_Scored], taken: set[str], room: int, marker_words: int) -> list[_Scored]:
    """A long summary goes on by score alone, leaving out only sentences that were said before."""
    chosen: list[_Scored] = []
    for one in rest:
        if room <= marker_words:
            break
        if one.words + marker_words <= room and _key(one) not in taken:
            taken.add(_key(one))
            chosen.append(one)
            room -= one.words + marker_words
    return chosen


def _key(one: _Scored) -> str:
    return " ".join(sorted(one.vector)) or one.sentence.text


def _cut(ranked: Sequence[_Scored], text: str, max_words: int) -> _Scored:
    whole = ranked[0].sentence if ranked else Sentence(text.strip(), Role.BODY, 0, True)
    short = whole.text if count_words(whole.text) <= max_words else cut_words(whole.text, max_words)
    return _Scored(0, whole._replace(text=short), max_words, {})


def _write(chosen: Sequence[_Scored], *, bullets: bool) -> str:
    texts = [one.sentence.text for one in chosen]
    if bullets:
        return "\n".join(f"- {text}" for text in texts)
    written = ""
    for text in texts:
        written += _joint(written) + text
    return written


def _joint(written: str) -> str:
    if not written:
        return ""
    last = written.rstrip("\"'”’»)]*_ ")[-1:]
    stop = "" if last in set(".!?…:;。！？｡।॥؟۔") else "."
    return stop if UNSPACED.match(written[-2:-1]) and last in set("。！？｡") else f"{stop} "
