"""Annotation by people: `query` says what is asked and answered, `formats` is the contract of what annotators' tools
read and write; `folders`, `label_studio`, `geojson` and `nifti` are formats."""

FORMATS = {
    "folders": "decomp.platform.annotation.folders:Folders",
    "label-studio": "decomp.platform.annotation.label_studio:LabelStudio",
    "geojson": "decomp.platform.annotation.geojson:GeoJson",
    "nifti": "decomp.platform.annotation.nifti:NiftiLabels",
}
"""Names of the formats in experiment files."""
