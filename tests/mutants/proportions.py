"""Planted faults in learning from label proportions: labels that leak, and messages that hear themselves."""

import numpy as np

from benchmarks.label_proportions import catalogue
from lawful.inference.graphs import counts, dual_bound
from lawful.inference.graphs.moves import exchanges, redraws
from lawful.models.llp import Bags, bag_process, count_process, neighbourhood, rounds
from lawful.models.llp.bags import bags
from lawful.models.llp.labels import held_out
from lawful.models.llp.neighbours import coupling, radius
from lawful.models.llp.training import losses
from tests.mutants.patching import patched, rewritten


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

    return patched(losses, "cross_entropy", make)


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

    return patched(Bags, "from_labels", make)


def held_out_counts_shown():
    """Rounds are judged by bags whose counts they have read."""
    return patched(rounds, "without_counts", lambda original: lambda shown, which: shown)


def own_count_in_its_fold():
    """Log odds of a row come from a fit that has read the count of its bag."""
    return patched(held_out, "without_counts", lambda original: lambda shown, which: shown)


def own_bag_kept_in_the_scores():
    """The count process scores a row by all bags, its own too."""
    return patched(
        count_process,
        "_out_of_bag",
        lambda original: lambda X, bags, modes, chances: count_process._logits(X, modes, chances),
    )


def own_sum_kept_in_the_scores():
    """The bag process scores a row by all bags, its own too."""
    return patched(
        bag_process._Side, "left_out", lambda original: lambda side, X, bags, target, weights: side.score(X, weights)
    )


def prior_left_out_of_the_slope():
    """The mode is looked for along the slope of the likelihood alone."""
    return rewritten(count_process, "_fitted", "= -prior * (weights - ahead),", "= 0 * prior,")


def neighbours_redrawn_at_once():
    """Neighbours are redrawn together, each given the label that the other had."""
    return patched(redraws, "_beaten", lambda original: lambda *given: original(*given) & False)


def half_of_what_is_known_of_a_count():
    """Members are redrawn with half of the scores of their count; what those exclude stays excluded."""
    return rewritten(redraws, "_weights", "scores[starts[bag]", "0.5 * scores[starts[bag]")


def exchanges_that_lose():
    """What an exchange gains has the wrong sign."""
    return patched(exchanges, "fields", lambda original: lambda *given: -original(*given))


def worst_labels_in_the_bound():
    """A bag's part of the bound is the score of its worst labels."""
    return patched(dual_bound, "_best", lambda original: lambda one, zero, totals: original(-one, -zero, totals))


def radius_too_small():
    """The growth of messages is taken for less than it is."""

    def made(original):
        def smaller(*given):
            value, vector = original(*given)
            return 0.95 * value, vector

        return smaller

    return patched(radius, "_largest", made)


def base_rate_of_the_other_class():
    """Agreement is weighed by the share of the other class."""
    return patched(coupling, "shares_of", lambda original: lambda rate: original(rate)[::-1])


def calibrated_on_seen_scores():
    """Log odds are calibrated by counts that the fit has read."""
    return rewritten(
        rounds._Fits,
        "judged",
        "stage.fitted.logits(self.X) if out_of_bag is None else out_of_bag()",
        "stage.fitted.logits(self.X)",
    )


def residuals_of_the_fit():
    """Neighbours are asked about what a fit leaves of counts that it has read."""
    return rewritten(
        neighbourhood.Neighbourhood, "after", "self._beyond(near, z,", "self._beyond(near, fitted.logits(Z),"
    )


def bags_that_share_rows_parted():
    """Bags that share rows come into different folds."""
    return patched(
        bags, "connected_components", lambda original: lambda graph, directed: (0, np.arange(graph.shape[0]))
    )
