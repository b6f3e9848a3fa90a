"""A task that offers tools, in a module that a worker imports: ``worker.tasks = ["tests.support.desk.task"]``."""
