"""The account of what was asked for, what was acknowledged, and what is found in the storage later."""

from dataclasses import dataclass, field


@dataclass
class Account:
    """The numbers that one task wrote into its own field of one session: 1, 2, 3 and so on.

    Of the updates that raised, each may have been made or not; what was acknowledged has to be there.

    Attributes:
        asked: the number that was written last, acknowledged or not.
        acknowledged: all that were, but for those that have been found missing.
        unsure: what was not acknowledged, with the number that it was to replace.
        lost: how many were acknowledged, and are not there.
        unasked: how often a number was found that was never written.
    """

    asked: int = 0
    acknowledged: list[int] = field(default_factory=list)
    unsure: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    unasked: int = 0

    def ask(self) -> int:
        """Return the next number to write."""
        self.asked += 1
        return self.asked

    def acknowledge(self, number: int, replaced: int) -> None:
        """Take note that the update which wrote this number, in place of another, returned."""
        self.found(replaced)
        self.acknowledged.append(number)

    def doubt(self, number: int, replaced: int) -> None:
        """Take note that the update which wrote this number, in place of another, may have been made."""
        self.unsure[number] = replaced

    def found(self, number: int) -> None:
        """Take note of the number in the storage; whatever was acknowledged after it has been lost."""
        if number > self.asked:
            self.unasked += 1
        if number in self.unsure:  # it was made, then, and what it replaced was there before
            self.found(self.unsure.pop(number))
        while self.acknowledged and self.acknowledged[-1] > number:
            self.acknowledged.pop()
            self.lost += 1
