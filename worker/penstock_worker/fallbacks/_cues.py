"""Words that announce what matters in a text, and openings that announce nothing."""

from typing import Final

_WORDS: Final = """
    agreed decided decision conclusion concluded conclude outcome result resulted cause caused impact affected
    fixed resolved restored mitigated request requested refund cancel deadline approved rejected action owner
    urgent important significant finding found showed shows means therefore recommend recommended propose
    proposed plan increase increased decrease decreased fell rose failed failure broken lost
    beschlossen ergebnis ursache folge dringend wichtig
    décidé résultat conséquence décision
    decidido resultado causa urgente importante conclusión
"""
CUE_WORDS: Final[frozenset[str]] = frozenset(_WORDS.split())
"""Stemmed before they are compared."""

# Compared as they stand, in folded text.
CUE_PHRASES: Final[tuple[str, ...]] = (
    "root cause",
    "as a result",
    "in summary",
    "in short",
    "in conclusion",
    "we decided",
    "was decided",
    "it was agreed",
    "agreed to",
    "agreed that",
    "the main",
    "most important",
    "could you",
    "can you",
    "would you",
    "please",
    "i would like",
    "i'd like",
    "we would like",
    "i want",
    "we need",
    "i need",
    "by the end of",
    "no later than",
    "going forward",
    "the problem is",
    "it turns out",
    "it turned out",
    "zusammenfassend",
    "bitte",
    "en résumé",
    "en conclusion",
    "merci de",
    "en resumen",
    "por favor",
    "in sintesi",
    "per favore",
)

SMALL_TALK: Final[tuple[str, ...]] = (
    "i hope this",
    "i hope you",
    "hope this",
    "hope you",
    "hope all",
    "thank you for your",
    "thanks for your",
    "thank you in advance",
    "thanks in advance",
    "thanks so much",
    "thank you so much",
    "many thanks",
    "i look forward",
    "looking forward",
    "please let me know if you have any",
    "let me know if you have any",
    "if you have any questions",
    "please do not hesitate",
    "please don't hesitate",
    "best regards",
    "have a nice",
    "have a great",
    "i am writing to",
    "my name is",
    "ich hoffe",
    "vielen dank",
    "j'espère",
    "espero que",
)
