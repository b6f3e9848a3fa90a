"""Jobs and results as lines for people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from penstock.cli.output import Output
from penstock.cli.text import dollars, local_time
from penstock_schemas.jobs import JobStatus
from penstock_schemas.results import JobFailure, JobResult


def answer_text(result: JobResult[Any]) -> str:
    """The answer alone: a summary's text, one label a line, or the JSON of any other."""
    import orjson

    output = plain(result.output)
    match output:
        case {"summary": str() as summary, **rest} if not rest:
            return summary
        case {"labels": list() as labels, **rest} if not rest:
            return "\n".join(str(label) for label in labels)
        case _:
            return orjson.dumps(output, option=orjson.OPT_INDENT_2).decode()


def plain(output: Any) -> Any:
    """An output as plain JSON."""
    return output.model_dump(mode="json") if isinstance(output, BaseModel) else output


def result_json(result: JobResult[Any]) -> dict[str, Any]:
    """A result as plain JSON; its cost also as an exact string of USD."""
    fields = result.model_copy(update={"output": plain(result.output)}).model_dump(mode="json")
    return {**fields, "cost_usd": None if result.cost_usd is None else dollars(result.cost_usd)[1:]}


def provenance(result: JobResult[Any]) -> str:
    """Who made an answer and what it took, in one line."""
    by, tokens = result.made_by, result.usage.total_tokens
    parts = [
        f"{result.state}, {result.quality}" + (f" ({', '.join(result.reasons)})" if result.reasons else ""),
        f"by {by.name}" + (f" with {by.prompt}" if by.prompt else ""),
        f"{_some(result.attempts, 'attempt')}, {_some(result.calls, 'call')}",
        *([f"read in {result.chunks} parts"] if result.chunks > 1 else []),
        "tokens unknown" if tokens is None else _some(tokens, "token"),
        dollars(result.cost_usd),
        f"{result.latency_s:.1f} s",
    ]
    if result.failure is not None:
        parts.insert(1, f"no model answered: {failure_text(result.failure)}")
    return f"job {result.job_id}: " + "; ".join(parts)


def print_status(out: Output, status: JobStatus) -> None:
    """Where a job is."""
    if out.as_json:
        out.json(status.model_dump(mode="json"))
        return
    failure = status.failure or (status.result.failure if status.result else None)
    out.fields(
        [
            ("job", status.job_id),
            ("state", status.state.value),
            ("why", failure_text(failure) if failure else ""),
            ("task", status.task),
            ("tenant", status.tenant),
            ("lane", status.lane.value),
            ("priority", str(status.priority)),
            ("run", str(status.run)),
            ("attempts", str(status.attempts)),
            ("calls", str(status.calls)),
            ("created", local_time(status.created_at)),
            ("due", "" if status.state.terminal else local_time(status.due_at)),
            ("started", local_time(status.started_at)),
            ("ended", local_time(status.ended_at)),
            ("deadline", local_time(status.deadline_at)),
        ]
    )


def failure_text(failure: JobFailure) -> str:
    """Why there is no answer, with the code of the last error behind it."""
    behind = f", last {failure.last_error}" if failure.last_error not in (None, failure.code) else ""
    return f"{failure.code}{behind}: {failure.message}"


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
