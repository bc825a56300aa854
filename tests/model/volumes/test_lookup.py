"""Fused reads are `grid_sample` plane by plane, in value and gradient, for any sizes, places and threads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from spherehead.model.volumes import lookup
from spherehead.model.volumes.lookup import PlaneTable

SIZES = [(2, 5, 7), (1, 8, 3)]
PLANES = 3


def case(dtype: torch.dtype = torch.float64, points: int = 200) -> tuple[list[torch.Tensor], torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    groups = [torch.randn(2, count, 4, height, width, generator=random, dtype=dtype) for count, height, width in SIZES]
    places = 2.6 * torch.rand(3, PLANES, 2, points, generator=random, dtype=dtype) - 1.3
    return groups, places


def twin(groups: list[torch.Tensor], u: torch.Tensor, v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    planes = [group[:, k] for group in groups for k in range(group.shape[1])]
    total = torch.zeros(())
    for plane, across, down, share in zip(planes, u, v, weight, strict=True):
        read = F.grid_sample(plane, torch.stack([across, down], -1)[:, None], padding_mode="zeros", align_corners=False)
        total = total + read[:, :, 0].transpose(1, 2) * share[..., None]
    return total


def pack(table: PlaneTable, groups: list[torch.Tensor]) -> torch.Tensor:
    """As `table.pack`, in double precision."""
    return torch.cat([F.pad(g.permute(0, 1, 3, 4, 2), (0, 0, 1, 1, 1, 1)).flatten(1, 3) for g in groups], 1)


def test_pack_puts_planes_behind_one_another_with_a_border_of_zeros() -> None:
    groups, _ = case(torch.float32)
    table = PlaneTable(SIZES)
    torch.testing.assert_close(table.pack(groups), pack(table, groups))
    assert table.rows == 2 * 7 * 9 + 10 * 5


def test_a_read_is_grid_sample_inside_on_the_edge_and_outside() -> None:
    groups, (u, v, weight) = case()
    u[:, 0, :6] = torch.tensor([-1.0, 1.0, 1 + 1 / 7, 1.3, 50.0, -1e6], dtype=u.dtype)
    v[:, 0, :6] = 0.1
    table = PlaneTable(SIZES)
    torch.testing.assert_close(table.read(pack(table, groups), u, v, weight), twin(groups, u, v, weight), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("products", ["_sampled_products", "_bag_products"])
def test_all_gradients_are_grid_samples(products: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_sampled_products", getattr(lookup, products))
    groups, (u, v, weight) = case()
    leaves = [*groups, u.clone(), v.clone(), weight.clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    table = PlaneTable(SIZES)
    seed = torch.randn(2, u.shape[-1], 4, dtype=u.dtype, generator=torch.Generator().manual_seed(5))
    got = torch.autograd.grad(table.read(pack(table, leaves[:2]), *leaves[2:]), leaves, seed)
    wanted = torch.autograd.grad(twin(leaves[:2], *leaves[2:]), leaves, seed)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_only_the_wanted_gradients_are_worked_out() -> None:
    groups, (u, v, weight) = case()
    table = PlaneTable(SIZES)
    rows = pack(table, groups).requires_grad_()
    (grad,) = torch.autograd.grad(table.read(rows, u, v, weight).sum(), rows)
    across = u.clone().requires_grad_()
    (moved,) = torch.autograd.grad(table.read(rows.detach(), across, v, weight).sum(), across)
    assert grad.abs().sum() > 0 and moved.abs().sum() > 0


def test_many_points_are_read_in_chunks_and_any_number_of_threads_gives_the_same_bits() -> None:
    random = torch.Generator().manual_seed(1)
    plane = torch.randn(1, 1, 2, 16, 16, generator=random)
    u, v, weight = 2.2 * torch.rand(3, 1, 1, (1 << 17) + 100, generator=random) - 1.1
    table = PlaneTable([(1, 16, 16)])
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rows = table.pack([plane]).requires_grad_()
        read = table.read(rows, u, v, weight)
        results.append((read.detach(), torch.autograd.grad(read.square().sum(), rows)[0]))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    torch.testing.assert_close(results[0][0], twin([plane], u, v, weight), rtol=1e-4, atol=1e-5)


def test_the_plane_of_a_read_may_differ_from_point_to_point() -> None:
    random = torch.Generator().manual_seed(2)
    planes = torch.randn(1, 3, 4, 6, 6, generator=random)
    table = PlaneTable([(3, 6, 6)])
    u, v, weight = torch.rand(3, 1, 1, 30, generator=random)
    which = torch.arange(30) % 3
    got = table.read(table.pack([planes]), u, v, weight, table.first[which].view(1, 1, 30))
    for k in range(3):
        alone = table.read(table.pack([planes]), u, v, weight, table.first[[k]][None].expand(1, 1, 30))
        assert torch.equal(got[0, which == k], alone[0, which == k])
