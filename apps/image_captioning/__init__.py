"""Image captioning: a CNN looks, an LSTM tells, and shows where it looked at each word.

image (batch, size, size, 3) -> grid (batch, rows, columns, channels)
    -> captions, best first, and for each word the attention (batch, time, rows, columns)

Soft attention of Xu et al. (2015), https://arxiv.org/abs/1502.03044; by option the captioner
without attention of Vinyals et al. (2015), https://arxiv.org/abs/1411.4555, and the top-down
attention of Anderson et al. (2018), https://arxiv.org/abs/1707.07998, on a grid.
Differs from the papers: EfficientNet-Lite0 in place of VGG, GoogLeNet and regions of a detector;
its features are computed once; an image stands in a batch with all its captions.
"""
