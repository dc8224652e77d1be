"""Processes for tests, forked from one that has imported everything: that takes a second, once.

They have no thread and no store open, and can become users who may not read where Python is installed.
"""

import multiprocessing
import pkgutil

import acistore

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *(each.name for each in pkgutil.walk_packages(acistore.__path__, "acistore.") if "__" not in each.name),
        "pytest",
        "tests.mounts",
        "tests.stress.processes",
    ]
)
