"""Windows over a volume: MONAI's numbers, a slab at a time, and what happens without memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.inference import predict_labels
from oarfuse.organs import get_spec
from oarfuse.weights import ModelInfo
from oarfuse.windows import score_slabs

CPU = torch.device("cpu")
INFO = ModelInfo(
    model="unet3d",
    dataset="openkbp",
    window_hu=(-160.0, 400.0),
    patch_size=(8, 16, 16),
    spacing_mm=(3.0, 4.0, 4.0),
    spacing_range_mm=((3.0, 4.0, 4.0), (3.0, 4.0, 4.0)),
    phantom=True,
)


def network(classes: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(1, classes, 3, padding=1).eval()  # zero padding: windows differ at their rims


def patient(*sides: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-200, 400, sides, dtype=np.int16)


@pytest.mark.parametrize("sides", [(20, 40, 33), (8, 16, 16), (5, 40, 9), (3, 4, 5), (9, 17, 16)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
@pytest.mark.parametrize("batch", [1, 5])
def test_slabs_are_the_scores_of_monai(
    sides: tuple[int, int, int], overlap: float, batch: int
) -> None:
    model, volume = network(), torch.rand(1, 1, *sides)
    with torch.inference_mode():
        slabs = [
            (place, scores.clone())
            for place, scores in score_slabs(
                model, volume, (8, 16, 16), overlap, device=CPU, batch=batch
            )
        ]
        expected = sliding_window_inference(
            volume,
            roi_size=(8, 16, 16),
            sw_batch_size=batch,
            predictor=lambda windows: model(windows).softmax(dim=1),
            overlap=overlap,
            mode="gaussian",
        )
    assert [place.start for place, _ in slabs[1:]] == [place.stop for place, _ in slabs[:-1]]
    assert (slabs[0][0].start, slabs[-1][0].stop) == (0, sides[0])
    assert all(scores.shape[1] <= 8 for _, scores in slabs)  # never more than a window is deep
    torch.testing.assert_close(
        torch.cat([scores for _, scores in slabs], dim=1), expected[0], rtol=1e-5, atol=1e-6
    )


def test_mirrored_scores_are_averaged_with_sides_exchanged() -> None:
    model, image = network(), patient(20, 40, 33)
    with torch.inference_mode():
        volume = (torch.from_numpy(image)[None, None].float() + 160).div(560).clamp(0, 1)

        def scores(volume: Tensor) -> Tensor:
            slabs = score_slabs(model, volume, INFO.patch_size, 0.5, device=CPU)
            return torch.cat([scores.clone() for _, scores in slabs], dim=1)

        order = list(range(6))
        for left, right in get_spec("openkbp").mirror_pairs:
            order[left], order[right] = right, left
        expected = scores(volume) + scores(volume.flip(-1)).flip(-1)[order]
    found = predict_labels(model, image, INFO, mirror=True, device="cpu", precision="32-true")
    assert np.array_equal(found, expected.argmax(dim=0).numpy())


class Exhausted(nn.Module):
    """A network on a card whose memory gives out at some of its calls."""

    def __init__(self, *failing: int) -> None:
        super().__init__()
        self.network, self.failing, self.calls = network(), failing, 0

    def forward(self, volume: Tensor) -> Tensor:
        self.calls += 1
        if self.calls in self.failing:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.network(volume)


def test_without_memory_scores_are_kept_on_the_cpu_and_that_is_said() -> None:
    image = patient(20, 40, 33)
    expected = predict_labels(network(), image, INFO, device="cpu", precision="32-true")
    model = Exhausted(7)
    with pytest.warns(UserWarning, match="memory of cpu does not hold this CT"):
        found = predict_labels(model, image, INFO, device="cpu", precision="32-true")
    assert np.array_equal(found, expected)
    assert model.calls == 7 + 4 * 4 * 4  # from the beginning


def test_a_card_that_cannot_hold_one_window_is_one_sentence() -> None:
    with (
        pytest.warns(UserWarning, match="kept on the CPU"),
        pytest.raises(OarfuseError, match=r"does not hold one window .* choose the device cpu"),
    ):
        predict_labels(Exhausted(1, 2), patient(8, 16, 16), INFO, device="cpu")


def test_a_patch_may_be_deeper_than_the_volume() -> None:
    info = replace(INFO, patch_size=(32, 16, 16))
    assert predict_labels(network(), patient(5, 20, 20), info, device="cpu").shape == (5, 20, 20)
