"""Every reason for which a file or a head is not kept: the code that manifests carry, its outcome and its meaning."""

from __future__ import annotations

from typing import Final

DROPPED: Final = "dropped"
"""Refused on purpose: the picture is sound but not wanted."""
FAILED: Final = "failed"
"""Quarantined: the file or the code is at fault; `retry --reason` runs it again."""
NOT_AN_IMAGE: Final = "not_image"
"""Not a picture at all; counted and left alone."""
DUPLICATE: Final = "duplicate"
"""The same bytes as another input."""

REASONS: dict[str, tuple[str, str]] = {
    # reading and decoding
    "not_an_image": (NOT_AN_IMAGE, "the bytes are no known picture format"),
    "special_file": (NOT_AN_IMAGE, "a pipe, device, socket or broken link, or the folder of a finished data set"),
    "hidden_file": (NOT_AN_IMAGE, "a dot file or a system's own file"),
    "empty_file": (FAILED, "zero bytes"),
    "truncated": (FAILED, "the file ends before the picture does"),
    "corrupt_stream": (FAILED, "the decoder reported damaged data"),
    "unsupported_format": (FAILED, "a picture format without an installed decoder"),
    "unsupported_depth": (FAILED, "a bit depth or number type that has no agreed conversion"),
    "too_many_pixels": (FAILED, "more pixels than max_pixels; refused before decoding"),
    "too_many_bytes": (FAILED, "a larger file than max_bytes; refused before reading"),
    "io_error": (FAILED, "the file could not be read"),
    "changed_while_reading": (FAILED, "the file changed between two reads"),
    "store_unavailable": (FAILED, "the store or web server gave no good answer within the tries"),
    "store_denied": (FAILED, "the store refuses: credentials missing, expired or not allowed"),
    "robots_disallowed": (DROPPED, "robots.txt of the web server disallows the address"),
    "digest_mismatch": (FAILED, "the bytes do not have the sha256 that the list gives"),
    "sidecar_mismatch": (FAILED, "a mask, map or camera beside the picture does not fit it"),
    "camera_invalid": (FAILED, "a camera outside the label contract"),
    "bad_asset": (FAILED, "a mesh, morph or texture that this rendered head needs is damaged or missing"),
    "render_failed": (FAILED, "the renderer gave no usable picture"),
    "too_small": (DROPPED, "fewer pixels than any head needs"),
    "aspect_ratio": (DROPPED, "a strip, not a photograph"),
    "fully_transparent": (DROPPED, "alpha is zero everywhere"),
    "greyscale": (DROPPED, "a grey picture, and the recipe wants colour"),
    # running
    "worker_crash": (FAILED, "the process that held this file died twice"),
    "timeout": (FAILED, "the time limit for one file passed"),
    "stage_error": (FAILED, "a stage raised an exception"),
    "out_of_memory": (FAILED, "the file needs more memory than the budget"),
    # finding the head
    "no_head": (DROPPED, "no face and no head was found"),
    "several_faces": (DROPPED, "more than one face, and the recipe says reject"),
    "head_too_small": (DROPPED, "the head has too few source pixels"),
    "upscaled_too_much": (DROPPED, "the crop would enlarge the source beyond max_upscale"),
    "head_cut": (DROPPED, "too much of the crop lies outside the photograph"),
    # labels
    "pose_unsure": (DROPPED, "the camera's confidence is under the threshold"),
    "pose_implausible": (DROPPED, "the fitted camera is outside the allowed range"),
    "pose_mirror": (DROPPED, "the mirrored picture gives another camera"),
    "pose_residual": (DROPPED, "the canonical face does not fit the points"),
    # masks and quality
    "no_foreground": (DROPPED, "the matte is empty"),
    "foreground_share": (DROPPED, "the head fills too little or too much of the crop"),
    "blurred": (DROPPED, "the head is not sharp"),
    "dark": (DROPPED, "under-exposed"),
    "bright": (DROPPED, "over-exposed"),
    "clipped": (DROPPED, "too many pixels at the ends of the range"),
    "blocky": (DROPPED, "visible compression blocks"),
    "noisy": (DROPPED, "noise all over the head"),
    "oversmoothed": (DROPPED, "skin without texture: filtered or generated"),
    "oversharpened": (DROPPED, "halos along edges"),
    "hat": (DROPPED, "a hat, and the recipe wants none"),
    # the whole set
    "exact_duplicate": (DUPLICATE, "the same bytes as another input"),
    "pixel_duplicate": (DROPPED, "the same pixels as a head that is kept, from another file"),
    "near_duplicate": (DROPPED, "looks like a better picture that is kept"),
    "forgotten": (DROPPED, "taken down by request"),
}
"""Reason code -> (outcome, what it means)."""


def outcome(reason: str) -> str:
    """Return the outcome that a reason leads to.

    Raises:
        KeyError: the reason is not in the table.
    """
    if reason not in REASONS:
        raise KeyError(f"unknown reason {reason!r}; add it to datasets/reasons.py with its outcome and meaning")
    return REASONS[reason][0]
