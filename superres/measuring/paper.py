"""What the paper and its supplement report: to stand beside one's own numbers, never to gate anything.

Source: Rivenson et al., Optica 4, 1437 (2017), doi:10.1364/OPTICA.4.001437, supplement doi:10.6084/m9.figshare.5552338.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SsimRow:
    """Table S1.  images, side_px: the test set."""

    tissue: str
    images: int
    side_px: int
    bicubic: float
    network: float


@dataclass(frozen=True)
class TrainingRow:
    """Table S2.  patches: of 60 × 60 coarse pixels.  hours: on two GTX 1080."""

    tissue: str
    patches: int
    validation_images: int
    epochs: int
    hours: float


@dataclass(frozen=True)
class RuntimeRow:
    """Table S3, seconds an image on GTX 1080: once and self-fed twice, with one GPU and with two."""

    side_px: int
    once: float
    twice: float
    once_two_gpus: float
    twice_two_gpus: float


TABLE_S1 = (SsimRow("Masson's trichrome, lung", 20, 224, 0.672, 0.796),
            SsimRow("H&E, breast", 7, 660, 0.685, 0.806))

TABLE_S2 = (TrainingRow("Masson's trichrome, lung", 9536, 10, 630, 4 + 35 / 60),
            TrainingRow("H&E, breast", 51008, 10, 460, 14.5))

BATCH_SIZE = 64
"""Patches a step, in all trainings."""

TABLE_S3 = (RuntimeRow(2048, 1.193, 8.343, 0.695, 4.615),
            RuntimeRow(818, 0.209, 1.281, 0.135, 0.730),
            RuntimeRow(160, 0.038, 0.081, 0.037, 0.062))

TABLE_S4 = (
    (256, 0.801144658, 0.75627907), (287.3502844, 0.790853855, 0.729511618), (322.5397888, 0.790801661, 0.72449378),
    (362.038672, 0.795555918, 0.709122843), (406.3746693, 0.787270294, 0.726269147),
    (456.1401437, 0.771249585, 0.774461828), (512, 0.713336904, 0.681675286), (574.7005687, 0.636153491, 0.640392221),
    (645.0795775, 0.577148622, 0.588478766), (724.0773439, 0.517576094, 0.585453198),
    (812.7493386, 0.516547441, 0.63392948), (912.2802874, 0.439410917, 0.597450901),
    (1024, 0.368925748, 0.585228416), (1149.401137, 0.400244051, 0.53887823), (1290.159155, 0.303987367, 0.496261545),
    (1448.154688, 0.228926978, 0.4729755), (1625.498677, 0.20194026, 0.542857143),
    (1824.560575, 0.12865681, 0.454976303), (2048, 0.110901071, 0.259743799), (2298.802275, 0.0, 0.254320988),
    (2580.31831, 0.0, 0.182785747), (2896.309376, 0.0, 0.072), (3250.997354, 0.0, 0.0), (3649.12115, 0.0, 0.0))
"""(cycles/mm, contrast of the 100×/1.4NA image, contrast of the network's output): groups 8 to 11 of a target with an
air gap before it, so that the effective aperture was 1.0."""

FIGURE_S6 = ("The paper's Fig. S6 shows pictures and gives no numbers: kidney, Masson's trichrome, through "
             "40×/0.95NA, the network applied once, twice and three times, and the 100×/1.4NA image of the field.")
FIGURE_S7 = ("The paper's Fig. S7 shows maps and gives no numbers: input and output against the 100×/1.4NA image, "
             "lung, Masson's trichrome, colours from 0 to 100 %. Its formula is not stated; ours divides by white.")
"""What the paper has where it has no numbers."""
