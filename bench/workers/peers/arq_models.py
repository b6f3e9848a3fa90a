"""Jobs of stock arq that call a model: `python arq_models.py HOW REDIS_URL BASE_URL CONCURRENCY JOBS`.

What one builds by hand: a function that asks, parses the JSON into a model of pydantic's, and returns it for arq to
store. Nothing is journalled, paid for twice after a crash, counted or bounded.
"""

import asyncio
import json
import logging
import sys
import time

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
TEXT = "I was charged twice for one invoice and would like my money back. " * 4
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": ["string", "null"], "enum": ["billing", "bug", None]}},
    "required": ["label"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "classify", "strict": True, "schema": SCHEMA}}


class Label(BaseModel):
    label: str | None


def messages(number):
    system = "You sort texts under labels. Answer with one JSON object that fits the JSON Schema."
    return [{"role": "system", "content": system}, {"role": "user", "content": f"billing, bug\n\n{number}: {TEXT}"}]


def with_openai(base_url):
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="sk", max_retries=0, timeout=60)

    async def ask(number):
        answer = await client.chat.completions.create(
            model=MODEL, messages=messages(number), max_completion_tokens=200, response_format=FORMAT
        )
        return Label.model_validate_json(answer.choices[0].message.content)

    return ask


def with_instructor(base_url):
    import instructor
    from openai import AsyncOpenAI

    plain = AsyncOpenAI(base_url=base_url, api_key="sk", max_retries=0, timeout=60)
    client = instructor.from_openai(plain, instructor.Mode.JSON_SCHEMA)

    async def ask(number):
        return await client.chat.completions.create(
            model=MODEL, response_model=Label, max_retries=0, messages=messages(number)
        )

    return ask


def with_httpx(base_url):
    import httpx

    client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=1000))

    async def ask(number):
        body = {"model": MODEL, "messages": messages(number), "max_completion_tokens": 200, "response_format": FORMAT}
        response = await client.post(f"{base_url}/chat/completions", json=body, headers={"authorization": "Bearer sk"})
        response.raise_for_status()
        return Label.model_validate_json(response.json()["choices"][0]["message"]["content"])

    return ask


async def main(how, redis_url, base_url, concurrency, jobs):
    ask = {"openai": with_openai, "instructor": with_instructor, "httpx": with_httpx}[how](base_url)
    done, finished = 0, asyncio.Event()

    async def classify(ctx, number):
        return (await ask(number)).model_dump()

    async def after(ctx):
        nonlocal done
        done += 1
        if done == jobs:
            finished.set()

    settings = RedisSettings.from_dsn(redis_url)
    pool = await create_pool(settings)
    for first in range(0, jobs, 200):
        await asyncio.gather(*(pool.enqueue_job("classify", i) for i in range(first, min(jobs, first + 200))))
    worker = Worker(
        [func(classify, name="classify")],
        redis_settings=settings,
        max_jobs=concurrency,
        after_job_end=after,
        poll_delay=0.01,
    )
    started_at, cpu_s = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.async_run())
    await finished.wait()
    print(json.dumps({"wall_s": time.perf_counter() - started_at, "cpu_s": time.process_time() - cpu_s}), flush=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


logging.disable(logging.INFO)
uvloop.install()
asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])))
