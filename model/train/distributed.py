"""The processes of one run: who am I, and the few things that ranks tell each other.

Started by `torchrun` or alone; gradients are summed by hand after backward, so that accumulated micro-batches cost one
exchange and a run on several ranks adds the same numbers as a run on one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from ...manifests.config import ConfigError
from .nodes.heartbeat import Heartbeat, open_heartbeat
from .nodes.start import agree_on_start

BUCKET = 16 * 2**20
"""Numbers that are exchanged at once."""


class PeerLost(RuntimeError):
    """Another process of the run is gone, or cannot be reached; what was saved is kept."""


@contextmanager
def _exchange(what: str) -> Iterator[None]:
    """Word what the back ends of torch.distributed say when a process is gone.

    Raises:
        PeerLost: the exchange failed.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise PeerLost(
            f"{what} failed: another process of this run ended or cannot be reached ({said}); its own output says why; rerun "
            "the same command in all processes to resume from the newest checkpoint"
        ) from error


@dataclass(frozen=True)
class World:
    """This process among those of the run."""

    rank: int
    size: int
    device: torch.device
    heartbeat: Heartbeat | None = field(default=None, compare=False)
    """Signs of life, where there are several processes."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def sum_gradients(self, module: nn.Module) -> None:
        """Add every rank's gradients; a parameter without one counts as zero where another rank has one.

        Numbers travel in the order of the parameters, in buckets, and are added in fp32.
        """
        if self.size == 1:
            return
        wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
        has = torch.tensor([parameter.grad is not None for parameter in wanted], dtype=torch.int32, device=self.device)
        _all_reduce(has, torch.distributed.ReduceOp.MAX)
        used = [parameter for parameter, flag in zip(wanted, has.tolist(), strict=True) if flag]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(used):
            flat = torch.cat([parameter.grad.reshape(-1).float() for parameter in bucket if parameter.grad is not None])
            _all_reduce(flat, torch.distributed.ReduceOp.SUM)
            start = 0
            for parameter in bucket:
                assert parameter.grad is not None
                count = parameter.numel()
                parameter.grad.copy_(flat[start : start + count].view_as(parameter))
                start += count

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.size > 1:
            _all_reduce(values, torch.distributed.ReduceOp.SUM)
        return values

    def share(self, module: nn.Module, source: int = 0) -> None:
        """Give every rank the parameters and buffers of one."""
        self.share_tensors((*module.parameters(), *module.buffers()), source)

    def share_tensors(self, tensors: Iterable[Tensor], source: int = 0) -> None:
        """Give every rank the tensors of one, in place; shapes and order are the same on all."""
        if self.size > 1:
            with _exchange("sharing the first weights"):
                for tensor in tensors:
                    torch.distributed.broadcast(tensor.data, src=source)

    def share_objects(self, objects: list[Any], source: int = 0) -> None:
        """Give every rank the plain values of one, in place; the list has the same length on all."""
        if self.size > 1:
            with _exchange("sharing the run's position"):
                torch.distributed.broadcast_object_list(objects, src=source, device=self.device)

    def gather(self, number: int) -> list[int]:
        """Return every rank's number, 0 to 2^62, in the order of ranks."""
        told = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        told[self.rank] = number
        return [int(one) for one in self.sum(told).tolist()]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        told = torch.tensor([int(flag)], device=self.device)
        _all_reduce(told, torch.distributed.ReduceOp.MAX)
        return bool(told.item())

    def same(self, number: int) -> bool:
        """Return whether every rank gave the same number, 0 to 2^62."""
        if self.size == 1:
            return True
        told = torch.tensor([number, -number], dtype=torch.int64, device=self.device)
        _all_reduce(told, torch.distributed.ReduceOp.MAX)
        return int(told[0]) == -int(told[1])

    def wait(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            with _exchange("waiting for each other"):
                torch.distributed.barrier()

    def close(self) -> None:
        """Leave the group."""
        if self.heartbeat is not None:
            self.heartbeat.close()
        if self.size > 1 and torch.distributed.is_initialized():
            with suppress(RuntimeError):  # a lost peer was told already
                torch.distributed.destroy_process_group()


def _all_reduce(values: Tensor, how: Any) -> None:
    """Combine a tensor over all ranks, in place."""
    with _exchange("exchanging numbers"):
        torch.distributed.all_reduce(values, op=how)


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    """Cut parameters into lists of about `BUCKET` numbers."""
    bucket: list[nn.Parameter] = []
    held = 0
    for parameter in parameters:
        bucket.append(parameter)
        held += parameter.numel()
        if held >= BUCKET:
            yield bucket
            bucket, held = [], 0
    if bucket:
        yield bucket


def open_world(device: str = "auto", timeout_minutes: float = 30.0) -> World:
    """Join the run that `torchrun` started, or be alone.

    Args:
        device: "cpu", "cuda", or "auto" for CUDA where there is any.
        timeout_minutes: how long a rank waits for another that lives before the run fails.

    Raises:
        ConfigError: CUDA is asked for and not there, or `torchrun` set only some of its variables.
        PeerLost: the other processes cannot be reached.
    """
    cuda = torch.cuda.is_available()
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"expected a device of auto, cpu or cuda, got '{device}'")
    if device == "cuda" and not cuda:
        raise ConfigError("no CUDA device was found; use --device cpu, or install torch's CUDA build (README, Two commands)")
    kind = "cuda" if cuda and device != "cpu" else "cpu"
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    told = [os.environ.get(name) for name in names]
    if all(value is None for value in told):
        return World(0, 1, torch.device(kind))
    if any(value is None for value in told):
        raise ConfigError(f"expected {', '.join(names)} from torchrun, got {dict(zip(names, told, strict=True))}")
    rank, size, local = (int(value or 0) for value in told)
    place = torch.device(kind, local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(place)
    if size > 1:
        from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]  # torch exports them by a star

        with _exchange("joining the run"):
            backend, timeout = "nccl" if kind == "cuda" else "gloo", timedelta(minutes=timeout_minutes)
            store, _, _ = next(rendezvous("env://", rank, size, timeout=timeout))
            start = agree_on_start(store, rank, size, 60 * timeout_minutes)
            own = PrefixStore(f"spherehead/{start}", store)
            torch.distributed.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=timeout)
            return World(rank, size, place, open_heartbeat(rank, size, start))
    return World(rank, size, place)
