"""The digits and the CNN: disjoint parts, correct examples, nobody else's generator touched."""

from __future__ import annotations

import torch

from captum_robust.audit.load.digits import (
    load_digits,
    one_class_after_the_other,
    predict,
    small_cnn,
)
from captum_robust.audit.load.subject import Subject


def test_parts_are_disjoint_and_pixels_lie_in_the_unit_interval() -> None:
    digits = load_digits(torch.Generator().manual_seed(3))
    both = torch.cat([digits.train, digits.test])
    assert torch.equal(both.sort().values, torch.arange(1797))
    assert digits.images.shape == (1797, 1, 8, 8)
    assert digits.images.min() == 0 and digits.images.max() == 1
    assert not torch.equal(digits.train, load_digits(torch.Generator().manual_seed(4)).train)


def test_explains_test_digits_classified_correctly(subject: Subject) -> None:
    digits = load_digits(torch.Generator().manual_seed(0))
    rows = torch.tensor(subject.example_ids)
    assert torch.isin(rows, digits.test).all()
    assert torch.equal(subject.inputs, digits.images[rows])
    assert torch.equal(subject.targets, digits.classes[rows])
    assert torch.equal(predict(subject.model, subject.inputs), subject.targets)
    assert subject.labels == ("digit 0", "digit 1", "digit 2")
    assert not subject.model.training


def test_accuracy_is_that_of_the_test_part(subject: Subject) -> None:
    digits = load_digits(torch.Generator().manual_seed(0))
    guessed = predict(subject.model, digits.images[digits.test])
    share = sum(
        int(guess) == int(digits.classes[row])
        for guess, row in zip(guessed, digits.test, strict=True)
    ) / len(digits.test)
    assert subject.facts["test accuracy"] == share
    assert share > 0.95
    assert subject.facts["test accuracy under Gaussian noise of the audit's level"] < share


def test_weights_come_from_the_generator_given_alone() -> None:
    state = torch.random.get_rng_state()
    first, second = (small_cnn(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_classes_take_turns() -> None:
    classes = torch.tensor([1, 1, 0, 2, 0, 1])
    rows = torch.tensor([5, 4, 3, 2, 1, 0])
    assert one_class_after_the_other(rows, classes).tolist() == [4, 5, 3, 2, 1, 0]
