"""Signatures over a catalogue: who may say what of which block, and how that is checked.

The Update Framework (TUF, as python-tuf implements it) over a static folder: `root` is signed
offline by its holders, who delegate each block to its steward and supplier; the publisher signs
`snapshot` and `timestamp`, which say what is current and until when. Only this package knows TUF.
"""
