"""Finds one string, number, boolean or named choice in a text: first by its label, then by its form or
its neighbours.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import islice
from typing import Final, NamedTuple

import jsonschema_rs

from penstock_worker.fallbacks._lexicon import DENIALS
from penstock_worker.fallbacks.rules.judge import linear_validator
from penstock_worker.fallbacks.rules.names import Names, Query
from penstock_worker.fallbacks.rules.page import Page, Pair
from penstock_worker.fallbacks.rules.shapes import Node
from penstock_worker.fallbacks.rules.values import Reader, currencies, money_at, yes_or_no
from penstock_worker.fallbacks.sentences import Role, Sentence, sentences
from penstock_worker.fallbacks.text import WORD, Terms, fold

_MOST_LABELS: Final = 5_000  # different ones
_MOST_SENTENCES: Final = 5_000
_MOST_CHOICES: Final = 1_000
_MOST_WORDS: Final = 30_000  # of running text in which choices are counted
_MOST_TOKENS: Final = 3_000  # distinct words that a pattern is tried on
_SURELY: Final = 0.9  # likeness of a heading to a name, for the text below it to be the value
_LONGEST_CANDIDATE: Final = 200  # characters of a string that a user's pattern may see
_NEAR: Final = 6  # words around a number that may name it
_LEAF_KEYWORDS: Final = frozenset(
    """type enum const minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum
    multipleOf""".split()  # noqa: SIM905 - a table reads better as one string
)
_ABOUT_TRUTH: Final = frozenset("is has was are have had did does can should needs wants flag".split())  # noqa: SIM905
_FORM_BY_NAME: Final = {
    "email": "email",
    "mail": "email",
    "phone": "phone",
    "telephone": "phone",
    "mobile": "phone",
    "url": "uri",
    "website": "uri",
    "link": "uri",
    "ip": "ipv4",
    "uuid": "uuid",
}
_SAYS_LITTLE: Final = frozenset({"number", "total", "of", "in"})
_MONEY: Final = frozenset({"price", "subtotal", "vat"})
_NAMES_A_CODE: Final = frozenset({"number", "version"})
_CONNECTS: Final = frozenset({"number", "is", "was", "", "the", "our", "my"})
_PEOPLE: Final = frozenset({"name", "customer", "contact", "sender", "person", "user", "author", "full"})
_PERSON = re.compile(r"(?:[^\W\d_a-z][\w.'’-]{0,30} ?){2,4}$")  # noqa: RUF001
_ADDRESS_PART = re.compile(r"\s*<[^<>]{3,200}>?$")
_CODE = re.compile(r"[#(]?((?=[^\s]{0,40}\d)[\w][\w./-]{0,39}[\w])")


class Prose(NamedTuple):
    """A sentence of running text, cut into words."""

    text: str
    words: tuple[str, ...]
    terms: frozenset[str]


Labelled = tuple[str, str]  # a label and the heading above it


class Siblings(NamedTuple):
    """What the properties of one object have claims to."""

    best: dict[Labelled, float]
    """How well each label fits the property that it fits best."""
    forms: Counter[str]
    """How many properties ask for each format."""
    objects: frozenset[str] = frozenset()
    """The terms of those that are objects."""


class Scalars:
    """Looks for scalars in one text."""

    def __init__(self, text: str, page: Page, names: Names, terms: Terms) -> None:
        self._text = text
        self._page = page
        self._names = names
        self._terms = terms
        self._read = Reader(text)
        self._likeness: dict[Query, dict[Labelled, float]] = {}
        self._by_format: dict[str, list[str]] = {}
        self._checks: dict[int, tuple[Node, jsonschema_rs.Draft202012Validator | None]] = {}

    def siblings(self, asked: Iterable[tuple[Query, Node]], objects: frozenset[str] = frozenset()) -> Siblings:
        """The claims of the properties *asked* of one object; *objects* are the terms of those that are
        objects.
        """
        best: dict[Labelled, float] = {}
        forms: Counter[str] = Counter()
        for query, node in asked:
            forms[_form(node, query)] += 1
            for labelled, like in self._likely(query).items():
                best[labelled] = max(like, best.get(labelled, 0.0))
        return Siblings(best, forms, objects)

    def find(self, kind: str, node: Node, query: Query, siblings: Siblings) -> object | None:
        """A value of *kind* for *query*, valid under *node* by itself; None when the text gives none.

        A label that fits one of the *siblings* better is theirs.
        """
        for pair in self.pairs(query, siblings):
            for value in self.read(kind, node, pair.value, query):
                if self.fits(node, value):
                    return value
        for value in islice(self._unlabelled(kind, node, query, siblings), _MOST_TOKENS):
            if self.fits(node, value):
                return value
        return None

    def read(self, kind: str, node: Node, written: str, query: Query) -> Iterator[object]:
        """What the value *written* may be, as *kind*."""
        if kind in {"number", "integer"}:
            yield from (_plain(value, kind) for value, _, _ in self._read.numbers(written) if _allowed(value, kind))
        elif kind == "boolean":
            answer = yes_or_no(written)
            yield from () if answer is None else (answer,)
        elif kind == "enum":
            yield from self._choices(node, written)
        elif kind == "string":
            yield from self._strings(node, written, query)
        elif kind == "any":
            yield written

    def all_of_format(self, node: Node, query: Query) -> Iterator[str]:
        """Every value of the format that *node* states or its name suggests, in order."""
        form = _form(node, query)
        yield from self._all(form) if form else ()

    def _all(self, form: str) -> list[str]:
        if form not in self._by_format:
            self._by_format[form] = [found.value for found in self._read.of_format(form, self._text)]
        return self._by_format[form]

    def fits(self, node: Node, value: object) -> bool:
        """Whether *value* is valid under the keywords of *node* that concern scalars."""
        if isinstance(value, str) and len(value) > _LONGEST_CANDIDATE and "pattern" in node:
            return False
        known = self._checks.get(id(node))
        if known is None or known[0] is not node:
            leaf = {key: node[key] for key in _LEAF_KEYWORDS & node.keys()}
            known = self._checks[id(node)] = (node, linear_validator(leaf))
        return known[1] is not None and known[1].is_valid(value)

    def pairs(self, query: Query, siblings: Siblings) -> list[Pair]:
        """The pairs whose label means *query*, the likest first."""
        likely = self._likely(query)
        mine = [each for each in likely if likely[each] >= siblings.best.get(each, 0.0) - 0.01]
        return [pair for each in sorted(mine, key=lambda key: -likely[key]) for pair in self._by_label[each]]

    def _likely(self, query: Query) -> dict[Labelled, float]:
        if query not in self._likeness:
            near = {each for term in self._names.reach(query) for each in self._labels_with.get(term, ())}
            likeness = (
                (each, self._names.likeness(each[0], query, each[1])) for each in self._by_label if each in near
            )
            self._likeness[query] = {each: like for each, like in likeness if like}
        return self._likeness[query]

    @cached_property
    def _by_label(self) -> dict[Labelled, list[Pair]]:
        found: dict[Labelled, list[Pair]] = {}
        for pair in self._page.pairs:
            key = (pair.label, pair.section)
            if key in found or len(found) < _MOST_LABELS:
                found.setdefault(key, []).append(pair)
        return {key: pairs[:50] for key, pairs in found.items()}

    @cached_property
    def _labels_with(self) -> dict[str, list[Labelled]]:
        index: dict[str, list[Labelled]] = defaultdict(list)
        for label, section in self._by_label:
            for term in self._names.terms_of_label(label) | self._names.terms_of_label(section):
                index[term].append((label, section))
        return dict(index)

    def _strings(self, node: Node, written: str, query: Query) -> Iterator[str]:
        form = _form(node, query)
        if form:
            yield from (found.value for found in self._read.of_format(form, written))
        if "currency" in query.words:
            yield from currencies(written)
        if "name" in query.words:
            yield _ADDRESS_PART.sub("", written).strip(' "')
        if "format" not in node:
            yield written
        if "pattern" in node:
            yield from (token.strip("\"'()[]{}<>,;:.!?") for token in written.split())

    def _choices(self, node: Node, written: str) -> Iterator[object]:
        """Values of an enum that *written* names, the longest first."""
        folded = f" {' '.join(map(fold, WORD.findall(written)))} "
        named = [each for each in node["enum"] if isinstance(each, str) and f" {_spelled(each)} " in folded]
        yield from sorted(named, key=len, reverse=True)
        numbers = {value for value, _, _ in self._read.numbers(written)}
        yield from (each for each in node["enum"] if type(each) in {int, float} and Decimal(str(each)) in numbers)
        answer = yes_or_no(written)
        yield from (each for each in node["enum"] if isinstance(each, bool) and each is answer)

    def _unlabelled(self, kind: str, node: Node, query: Query, siblings: Siblings) -> Iterator[object]:
        if kind == "enum":
            yield from self.mentioned(node)
        elif kind == "boolean":
            yield from self._stated(query)
        elif kind in {"number", "integer"}:
            yield from self._counted(kind, query)
        elif kind == "string":
            yield from self._by_form(node, query, siblings)
            yield from self._person(query)
            yield from self._after_its_name(query)
            yield from self._by_pattern(node)
            yield from self._below_heading(node, query)

    def mentioned(self, node: Node) -> Iterator[object]:
        """Choices that the running text names, the most often named first."""
        counts: dict[str, int] = {}
        for choice in node["enum"][:_MOST_CHOICES]:
            words = WORD.findall(choice.replace("_", " ")) if isinstance(choice, str) else []
            if words:
                counts[choice] = self._spoken.count(f" {' '.join(map(self._terms.stem, words))} ")
        yield from sorted((each for each in counts if counts[each]), key=lambda each: -counts[each])

    @cached_property
    def _spoken(self) -> str:
        """The running text in stems."""
        words = (word for prose in self._prose for word in prose.words)
        return f" {' '.join(map(self._terms.stem, islice(words, _MOST_WORDS)))} "

    def _stated(self, query: Query) -> Iterator[bool]:
        """True where a sentence holds all words of the name, False where it denies them."""
        wanted = {self._names.term(word) for word in query.words if word not in _ABOUT_TRUTH and len(word) > 1}
        for prose in self._sentences_with(wanted):
            if not prose.text.endswith("?"):
                yield not any(word in DENIALS for word in prose.words)

    def _sentences_with(self, wanted: set[str]) -> Iterator[Prose]:
        rarest = min((self._holding.get(term, []) for term in wanted), key=len, default=[])
        yield from (self._prose[at] for at in rarest if wanted <= self._prose[at].terms)

    @cached_property
    def _holding(self) -> dict[str, list[int]]:
        index: dict[str, list[int]] = defaultdict(list)
        for at, prose in enumerate(self._prose):
            for term in prose.terms:
                index[term].append(at)
        return dict(index)

    def _counted(self, kind: str, query: Query) -> Iterator[object]:
        """Numbers in sentences whose nearby words name them, the surest first; amounts of money need a
        label.
        """
        wanted = {self._names.term(word) for word in query.words} - _SAYS_LITTLE
        if not wanted or wanted & _MONEY:
            return
        places = sorted({at for term in wanted for at in self._holding.get(term, ())})[: _MOST_SENTENCES // 5]
        found = [each for at in places for each in self._counted_in(self._prose[at].text, wanted)]
        for _, value in sorted(found, key=lambda each: -each[0]):
            if _allowed(value, kind):
                yield _plain(value, kind)

    def _counted_in(self, text: str, wanted: set[str]) -> Iterator[tuple[float, Decimal]]:
        for value, start, end in islice(self._read.numbers(text), 50):
            before = WORD.findall(text[max(0, start - 80) : start])[-_NEAR:]
            after = WORD.findall(text[end : end + 80])[:_NEAR]
            near = {self._names.term(word) for word in (*before, *after)}
            follows = bool(after) and self._names.term(after[0]) in wanted and not money_at(text, start, end)
            share = len(wanted & near) / len(wanted) + (0.5 if follows else 0.0)
            if share >= 1.0:
                yield share, value

    def _by_form(self, node: Node, query: Query, siblings: Siblings) -> Iterator[str]:
        """Values of the right format anywhere, unless another property asks for the same format."""
        form = _form(node, query)
        if form and siblings.forms[form] <= 1:
            yield from self._all(form)
        if "currency" in query.words:
            yield from currencies(self._text)

    def _person(self, query: Query) -> Iterator[str]:
        """Who wrote a mail: from its header, else from its signature."""
        terms = {self._names.term(word) for word in query.words}
        if "name" not in terms or not terms <= _PEOPLE:
            return
        headers = [pair.value for pair in self._page.pairs[:20] if self._names.term(pair.label) == "sender"]
        named = (_ADDRESS_PART.sub("", value).strip(' "') for value in headers)
        yield from (name for name in [*named, *self._signed] if _PERSON.match(name))

    def _below_heading(self, node: Node, query: Query) -> Iterator[str]:
        """Running text below a heading that means the field; a code is no running text."""
        if not _form(node, query) and "pattern" not in node and not self._wanted(query) & _NAMES_A_CODE:
            likely = [(self._names.likeness(each.label, query), each.value) for each in self._page.passages]
            yield from (value for like, value in sorted(likely, key=lambda each: -each[0]) if like >= _SURELY)

    def _after_its_name(self, query: Query) -> Iterator[str]:
        """A code that follows its name in running text: "customer number AC-7719", "invoice TW-20318"."""
        wanted = self._wanted(query)
        if wanted & _NAMES_A_CODE:
            wanted = wanted - {"number"} or wanted
            for prose in self._sentences_with(wanted):
                yield from self._codes(prose.text, wanted)

    def _wanted(self, query: Query) -> set[str]:
        return {self._names.term(word) for word in query.words}

    def _codes(self, text: str, wanted: set[str]) -> Iterator[str]:
        before: set[str] = set()
        for token in text.split():
            code = _CODE.match(token)
            if code and wanted <= before:
                yield code[1]
            term = self._names.term(token.strip("\"'(),;:#"))
            before = before | {term} if term in wanted | _CONNECTS else set()

    def _by_pattern(self, node: Node) -> Iterator[str]:
        """Words of the text that match the node's pattern, if few do: a pattern that fits most says
        nothing.
        """
        if "pattern" not in node:
            return
        matching = [token for token in self._tokens if self.fits(node, token)]
        if len(matching) <= max(3, len(self._tokens) // 20):
            yield from matching

    @cached_property
    def _tokens(self) -> list[str]:
        stripped = (token.group().strip("\"'()[]{}<>,;:.!?*_`") for token in re.finditer(r"\S+", self._text))
        return list(dict.fromkeys(islice((token for token in stripped if 0 < len(token) <= 200), _MOST_TOKENS)))

    @cached_property
    def _prose(self) -> list[Prose]:
        kept = (each for each in self._sentences if each.role not in _NOT_SAID)
        return [self._cut(each.text[:2_000]) for each in kept]

    @cached_property
    def _signed(self) -> list[str]:
        return [each.text for each in self._sentences if each.role is Role.SIGNATURE]

    @cached_property
    def _sentences(self) -> list[Sentence]:
        return list(islice(sentences(self._text, self._terms.language), _MOST_SENTENCES))

    def _cut(self, text: str) -> Prose:
        words = tuple(map(fold, WORD.findall(text)))
        return Prose(text, words, frozenset(map(self._names.term, words)))


_NOT_SAID: Final = frozenset({Role.QUOTE, Role.SIGNATURE, Role.HEADER})


def _form(node: Node, query: Query) -> str:
    """The format of a string: as stated, else as its name suggests ("" for none)."""
    stated = node.get("format")
    if isinstance(stated, str):
        return stated
    return next((_FORM_BY_NAME[word] for word in reversed(query.words) if word in _FORM_BY_NAME), "")


@lru_cache(maxsize=4_096)
def _spelled(choice: str) -> str:
    return " ".join(map(fold, WORD.findall(choice.replace("_", " "))))


def _allowed(value: Decimal, kind: str) -> bool:
    return kind == "number" or value == value.to_integral_value()


def _plain(value: Decimal, kind: str) -> int | float:
    whole = value == value.to_integral_value() and (kind == "integer" or value.as_tuple().exponent == 0)
    return int(value) if whole else float(value)
