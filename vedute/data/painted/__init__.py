"""Painted samples: procedural pictures that let every configuration run on a fresh machine."""
