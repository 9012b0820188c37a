"""What trainings share: annotated pixels, crops, augmentation, schedules, several processes, pretrained weights."""
