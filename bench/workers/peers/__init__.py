"""The same jobs in other queues, each set up as its own documentation recommends."""
