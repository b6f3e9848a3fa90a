"""Makes an environment for each peer, in the user's cache, and runs its worker."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = {
    "SAQ": ["saq[redis,hiredis]", "typing-extensions", "uvloop"],
    "taskiq": ["taskiq", "taskiq-redis", "uvloop", "orjson"],
    "streaQ": ["streaq", "uvloop"],
    "dramatiq": ["dramatiq[redis]"],
}
SCRIPTS = {
    "SAQ": "saq_worker.py",
    "taskiq": "taskiq_worker.py",
    "streaQ": "streaq_worker.py",
    "dramatiq": "dramatiq_worker.py",
    "BullMQ": "bullmq_worker.js",
}
_TIMEOUT_S = 300


def peers() -> list[str]:
    """Those that can be had here: BullMQ only where node and npm are."""
    return [*PACKAGES, *(["BullMQ"] if shutil.which("node") and shutil.which("npm") else [])]


def run_peer(peer: str, url: str, concurrency: int, jobs: int, nap_s: float = 0.0) -> dict[str, float]:
    """Queue *jobs* jobs that sleep *nap_s*, run them, and return wall and CPU seconds of the running alone."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "peers" / peer.lower()
    program = _node(home) if peer == "BullMQ" else _python(home, PACKAGES[peer])
    environment = {**os.environ, "NODE_PATH": str(home / "node_modules")}
    command = [program, str(HERE / SCRIPTS[peer]), url, str(concurrency), str(jobs), str(nap_s)]
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_TIMEOUT_S
    )
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def _python(home: Path, packages: list[str]) -> str:
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
    return str(python)


def _node(home: Path) -> str:
    if not (home / "node_modules" / "bullmq").exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", str(home), "bullmq", "ioredis"], check=True)
    return str(shutil.which("node"))
