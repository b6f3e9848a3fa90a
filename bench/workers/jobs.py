"""Fills arq queues fast, in exactly the layout that ``ArqRedis.enqueue_job`` writes, and runs workers on them."""

import json
import subprocess
import sys
import time
import uuid
from typing import Any

import redis
from arq.constants import default_queue_name, expires_extra_ms, job_key_prefix
from arq.jobs import serialize_job

_CHUNK = 2000


def fill(url: str, count: int, function: str, *args: Any) -> None:
    """Queue *count* jobs of *function*, due now."""
    with redis.Redis.from_url(url) as client:
        for first in range(0, count, _CHUNK):
            now_ms = int(time.time() * 1000)
            with client.pipeline(transaction=False) as pipe:
                for _ in range(min(_CHUNK, count - first)):
                    job_id = uuid.uuid4().hex
                    payload = serialize_job(function, args, {}, None, now_ms)
                    pipe.psetex(job_key_prefix + job_id, expires_extra_ms, payload)
                    pipe.zadd(default_queue_name, {job_id: now_ms})
                pipe.execute()


def run_workers(url: str, kind: str, concurrency: int, processes: int = 1) -> list[dict[str, float]]:
    """Start *processes* workers at once and return what each says when the queue is empty."""
    command = [sys.executable, "-m", "bench.workers.process", url, kind, str(concurrency)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return [json.loads(child.communicate()[0].splitlines()[-1]) for child in children]
