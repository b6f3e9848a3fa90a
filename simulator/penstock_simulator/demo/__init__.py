"""See Penstock work: real text through all three tasks, and what happens when things go wrong."""
