"""What can go wrong in a search; each error says what to change."""


class SearchError(Exception):
    """Anything this package raises on purpose."""


class InvalidSpace(SearchError):
    """A search space that cannot be searched.

    Attributes:
        field: Where, as a path below the part that was built: `.logUniform.min` for a parameter,
            `.parameters.epochs` for a branch, `candidates[nova].parameters.learningRate` for a space.
        message: What is wrong and what is allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def under(self, prefix: str) -> "InvalidSpace":
        """The same error, seen from further up: `prefix` is put before the field's path."""
        return InvalidSpace(prefix + self.field, self.message)


class SearchSpaceExhausted(SearchError):
    """No point is left to propose: each one is tried, pending or not allowed."""
