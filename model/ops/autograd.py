"""Calls operators with a gradient of their own under a type: torch leaves `Function.apply` untyped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def applied(operator: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """Run an operator that gives one tensor.

    Args:
        operator: the operator.
        arguments: what its `forward` takes after the context.
    """
    out: Tensor = operator.apply(*arguments)
    return out
