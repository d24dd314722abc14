"""The network's head on the CPU by hand: loss and gradients of dense → embedding → logit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perpwalk.models.network import Network


@dataclass(frozen=True)
class HeadLesson:
    """What the head made of its inputs (m, hidden).

    Attributes
    ----------
    loss
        Sum of the binary cross-entropies that count.
    d_given
        Gradient by the inputs, (m, hidden).
    gradients
        By the head's parameters, in the order of ``head_parameters``.
    """

    loss: float
    d_given: Tensor
    gradients: list[Tensor]


def head_parameters(network: Network) -> list[nn.Parameter]:
    """Return weight and bias of the dense layer, of the embedding and of the logit."""
    layers = (network.dense, network.to_embedding, network.to_logit)
    return [each for layer in layers for each in layer.parameters()]


def teach_head(
    parameters: list[Tensor], given: Tensor, target: Tensor, counts: Tensor, share: float
) -> HeadLesson:
    """Run forward and back; all of shape (m,) but ``given``.

    Parameters
    ----------
    counts
        1 where the target counts, 0 elsewhere.
    share
        Factor of the gradients: one over the decisions of the whole batch.
    """
    dense, dense_bias, narrow, narrow_bias, out, out_bias = parameters
    hidden = torch.addmm(dense_bias, given, dense.t()).relu_()
    embedding = torch.addmm(narrow_bias, hidden, narrow.t()).tanh_()
    logit = torch.addmv(out_bias, embedding, out[0])
    losses = nn.functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    d_logit = (torch.sigmoid(logit) - target).mul_(counts).mul_(share)
    d_embedding = torch.outer(d_logit, out[0]).mul_(1 - embedding * embedding)
    d_hidden = torch.mm(d_embedding, narrow).mul_(hidden > 0)
    gradients = [
        torch.mm(d_hidden.t(), given),
        d_hidden.sum(0),
        torch.mm(d_embedding.t(), hidden),
        d_embedding.sum(0),
        torch.mv(embedding.t(), d_logit)[None],
        d_logit.sum()[None],
    ]
    return HeadLesson(float((losses * counts).sum()), torch.mm(d_hidden, dense), gradients)
