"""OpenPGP: bytes taken apart (`packets`), gpg asked (`gpg`), its answers read (`listing`, `results`).

Facts only. Which keys count for what, and what follows, is decided above, for all schemes alike.
"""
