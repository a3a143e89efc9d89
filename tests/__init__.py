"""Tests of Vedute; they import helpers from ``tests.data``."""
