"""Fault injection: every job that changes a store, with a failure at its 1st, 2nd, … nth step.

A step is a system call that changes a file of the store, or a statement of its database. A job runs in a process
of its own, and this one is asked about its system calls (seccomp user notification, `supervisor`): each is let
through, answered with an error, or never answered because the process is killed. What is left on disk is then
looked at from this one (`checks`). The jobs are in `paths`, the counting in `points`, the commands in `__main__`:

    python -m tests.faults run [PATH…]            every point, and a table of the outcomes
    python -m tests.faults replay PATH MODE N     one point, told in full
    python -m tests.faults record PATH            the system calls of a job, in order

`record` is the outside view that tests/store/test_power_loss.py reads.
"""
