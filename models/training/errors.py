"""What stops a training run."""

from common.manifest import ModelError


class TrainingError(ModelError):
    """A run that cannot start or go on. The message names the culprit and the fix; what was saved before stays usable."""
