"""Splits of synbols: what is scored shows what training does not."""

from __future__ import annotations

import dataclasses

import pytest
from synbols_parts import CPU, shared_cache

from clbench.data.sets.synbols import Synbols
from clbench.errors import UsageError

__all__ = ["shared_cache"]
SMALL = Synbols(
    preset="default-bw", n_train=300, n_test=60, alphabets=("digits",), gray=True, resolution=16
)


@pytest.mark.parametrize(
    "split", ["stratified:font", "stratified:rotation", "compositional:char:font"]
)
def test_splits_keep_apart_what_they_say(split: str):
    whole = dataclasses.replace(SMALL, split=split, store=False).pool(CPU)
    train, test, val = whole.frame("train"), whole.frame("test"), whole.tuning().frame("test")
    assert (len(train), len(test), len(val)) == (300, 60, 60)
    if split == "stratified:font":
        parts = [set(f.font) for f in (train, val, test)]
        assert sum(map(len, parts)) == len(set.union(*parts))
    elif split == "stratified:rotation":
        assert (
            val.rotation.max() <= train.rotation.min() < train.rotation.max() <= test.rotation.min()
        )
    else:
        pairs = [set(zip(f.char, f.font, strict=True)) for f in (train, val, test)]
        assert sum(map(len, pairs)) == len(set.union(*pairs))
        assert set(test.char) <= set(train.char)
    again = dataclasses.replace(SMALL, split=split, n_train=350).pool(CPU)
    assert again.frame("train")[:300].equals(train)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ("stratified:char", "no class would be in both"),
        ("stratified:fnt", "did you mean 'font'"),
        ("stratifid:font", "did you mean 'stratified'"),
        ("compositional:char", "compositional:NAME:NAME"),
        ("compositional:char:char", "must differ"),
        ("stratified:is_bold", "2 values"),
    ],
)
def test_splits_that_cannot_be(split: str, says: str):
    with pytest.raises(UsageError) as caught:
        dataclasses.replace(SMALL, split=split, store=False).pool(CPU)
    assert says in str(caught.value)
