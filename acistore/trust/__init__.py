"""Whom to believe: keys, where they are kept, what a signature proves, and the verdict.

`schemes` is the face of `openpgp` and `ssh`, which read and check keys and signatures; `keystore` is that of the
trusted keys, with a module for each thing that is done with them; `policy` decides. Nothing here fetches a key or
an image: bytes are handed over by whoever did.
"""
