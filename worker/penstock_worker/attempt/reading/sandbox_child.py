"""The process in which untrusted answers meet slow code. Started by ``sandbox`` by path, never imported.

It has no environment, no open files but its pipes, cannot open new ones (so no socket either), has bounded
memory, and dies of itself when a request takes more processor time than it may, when its input ends, or
when its parent does, by whatever signal.

Frames in both directions: four bytes of length, big-endian, then JSON. One request at a time.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(settings: dict[str, Any]) -> None:
    """Serve requests until standard input ends. *settings*: parent's pid, cpu_s, memory_bytes, sys_path."""
    _die_with(settings["parent_pid"])
    sys.path[:] = settings["sys_path"]
    answer = _load()
    _lock_up(settings["memory_bytes"])
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    _send(replies, {"ready": True})
    while (request := _receive(requests)) is not None:
        signal.setitimer(signal.ITIMER_PROF, settings["cpu_s"])
        reply = answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(replies, reply)


def _die_with(parent_pid: int) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it went before the line above
        sys.exit(0)


def _load() -> Any:
    """Import everything, and use it once: after this no file can be opened."""
    from penstock_worker.attempt.reading.judge import judge
    from penstock_worker.attempt.reading.wire import Rules, asked, reply, request

    def answer(request: Any) -> Any:
        return reply(judge(*asked(request)))

    schema = {"type": "object", "properties": {"a": {"format": "uri", "multipleOf": 2, "pattern": "a"}}}
    rules = Rules(max_bytes=1_000, max_depth=8, prose=False, repair=True)
    for text in ('{"a": 1}', "{a: [1,],}", '{"a": "b"}', "[]"):
        answer(request(text, schema, rules))
    return answer


def _lock_up(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def _receive(stream: BinaryIO) -> Any:
    head = stream.read(4)
    if len(head) < 4:
        return None
    body = stream.read(struct.unpack(">I", head)[0])
    return json.loads(body)


def _send(stream: BinaryIO, reply: dict[str, Any]) -> None:
    body = json.dumps(reply).encode()
    stream.write(struct.pack(">I", len(body)) + body)
    stream.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
