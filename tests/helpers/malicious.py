"""Code in a checkpoint."""


class CreatesAFile:
    """What it is unpickled as is a call."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')
