"""A small fit with every kind of long step, and what there is to compare of it; as a program, for a process to kill."""

import os
import signal
import sys

import numpy as np

from lawful.inference.checkpoints import journal
from lawful.models.llp import LabelProportionSelfTraining
from lawful.models.llp.learners import Net, Process
from lawful.models.llp.training.network import Recipe

LEARNERS = {
    "net": lambda: Net(Recipe(hidden=(4, 3), rows=64, epochs=5), Process(features=20)),
    "process": lambda: Process(features=20),
}


def rows():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 180)
    return rng.normal(size=(180, 3)) + y[:, None], rng.permutation(180) // 3, y  # 60 bags of 3


def fitted(folder=None, base="net", data=None, **settings):
    X, bags, y = rows() if data is None else data
    usual = {"rounds": 2, "cross_fit": 2, "random_state": 0, "coupling": 0.5}
    model = LabelProportionSelfTraining(LEARNERS[base](), **(usual | settings), checkpoint=folder)
    return model.fit_bags(X, bags, np.bincount(bags, y))


def answers(model):
    """Every array that a fit gives."""
    X = rows()[0]
    found = {"posterior": model.posterior_, "z": model.decision_function(X + 0.5), "edges": model.graph_.edges,
             "told": np.array([[r.held_out, r.gain, r.gain_error, r.slope] for r in model.rounds_]),
             "labelling": np.array([model.labelling_.log_z, model.labelling_.residual])}  # fmt: skip
    network = model.learner_.details.get("network")
    if network is not None:
        found["losses"] = network.losses
        found |= {f"layer {i}": leaf for i, layer in enumerate(network.history) for leaf in layer}
    return found


def killed_at(call):
    """End the process, as kill -9 does, in the middle of that call of the system for a write, counted from 1."""
    calls = 0
    plain = journal.save

    def save(folder, header, arrays):
        import lawful.inference.checkpoints.checkpoint_folder as checkpoints

        def counted(function):
            def counting(*args, **options):
                nonlocal calls
                calls += 1
                if calls == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return counting

        class File:
            def __init__(self, file):
                self.file = file

            def __getattr__(self, name):
                return getattr(self.file, name)

            def write(self, data):
                half = memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2]
                if calls + 1 == call:
                    self.file.write(half)  # half of it is in the file when the process ends
                    self.file.flush()
                return counted(self.file.write)(data)

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

        checkpoints.open = lambda path, mode: File(open(path, mode)) if "w" in mode else open(path, mode)
        sync, move = os.fsync, os.replace
        os.fsync, os.replace = counted(sync), counted(move)
        try:
            return plain(folder, header, arrays)
        finally:
            os.fsync, os.replace = sync, move

    journal.save = save
    return lambda: calls


if __name__ == "__main__":
    base, call, *folders = sys.argv[1:]
    journal.EVERY, journal.SHARE, journal.PORTION = 0.0, 0, 0.0
    count = killed_at(int(call))
    for folder in folders:
        np.savez(f"{folder}.npz", **answers(fitted(folder, base)))
    print(count())
