"""Many processes on one store, at everything that can be done to it, on images that overlap.

    python -m tests.stress --processes 8 --seconds 180 [--kill]

One half of the processes uses the command, mostly inside of the process, the other half the library; images come
over TLS and from files, all signed. What a user would see as an error is a failure, but for an image that another
process has just removed. With `--kill` processes are killed at any time, and others take their place. In the end
the store has to be whole, and one collection has to leave no file in it that nothing refers to.

Prints how often each operation was done and how long it took; the exit code is 1 when anything went wrong.
"""
