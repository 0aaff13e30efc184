"""Pages of a run and of a comparison, in one HTML file each."""
