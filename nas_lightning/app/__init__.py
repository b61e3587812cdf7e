"""The programs: a search, an evaluation, a study of hyperparameters, and what happens around their jobs."""
