"""Whom to believe: keys, where they are kept, what gpg says of a signature, and the verdict.

`packets` reads OpenPGP bytes, `openpgp` has gpg check them, `keystore` holds the trusted keys, `policy`
decides. Nothing here fetches a key or an image: bytes are handed over by whoever did.
"""
