"""A module of tasks that registers none: in a worker that imports it some names resolve oddly (``odd_names``)."""

from tests.support import odd_names

odd_names.install()
