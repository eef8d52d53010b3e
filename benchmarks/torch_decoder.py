"""The decoder with soft attention of image captioning, as one would write it in PyTorch.

For torch_captions.py, which trains it, and torch_beam.py, which decodes with it.
"""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]


class Decoder(nn.Module):
    """Has the weights of a `SoftAttention`, by their names there."""

    def __init__(self, stored: dict[str, np.ndarray]):
        super().__init__()
        values = {name: torch.from_numpy(one) for name, one in stored.items()}
        entering = torch.cat([values.pop("lstm/kernel"), values.pop("see/kernel")])
        recurrent, bias = values.pop("lstm/recurrent_kernel"), values.pop("lstm/bias")
        self.cell = nn.LSTMCell(len(entering), len(recurrent))
        self.cell.weight_ih.data = entering.T.contiguous()
        self.cell.weight_hh.data = recurrent.T.contiguous()
        self.cell.bias_ih.data, self.cell.bias_hh.data = bias, torch.zeros_like(bias)
        self.weights = nn.ParameterDict({name.replace("/", "_"): v for name, v in values.items()})

    def remember(self, grid, noise=1.0) -> tuple:
        """Grid (images, rows, columns, channels) -> regions, keys, the first hidden, cell state."""
        flat = grid.float().flatten(1, 2) * noise
        projected = torch.relu(self._dense("project", flat))
        regions = projected + self.weights["places"]
        first = torch.tanh(self._dense("first", regions.mean(1)))
        return regions, self._dense("key", regions), *first.chunk(2, -1)

    def embed(self, token_ids):
        """Ids -> word vectors."""
        return self.weights["embed_embeddings"][token_ids]

    def step(self, embedded, hidden, carry, regions, keys) -> tuple:
        """One word of each row -> what is seen, hidden and cell state, attention by image."""
        images = len(regions)
        query = (hidden @ self.weights["query_kernel"]).view(images, -1, 1, keys.shape[-1])
        energy = torch.tanh(query + keys[:, None]) @ self.weights["score_kernel"]
        attention = torch.softmax(energy.squeeze(-1), -1)
        context = torch.sigmoid(self._dense("gate", hidden)) * (attention @ regions).flatten(0, 1)
        hidden, carry = self.cell(torch.cat([embedded, context], -1), (hidden, carry))
        return torch.cat([hidden, context], -1), hidden, carry, attention

    def tell(self, embedded, seen, drop=None):
        """Word vectors before, what is seen -> logits."""
        features = torch.tanh(self._dense("deep", seen) + embedded)
        features = features if drop is None else drop(features)
        return features @ self.weights["embed_reverse_embeddings"]

    def _dense(self, name: str, values):
        return values @ self.weights[f"{name}_kernel"] + self.weights[f"{name}_bias"]
