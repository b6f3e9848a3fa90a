"""The names that a service may import."""

import subprocess
import sys

import penstock
from penstock import _api


def test_every_public_name_is_there_and_no_other() -> None:
    """The list and the names that the package gives are the same."""
    ours = {name for name, value in vars(_api).items() if not name.startswith("_") and name != "annotations"}
    assert ours == set(_api.__all__)
    assert all(getattr(penstock, name) is getattr(_api, name) for name in penstock.__all__)
    assert set(penstock.__all__) <= set(dir(penstock))


def test_the_package_alone_loads_no_client() -> None:
    """The first name that is asked for loads what it needs."""
    code = (
        "import sys, penstock; assert not {'redis', 'pydantic'} & set(sys.modules);"
        "from penstock import Producer; assert 'redis' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
