"""One attempt at a job: prepare, call, judge, decide, write."""
