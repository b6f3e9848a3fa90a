"""Texts that are too long for one call: cut into chunks, and what is said of the chunks brought together.

All of it is pure: no I/O, no clock, no chance. The same text gives the same chunks in every process, so that a job that
goes on elsewhere meets the steps that it has done already.
"""
