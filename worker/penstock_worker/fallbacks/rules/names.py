"""Whether a label in a text and a property in a schema mean the same thing."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from penstock_worker.fallbacks.rules.shapes import Node
from penstock_worker.fallbacks.text import Terms, fold, split_name

# Words that name the same thing on forms; a word stands in one row only.
_SAME: Final = (
    "number no nr num nummer numéro número id identifier reference ref code",
    "date datum fecha data dated",
    "total sum amount betrag gesamtbetrag summe montant importe totale gesamt",
    "vendor supplier seller merchant issuer lieferant verkäufer fournisseur proveedor",
    "customer client buyer kunde acheteur cliente recipient billto",
    "sender from von absender de expéditeur",
    "phone telephone tel mobile telefon téléphone teléfono fon",
    "email mail courriel correo",
    "quantity qty count menge anzahl quantité cantidad pcs units",
    "price rate cost preis prix precio",
    "item product article description artikel beschreibung désignation producto service position",
    "title subject betreff objet asunto titel headline",
    "severity priority priorität prioridad",
    "start started begin began beginning beginn",
    "end ended finish finished ende",
    "vat tax mwst ust tva iva",
    "subtotal net netto zwischensumme",
    "address anschrift adresse dirección",
    "name namen nom nombre",
    "website url web link site homepage uri",
    "company organisation organization firm firma société empresa",
    "attendee participant present teilnehmer",
    "lead manager owner responsible",
    "currency währung devise moneda",
    "invoice bill rechnung facture factura",
    "due payable deadline fällig",
    "order bestellung commande pedido",
)
_PHRASES: Final = {
    "bill to": "customer",
    "billed to": "customer",
    "sold to": "customer",
    "ship to": "shipping address",
    "issued by": "vendor",
    "e mail": "email",
    "zip code": "zip",
    "grand total": "total",
    "balance due": "total due",
    "p o": "purchase order",
    "your order": "order number",
}
_ENOUGH: Final = 0.55  # likeness from which a label is taken for a property's
_HINTED: Final = 0.02  # what mention in the instructions adds


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: the readings of a property's name, the best one first."""

    readings: tuple[frozenset[str], ...]
    about: frozenset[str]
    """The words of the description."""
    words: tuple[str, ...]
    """The folded words of the name."""
    within: frozenset[str] = frozenset()
    """The terms of the objects it stands in."""
    elsewhere: frozenset[str] = frozenset()
    """The terms of objects beside those; a label with one of them is meant for them."""


class Names:
    """Compares labels with properties, in the terms of one text's language."""

    def __init__(self, terms: Terms, instructions: str | None) -> None:
        self._terms = terms
        self._group = {terms.stem(word): row.split()[0] for row in _SAME for word in row.split()}
        self._hints = self.terms_of(instructions or "")
        self._label = lru_cache(maxsize=20_000)(self._read_label)

    def terms_of(self, text: str) -> frozenset[str]:
        """The terms of *text*, words that mean the same made one."""
        found = self._terms.of(text) or [self._terms.stem(word) for word in text.split()]
        return frozenset(self._group.get(term, term) for term in found)

    def terms_of_name(self, name: str) -> frozenset[str]:
        """The terms of a property's name, however it is spelled."""
        return self.terms_of(" ".join(split_name(name)))

    def term(self, word: str) -> str:
        """The one term of *word*, stop word or not."""
        stem = self._terms.stem(word)
        return self._group.get(stem, stem)

    def query(
        self, name: str, node: Node, parents: Iterable[str] = (), elsewhere: frozenset[str] = frozenset()
    ) -> Query:
        """What property *name* may be called; *parents* are the names of the objects it stands in."""
        within = self.terms_of_name(" ".join(parents))
        words = tuple(map(fold, split_name(name)))
        plain = self.terms_of_name(name)
        readings = [plain, plain | within, self.terms_of(_text(node.get("title")))]
        if plain <= {"name", "title", "value"}:
            readings.append(within)
        distinct = tuple(dict.fromkeys(reading for reading in readings if reading))
        return Query(distinct, self.terms_of(_text(node.get("description"))), words, within, elsewhere)

    def reach(self, query: Query) -> frozenset[str]:
        """All terms of which a label must have one, to be meant by *query*."""
        return query.about.union(*query.readings)

    def likeness(self, label: str, query: Query, section: str = "") -> float:
        """How surely *label* (below the heading *section*) is meant by *query*: 0, or from 0.55 to about
        1.1.
        """
        terms = self._label(label)
        above = self._label(section) if section else frozenset[str]()
        if not terms or query.elsewhere & (terms | above):
            return 0.0
        wider = terms | above
        best = max((max(_shared(terms, each), _shared(wider, each)) for each in query.readings), default=0.0)
        if best < _ENOUGH and terms <= query.about:
            best = _ENOUGH
        if best < _ENOUGH:
            return 0.0
        return best + (_HINTED if terms <= self._hints else 0.0) + (_HINTED if above & query.within else 0.0)

    def terms_of_label(self, label: str) -> frozenset[str]:
        """The terms of a label, with the usual phrases of forms understood."""
        return self._label(label)

    def _read_label(self, label: str) -> frozenset[str]:
        folded = f" {' '.join(split_name(label[:100])).casefold()} "
        for phrase, meaning in _PHRASES.items():
            folded = folded.replace(f" {phrase} ", f" {meaning} ")
        return self.terms_of(folded)


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other))


def _text(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""
