"""A service's program is checked by mypy in strict mode, against the packages as they are installed."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(program: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check *program* as a service would: strict, its own configuration."""
    folders = [str(ROOT / name) for name in ("schemas", "store", "producers")]
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", str(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": os.pathsep.join(folders)},
        cwd=cache,
    )


def test_a_services_program_is_typed(tmp_path: Path) -> None:
    """Outputs have their types, and each mistake is found."""
    checked = mypy(HERE / "sample_service.py", tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "no issues found" in checked.stdout
