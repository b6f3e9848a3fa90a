"""Calls of a model by an SDK, as its documentation shows: `python call_models.py SDK BASE_URL CONCURRENCY CALLS`."""

import asyncio
import json
import sys
import time

import uvloop

MODEL = "gpt-4o-mini"
PROMPT = "Summarize this. " * 120


def openai_sdk(base_url):
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="sk", max_retries=0, timeout=60)

    async def call():
        answer = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": PROMPT}], max_completion_tokens=200
        )
        return answer.choices[0].message.content

    return call


def litellm(base_url):
    import litellm as library

    library.suppress_debug_info = True

    async def call():
        answer = await library.acompletion(
            model=f"openai/{MODEL}",
            messages=[{"role": "user", "content": PROMPT}],
            max_tokens=200,
            api_base=base_url,
            api_key="sk",
            num_retries=0,
        )
        return answer.choices[0].message.content

    return call


def instructor(base_url):
    import instructor as library
    from openai import AsyncOpenAI
    from pydantic import BaseModel

    class Label(BaseModel):
        label: str

    client = library.from_openai(
        AsyncOpenAI(base_url=base_url, api_key="sk", max_retries=0, timeout=60), library.Mode.JSON
    )

    async def call():
        return await client.chat.completions.create(
            model=MODEL, response_model=Label, max_retries=0, messages=[{"role": "user", "content": PROMPT}]
        )

    return call


async def main(sdk, base_url, concurrency, calls):
    call = {"openai": openai_sdk, "litellm": litellm, "instructor": instructor}[sdk](base_url)
    await asyncio.gather(*(call() for _ in range(concurrency)))
    left = iter(range(calls))

    async def caller():
        for _ in left:
            await call()

    started_at, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    print(json.dumps({"wall_s": time.perf_counter() - started_at, "cpu_s": time.process_time() - cpu_s}), flush=True)


uvloop.install()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
