"""What is packed comes back, type for type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Crop, Head, Photo, PhotoInfo, Sample
from spherehead.pipeline.execution.packing import changes, first_sample, pack, restore, unpack

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_plain_values_come_back(value: object) -> None:
    assert unpack(pack(value)) == value


@given(
    st.sampled_from([np.uint8, np.float32, np.float64, np.int32]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(max_dims=3, max_side=9),
            elements={"allow_nan": False} if np.dtype(dtype).kind == "f" else None,
        )
    )
)
def test_arrays_come_back_bit_for_bit(array: np.ndarray) -> None:
    back = unpack(pack(array))
    assert back.dtype == array.dtype and back.shape == array.shape and (back == array).all()
    assert back.flags.writeable


def test_pictures_shrink(astronaut: np.ndarray) -> None:
    packed = pack(astronaut)
    assert (unpack(packed) == astronaut).all() and len(packed) < 0.7 * astronaut.nbytes


def test_a_sample_comes_back_from_its_changes() -> None:
    photo = Photo.of_pixels(np.zeros((4, 4, 3), np.uint8))
    start = first_sample(photo, {})
    head = Head((1.0, 2.0, 3.0, 4.0), 0.9, "mesh", 0.1, mesh=np.ones((478, 3), np.float32))
    after = start.with_(
        id="a", head=head, crop=Crop(np.eye(3), 8, 0.0, 1.0), image=np.full((8, 8, 3), 7, np.uint8),
        camera=Camera.look_at(1.0, 0.5), scores={"x": 1.5}, notes={"n": "m"},
    )  # fmt: skip
    delta = changes(start, after, leave_out=["image"])
    assert set(delta) == {"id", "head", "crop", "camera", "scores", "notes"}
    back = restore(start, unpack(pack(delta)))
    assert isinstance(back, Sample) and back.image is None and back.photo is photo
    assert back.head is not None and back.head.box == head.box and (back.head.mesh == head.mesh).all()
    assert back.camera is not None and (back.camera.cam2world == after.camera.cam2world).all()
    assert (back.scores, back.notes, back.id) == ({"x": 1.5}, {"n": "m"}, "a")


def test_header_information_comes_back() -> None:
    info = PhotoInfo(3, 2, "jpeg", 6, 1, 8, ("grey", "icc_converted"))
    assert unpack(pack(info)) == info


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot pack a object"):
        pack(object())
