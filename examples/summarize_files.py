"""Summarize text files; run it again, and what was done already costs nothing.

python examples/summarize_files.py report.txt minutes.txt

It needs a Redis (REDIS_URL, or localhost) and a worker; `penstock demo` shows all of it without either.
"""

import hashlib
import os
import sys
from pathlib import Path

from penstock import JobError, Summarize, SyncProducer


def main(names: list[str]) -> int:
    """Print a summary of each file; 1 when one of them has none."""
    texts = [Path(name).read_text("utf-8") for name in names]
    # The key says what makes two requests the same: here the text, wherever its file lies and whatever its name.
    keys = [f"summary-{hashlib.sha256(text.encode()).hexdigest()}" for text in texts]
    failed = 0
    with SyncProducer.connect(os.environ.get("REDIS_URL", "redis://localhost:6379/0")) as producer:
        jobs = producer.enqueue_many([Summarize(text=text, max_words=60) for text in texts], idempotency_keys=keys)
        for name, job in zip(names, jobs, strict=True):
            try:
                result = job.result(timeout_s=300)
            except JobError as error:
                print(f"{name}: {error}", file=sys.stderr)
                failed += 1
                continue
            print(f"{name}: {result.output.summary}")
            known = "" if job.created else ", known from before"
            cost = "unknown" if result.cost_usd is None else f"{result.cost_usd.normalize():f} USD"
            print(f"  ({result.state} by {result.made_by.name}, cost {cost}{known})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
