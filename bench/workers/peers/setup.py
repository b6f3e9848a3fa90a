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
SDKS = {"openai": ["openai"], "litellm": ["litellm"], "instructor": ["instructor"]}
"""Who calls models, and what has to be installed for it."""
BUILT_BY_HAND = {
    "openai": ["arq", "openai"],
    "instructor": ["arq", "instructor"],
    "httpx": ["arq", "httpx", "pydantic"],
}
"""What a job of stock arq calls models with, and what has to be installed for it."""
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
    home = _home(peer)
    program = _node(home) if peer == "BullMQ" else _python(home, PACKAGES[peer])
    return _figures(program, SCRIPTS[peer], url, concurrency, jobs, nap_s, NODE_PATH=str(home / "node_modules"))


def run_sdk(sdk: str, base_url: str, concurrency: int, calls: int) -> dict[str, float]:
    """Call a model *calls* times by an SDK, and return wall and CPU seconds."""
    program = _python(_home(f"calls-{sdk}"), [*SDKS[sdk], "uvloop"])
    return _figures(program, "call_models.py", sdk, base_url, concurrency, calls)


def run_built_by_hand(how: str, url: str, base_url: str, concurrency: int, jobs: int) -> dict[str, float]:
    """Run *jobs* jobs of stock arq that call a model, and return wall and CPU seconds of the running alone."""
    program = _python(_home(f"arq-{how}"), [*BUILT_BY_HAND[how], "uvloop", "hiredis"])
    return _figures(program, "arq_models.py", how, url, base_url, concurrency, jobs)


def _home(name: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "peers" / name.lower()


def _figures(program: str, script: str, *arguments: object, **environment: str) -> dict[str, float]:
    command = [program, str(HERE / script), *map(str, arguments)]
    own = {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **environment}
    ended = subprocess.run(
        command, env=own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_TIMEOUT_S
    )
    if ended.returncode:
        raise SystemExit(f"{script} {' '.join(map(str, arguments))} ended with {ended.returncode}")
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
