"""Visual question answering: an image and a question -> an answer, and where the model looked.

image (batch, size, size, 3), question words (batch, questions, time)
    -> logits (batch, questions, answers), attention (batch, questions, hops, rows, columns)

Stacked attention network of Yang et al. (2016), https://arxiv.org/abs/1511.02274; by option, and
for photographs by default, a question-only network that the image corrects (fusion/evidence.py).
Differs from the paper: a batch holds images with all their questions, so the CNN reads each image
once; Adam; a small CNN trained from scratch by default, EfficientNet-Lite0 by option, no VGG.
"""
