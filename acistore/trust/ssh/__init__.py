"""SSH: keys as in `id_ed25519.pub`, signatures as `ssh-keygen -Y sign` makes them.

`wire` takes keys apart, `sshsig` signatures, `keys` reads key files, `verify` checks, and `algorithms` calculates,
the only one to use `cryptography`. No program is started and no file is read. Facts only: which keys count for
what, and what follows, is decided above, for all schemes alike.
"""
