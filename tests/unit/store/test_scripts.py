"""Lua scripts as they are put together."""

import re

from penstock_schemas import keys
from penstock_store.scripts import load_include, load_script


def test_a_script_has_one_table_of_the_keys_that_it_names() -> None:
    """However many of the parts that it is made of bring their own: Redis makes each anew at every call."""
    parts = (load_include("penstock_store", "queue"), load_include("penstock_store", "record"))
    text = load_script("penstock", "pause", includes=parts).text
    (table,) = re.findall(r"^local KEY = \{(.*)\}$", text, re.MULTILINE)
    told = dict(pair.split(" = ") for pair in table.split(", "))
    assert set(told) == set(re.findall(r"\bKEY\.(\w+)", text))
    assert told["PAUSED"] == f'"{keys.PAUSED}"'
    assert text.index("local KEY") < text.index("KEY.PAUSED")


def test_a_part_alone_brings_all_keys() -> None:
    """For who adds lines of its own to it."""
    assert f'PAUSED = "{keys.PAUSED}"' in load_include("penstock_store", "queue")
