"""Image captioning: a CNN reads an image, an LSTM with attention writes a sentence about it.

image (batch, size, size, 3) -> grid (batch, rows, columns, channels)
    -> captions, best first, and for each word the attention (batch, time, rows, columns)

Soft attention of Xu et al. (2015), https://arxiv.org/abs/1502.03044; by option the captioner
without attention of Vinyals et al. (2015), https://arxiv.org/abs/1411.4555.
Differs from the papers: EfficientNet-Lite0 in place of VGG and GoogLeNet, its features computed
once; a histogram of colours beside them; an image stands in a batch with all its captions.
"""
