"""Known ways to learn from label proportions, and the data that they are compared on.

Law: a method sees covariates and what is known of the counts of bags, never a label. `benchmarks/label_proportions`
compares them with `LabelProportionClassifier`; `python -m benchmarks.studies.label_proportions` shows what becomes of
the published method.
"""
