"""The key store: directories that anybody can read and manage, asked and changed through `store.TrustStore`.

`keyfiles` reads them, `snapshot` and `listing` say what holds, `changes` writes; what is to be written is said by
a file for each kind of change. Which signatures are good, and what follows, is decided outside of this folder.
"""
