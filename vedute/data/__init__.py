"""Readers, the prepared cache, painted samples."""
