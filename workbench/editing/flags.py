"""The model's switches: set for the maths and put back exactly, also on an error.

Never held while a generator is suspended: between two events the model is as its owner left it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from workbench.models.randomness import random_states_kept


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode with no parameter asking for a gradient; then everything as it was.

    Restores every module's training flag, every parameter's requires_grad, and the global random state of the CPU and
    of the devices the model is on.
    """
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    training = [(module, module.training) for module in model.modules()]
    with random_states_kept(parameter.device for parameter in model.parameters()):
        try:
            model.requires_grad_(False)
            model.eval()
            yield
        finally:
            for parameter, requires_grad in wanted:
                parameter.requires_grad_(requires_grad)
            for module, flag in training:
                module.training = flag


@contextmanager
def gradients() -> Iterator[None]:
    """A graph is built inside, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
