"""nnU-Net v2 for volumes, as it is published: no fork, only subclasses of its public parts.

Isensee, Jaeger, Kohl, Petersen and Maier-Hein, "nnU-Net: a self-configuring method for deep learning-based biomedical
image segmentation", Nature Methods 18, 2021.

* `learner`: the learner and its options.
* `heads`: what the network's heads stand for: exclusive classes, or nested sets of them.
* `intensities`, `normalisation`: statistics that need no label; channels normalised as nnU-Net does.
* `planning`: from spacings and shapes to the grid and the network.
* `prepared`: the volumes resampled to the grid, once per data set and machine.
* `build_once`: files that are made once, by whichever process comes first.
* `cases`: the annotated volumes as nnU-Net's data loader reads them.
* `training`: training on annotated regions.
* `prediction`: sliding-window prediction, the test score in the original geometry.
* `bottleneck`: one bottleneck map from those of overlapping windows.
* `environment`: what nnU-Net expects around it: environment variables, folders, global random numbers.

nnU-Net is imported by the modules that need it, and only when they are needed: importing it takes seconds.
"""

from decomp.platform.learners.nnunet.learner import NnUNet

__all__ = ["NnUNet"]
