"""A task whose model may look things up and do something: letters about orders, answered with what the shop knows.

``task.py`` has two tools beside the task that offers them; `docs/tools.md` tells the rules. A worker of it::

    PYTHONPATH=examples penstock --config examples/orders/penstock.toml worker

and a service uses it like any other::

    await producer.run(Letter(text="Where is my order 8812?"))
"""
