"""Bytes in, parts out: compressed streams, tars, and the layout of an image.

Knows neither policy nor where anything is kept. All of it streams: memory stays at a few MiB whatever the
archive says of itself. What is wrong with an archive is raised as ArchiveRefused.
"""
