"""Steps of `sru classify fit --recipe sst2`, for `nox -s bench -- classification --against COMMIT`."""

from __future__ import annotations

import sys

from turns_fit import Fit, run

if __name__ == "__main__":
    fit = ("classify", "fit", "--recipe=sst2", "--trainer.max_epochs=1000", "--trainer.accelerator=cpu")
    run({"classify fit --recipe sst2": Fit(*fit, *sys.argv[1:])})
