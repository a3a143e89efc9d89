"""Helpers that write tiny fake data for the tests."""
