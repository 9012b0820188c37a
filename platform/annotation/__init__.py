"""Annotation by people: `query` says what is asked and answered, `formats` is the contract of what annotators' tools
read and write; every other module is a format."""

FORMATS = {
    "folders": "decomp.platform.annotation.folders:Folders",
}
"""Names of the formats in experiment files."""
