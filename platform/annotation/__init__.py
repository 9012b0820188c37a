"""Annotation by people: `query` says what is asked and answered, `formats` is the contract of what annotators' tools
read and write, and `FORMATS` names the modules that fulfil it; `answered` gives the answers to a data set.

Formats share `exchange` (files that go out and come back), `answer_table` (what is said of whole regions), `drawing`
(what is drawn in a window), `outlines` and `brush` (masks as polygons and as Label Studio's brush has them), `crops`
and `pictures` (images as people see them), and `colours`.
"""

FORMATS = {
    "folders": "decomp.platform.annotation.folders:Folders",
    "label-studio": "decomp.platform.annotation.label_studio:LabelStudio",
    "geojson": "decomp.platform.annotation.geojson:GeoJson",
    "nifti": "decomp.platform.annotation.nifti:NiftiLabels",
}
"""Names of the formats in experiment files."""
