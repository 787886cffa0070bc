"""Which version of the project this is: the log of `check_setup`, the doctor and the page say it."""

# CHANGELOG.md has a section of this name. It stands here because include/ is all there is in some installations.
VERSION = "0.9.0"
