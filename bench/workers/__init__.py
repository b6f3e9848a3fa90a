"""Worker processes to be measured, and the jobs they are given."""
