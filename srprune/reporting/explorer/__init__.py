"""The explorer: scores, cuts and patches as one HTML file that a person moves about in."""
