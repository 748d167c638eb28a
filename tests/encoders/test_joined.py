"""Joined encoders: the members' latents side by side, and what is refused."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from encoding import GRAY, config, encode, refusal

from clbench.plugins.registry import find


def test_latents_of_the_members_lie_side_by_side():
    parts = [encode(name) for name in ("identity", "random:mlp", "vit_tiny")]
    joined = encode("joined:identity+random:mlp+vit_tiny", unit_length=False)
    assert torch.equal(joined, torch.cat(parts, 1))


def test_by_default_no_member_outweighs_another():
    joined = encode("joined:identity+random:mlp")
    wide = GRAY[0].numel()
    assert torch.allclose(joined[:, :wide], F.normalize(encode("identity"), dim=1))
    for part in (joined[:, :wide], joined[:, wide:]):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(len(GRAY)))


def test_the_sources_of_all_members_are_part_of_the_recipe():
    files = config("joined:random:mlp+vit_tiny").encoder.files()
    wanted = {find("encoder", "random").path, find("encoder", "vit_tiny").path}
    assert wanted | {find("model", "mlp").path} <= {*files}


def test_what_is_no_list_of_encoders_is_refused():
    assert "two encoders or more" in refusal("joined:identity")
    assert "two encoders or more" in refusal("joined:identity+")
    assert "did you mean 'identity'?" in refusal("joined:identty+vit_tiny")
    assert "must be the name of an encoder" in refusal("joined", of="identity+/home/me/mine.py")
    assert "/home" not in refusal("joined", of="identity+/home/me/mine.py")
    assert "in one line" in refusal("joined:identity+joined:vit_tiny+identity")
