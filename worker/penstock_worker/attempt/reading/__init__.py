"""Reading what a model wrote: strict JSON, a small closed list of repairs, the full schema."""

from penstock_worker.attempt.reading.answers import Invalid, Reading, Valid, Violation
from penstock_worker.attempt.reading.reader import Reader

__all__ = ["Invalid", "Reader", "Reading", "Valid", "Violation"]
