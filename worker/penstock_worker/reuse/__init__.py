"""Answers that need not be bought again: equal requests that are in flight now, and those that were answered before."""
