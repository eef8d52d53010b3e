"""Visual question answering: an image and a question -> an answer, and where the model looked.

image (batch, size, size, 3), question words (batch, questions, time)
    -> logits (batch, questions, answers), attention (batch, questions, hops, rows, columns)

Stacked attention network of Yang et al. (2016), https://arxiv.org/abs/1511.02274; by option the
elementwise fusion of Antol et al. (2015), https://arxiv.org/abs/1505.00468.
Differs from the papers: a batch holds images with all their questions, so the CNN reads each image
once; Adam; a small CNN trained from scratch by default, EfficientNet-Lite0 by option, no VGG.
"""
