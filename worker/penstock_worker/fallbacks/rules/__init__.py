"""The degraded extraction: what a text says plainly enough for rules to read.

1. The text is read as a form: labelled values, tables and lists (`page.py`).
2. Each property of the schema is matched with the labels by its name, title and description (`names.py`);
   what has no label is found by its format, its pattern, or the words beside it (`scalars.py`).
3. The schema is filled from its root (`fill.py`); what is optional and not found is left out, what may be
   null is null.
4. The whole is validated (`judge.py`), or there is no answer.

Nothing is invented: each string, number and date stands in the text (dates and numbers rewritten in
JSON's way), each boolean and choice has words for it; only a `const` that the schema demands, and an
empty list that it demands, do not.
"""

from collections.abc import Mapping

from penstock_worker.fallbacks.rules.fill import Filler
from penstock_worker.fallbacks.rules.judge import satisfies
from penstock_worker.fallbacks.rules.names import Names
from penstock_worker.fallbacks.rules.page import read_page
from penstock_worker.fallbacks.rules.scalars import Scalars
from penstock_worker.fallbacks.text import Terms


def extract(text: str, schema: Mapping[str, object], *, instructions: str | None = None) -> dict[str, object] | None:
    """What *text* gives for *schema*, or None when that is nothing or does not satisfy the schema.

    *schema* is JSON Schema (Draft 2020-12) for an object, of at most 64 KiB; at most 200 properties are
    looked for, six objects deep. A reference to anything but the schema itself is never followed, and a
    pattern that needs backtracking (look-around, back references) means None. Rules cannot follow
    *instructions*; words in them only make a label of the text more likely to be meant.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot stand in JSON
    terms = Terms(sample=text)
    names = Names(terms, instructions)
    page = read_page(text)
    filler = Filler(schema, page, names, Scalars(text, page, names, terms))
    answer = filler.root()
    if isinstance(answer, dict) and filler.found and satisfies(schema, answer):
        return answer
    return None
