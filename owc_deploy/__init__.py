"""Provision, update and roll back municipal WordPress sites built from OWC building blocks."""

__version__ = "0.1.0"
