"""Which models a task's jobs go to."""
