"""A task of one's own: translate.

``contract.py`` is what services import, ``task.py`` what the worker imports, and ``prompts/translate@1.md`` what the
model is told. A worker knows it by one line of its configuration, here in ``penstock.toml``::

    PYTHONPATH=examples penstock --config examples/translate/penstock.toml worker

and a service uses it like any other::

    await producer.run(Translate(text="Save changes", language="German", glossary={"changes": "Änderungen"}))
"""
