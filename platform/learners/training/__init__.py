"""What trainings share: annotated pixels, crops, augmentation, schedules, distributed training, pretrained weights."""
