"""Augmented images are windows of the padded image, mirrored or not."""

import pytest
import torch
import torch.nn.functional as F

from clbench.data.augment import augment, check_augment
from clbench.errors import UsageError


def test_none_is_the_identity():
    x = torch.rand(3, 5)
    assert augment("none", x) is x


@pytest.mark.parametrize("shape", [(28, 28), (3, 16, 24), (1, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_result_is_a_window_or_its_mirror(shape, dtype):
    torch.manual_seed(0)
    x = torch.randint(1, 256, (40, *shape)).to(dtype)
    before, out = x.clone(), augment("crop_flip", x)
    assert out.shape == x.shape
    assert out.dtype == dtype
    assert torch.equal(x, before)
    height, width = shape[-2:]
    down, right = height // 8, width // 8
    padded = F.pad(x, (right, right, down, down))
    seen = set()
    for i in range(len(x)):
        matches = set()
        for row in range(2 * down + 1):
            for column in range(2 * right + 1):
                window = padded[i, ..., row : row + height, column : column + width]
                matches |= {
                    (row, column, mirrored)
                    for mirrored in (False, True)
                    if torch.equal(window.flip(-1) if mirrored else window, out[i])
                }
        assert len(matches) == 1
        seen |= matches
    assert {place[2] for place in seen} == {False, True}
    assert len(seen) > 5  # samples differ from one another


def test_the_global_generator_decides():
    x = torch.rand(16, 28, 28)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(augment("crop_flip", x))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_no_tensor_is_made_on_the_default_device():
    x = torch.rand(4, 3, 16, 16)
    with torch.device("meta"):
        assert augment("crop_flip", x).device.type == "cpu"
        meta = torch.empty(4, 16, 16)
    assert augment("crop_flip", meta).device.type == "meta"  # nothing is read back


def test_check():
    check_augment("none", (64,))
    check_augment("crop_flip", (3, 32, 32))
    with pytest.raises(UsageError, match="needs images"):
        check_augment("crop_flip", (64,))
    with pytest.raises(UsageError, match="unknown"):
        check_augment("mixup", (3, 32, 32))
