"""What makes two requests equal: all that an answer depends on, and the tenant."""

from __future__ import annotations

import hashlib

import orjson

from penstock_worker.attempt.attempt import Attempt


def request_digest(attempt: Attempt) -> str:
    """SHA-256, hex, of the effective request as canonical JSON.

    It covers the task and its input, the targets in order with their models, every sampling field, the schema, the
    prompts with their texts' digests, the tools, how a long text is cut, and the tenant. How a job is to be treated
    (lane, deadline, key, metadata) is no part of it.
    """
    task, asked, route = attempt.task, attempt.asked, attempt.route
    prompt = route.prompt or task.prompt
    effective = {
        "tenant": attempt.request.tenant,
        "task": attempt.request.task,
        "input": attempt.request.input,
        "schema": task.schema(asked),
        "prompt": [prompt.name, prompt.digest],
        "targets": [[target.name, target.kind, target.model, target.base_url] for target in route.targets],
        "max_output_tokens": route.max_output_tokens,
        "temperature": route.temperature,
        "tools": [[tool.spec.name, tool.spec.description, tool.spec.parameters] for tool in task.offered()],
        "parts": [route.whole_bytes, route.chunk_bytes, route.overlap_bytes, *_part_prompts(attempt)],
    }
    return hashlib.sha256(orjson.dumps(effective, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _part_prompts(attempt: Attempt) -> list[str]:
    in_parts = attempt.task.in_parts
    prompts = (in_parts.part_prompt, in_parts.joining) if in_parts else ()
    return [prompt.digest for prompt in prompts if prompt is not None]
