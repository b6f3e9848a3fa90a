"""The tasks a worker can do, and the decorator that registers one."""

from penstock_worker.tasks.definition import Task, Unusable, task, tasks

__all__ = ["Task", "Unusable", "task", "tasks"]
