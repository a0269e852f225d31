"""Rollouts on Temporal: its workflows take the same decisions, its workers carry them out.

The only package that knows `temporalio`. A workflow knows identifiers and nothing else: it asks an
activity for the next `Step`, which reads the journal, and does what that says.
"""
