"""The tasks a worker can do, and the decorator that registers one."""

from penstock_worker.tasks.definition import Task, Unusable, task, tasks
from penstock_worker.tasks.parts import InParts, Merged, Part, PartAnswer

__all__ = ["InParts", "Merged", "Part", "PartAnswer", "Task", "Unusable", "task", "tasks"]
