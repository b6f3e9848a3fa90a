"""How a worker does it: the prompt's variables, what makes an answer doubtful, and what stands in without a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_worker.tasks import Task, Unusable, task
from translate.contract import Translate


@task(Translate, prompt="translate@1", fallback="glossary@1")
class TranslateTask(Task[Translate]):
    """A translation that heeds its glossary."""

    def variables(self, asked: Translate) -> Mapping[str, str]:
        """The glossary as lines of ``term = translation``."""
        lines = [f"{term} = {meaning}" for term, meaning in asked.glossary.items()]
        return {"language": asked.language, "glossary": "\n".join(lines) or "(empty)"}

    def check(self, asked: Translate, output: Any) -> Sequence[str]:
        """The schema is met already. Untranslated is no answer; a term that was not heeded makes it doubtful."""
        if output["text"].strip() == asked.text.strip() and len(asked.text.split()) > 3:
            raise Unusable("the text was not translated")
        used = {term: meaning for term, meaning in asked.glossary.items() if term in asked.text}
        return ["glossary_ignored"] if any(meaning not in output["text"] for meaning in used.values()) else []

    def fallback(self, asked: Translate) -> Any | None:
        """A text that stands in the glossary as a whole needs no model. For any other there is nothing worth having."""
        meaning = asked.glossary.get(asked.text.strip())
        return None if meaning is None else {"text": meaning}
