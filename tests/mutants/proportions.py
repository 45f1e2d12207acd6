"""Planted faults in learning from label proportions: labels that leak, and messages that hear themselves."""

import numpy as np

from benchmarks.label_proportions import catalogue
from lawful.inference.numerics import counts
from lawful.models.llp import Bags, bags, classifier, held_out, rounds
from lawful.models.llp.baselines import em
from tests.mutants.patching import patched


def label_leaks():
    """The label of a bag's first member weighs a little more than the others."""

    def make(original):
        def counted(labels, members, owners, n_bags, n_classes):
            found = original(labels, members, owners, n_bags, n_classes).astype(float)
            first = np.unique(owners, return_index=True)[1]
            found[owners[first]] += 0.01 * labels[members[first]]
            return found

        return counted

    return patched(bags, "counted_classes", make)


def proportion_as_target():
    """Members are fitted to the mean of their posteriors, which is the proportion of their bag."""

    def make(original):
        return lambda z, target: original(z, target.mean(axis=1, keepdims=True))

    return patched(em, "cross_entropy", make)


def own_message_kept():
    """The message to a member is its log odds after the count, which hold its own."""

    def make(original):
        return lambda h, g, **options: original(h, g, **options) + h

    return patched(counts, "messages", make)


def validation_labels_shown():
    """A contestant is shown the validation rows with their labels, as bags of one."""

    def make(original):
        def shown(parts):
            X, seen = original(parts)
            ids = np.append(seen.ids, seen.n_bags + np.arange(len(parts.validation.y)))
            known = np.append(seen.counts, parts.validation.y)
            return np.concatenate([X, parts.validation.X]), Bags.from_ids(ids, counts=known)

        return shown

    return patched(catalogue, "shown", make)


def labels_of_rows_in_the_fit():
    """The classifier counts each row by itself, whatever its bag."""

    def make(original):
        return lambda labels, ids, n_classes: original(labels, np.arange(len(labels)), n_classes)

    return patched(classifier.Bags, "from_labels", make)


def held_out_counts_shown():
    """Rounds are judged by bags whose counts they have read."""
    return patched(rounds, "without_counts", lambda original: lambda shown, which: shown)


def own_count_in_its_fold():
    """Log odds of a row come from a fit that has read the count of its bag."""
    return patched(held_out, "without_counts", lambda original: lambda shown, which: shown)
