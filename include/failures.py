"""What a retry cannot fix, as a type: the retry policy fails at once on it."""


class SetupError(Exception):
    """A connection, variable, param, queue or table is not as it must be.

    The message is one sentence that names the thing, says what is wrong with it and how to fix
    it. It never holds a secret or a value of a message.
    """
