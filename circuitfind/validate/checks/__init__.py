"""The validator's checks, one file each."""
