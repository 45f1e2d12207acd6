"""Running: what makes a run one that can be stopped, kept on disk and taken up again."""
