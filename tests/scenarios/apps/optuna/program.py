"""
Drives Optuna through its API; runs under Optuna's own Python: ``program.py fill|create|start|tell|continue URL``.

``tell`` prints all that the API gives of every study, as JSON. Numbers are told by ``repr``, so that infinity and NaN
have a form and no digit is lost.
"""

import json
import sys
import warnings

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState, create_trial

SPACE = {
    "rate": FloatDistribution(1e-300, 1e300, log=True),
    "share": FloatDistribution(-1.0, 1.0, step=0.25),
    "layers": IntDistribution(-(2**53), 2**53),
    "kind": CategoricalDistribution([None, True, 3, 2.5, "größe", "🌱"]),
}


def objective(trial: Trial) -> float:
    """Use every kind of parameter; the odd trials report on the way, some are pruned and one fails."""
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 5)
    kind = trial.suggest_categorical("kind", ["größe", "🌱", None])
    trial.set_user_attr("note", {"kind": kind, "ü": [1, 0.1 + 0.2, None]})
    if trial.number == 5:
        raise ValueError("this one fails")
    if trial.number % 2:
        for step, value in enumerate([rate, float("inf"), float("-inf"), float("nan"), 5e-324]):
            trial.report(value, step)
        if trial.number % 3 == 0:
            raise optuna.TrialPruned
    score: float = rate * layers
    return score


def fill(storage: str) -> None:
    """Fill a storage with studies of several kinds, and trials of every state."""
    seeded = optuna.samplers.TPESampler(seed=1, n_startup_trials=4)
    study = optuna.create_study(storage=storage, study_name="größe 🌱 / 'quoted'", sampler=seeded)
    study.optimize(objective, n_trials=30, catch=ValueError)
    study.set_user_attr("owner", {"name": "Ada", "tags": ["x", "", "\\", '"']})
    study.set_metric_names(["loss"])
    study.enqueue_trial({"rate": 0.01, "layers": 2, "kind": None}, user_attrs={"from": "queue"})
    running = study.ask()  # the queued one, which stays as it is
    optuna.storages.RDBStorage(storage, heartbeat_interval=60).record_heartbeat(running._trial_id)

    both = optuna.create_study(storage=storage, study_name="two goals", directions=["minimize", "maximize"])
    both.optimize(lambda trial: (trial.suggest_float("x", 0, 1) ** 2, float(trial.suggest_int("n", 0, 9))), n_trials=12)
    both.add_trial(create_trial(values=[float("inf"), float("-inf")]))

    edges = optuna.create_study(storage=storage, study_name="edges", direction="maximize")
    for number, kind in enumerate(SPACE["kind"].choices):
        parameters = {"rate": (1e-300, 1e300, 5e-3)[number % 3], "share": -0.75, "layers": 2**53 - number, "kind": kind}
        edges.add_trial(
            create_trial(
                params=parameters,
                distributions=SPACE,
                value=(0.1 + 0.2) * 10.0 ** (number * 60),
                system_attrs={"n": number},
            )
        )
    edges.add_trial(create_trial(state=TrialState.WAITING))
    edges.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"reason": "x" * 2000}))
    optuna.create_study(storage=storage, study_name="empty")
    gone = optuna.create_study(storage=storage, study_name="gone")
    gone.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    optuna.delete_study(storage=storage, study_name="gone")


def start(storage: str) -> None:
    """Do what somebody does who tries the storage before the data comes: a study of another name."""
    study = optuna.create_study(storage=storage, study_name="a try", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)


def tell(storage: str) -> None:
    """Print what the API gives of every study."""
    opened = optuna.storages.RDBStorage(storage)
    studies = {}
    for frozen in opened.get_all_studies():
        study = optuna.load_study(study_name=frozen.study_name, storage=opened)
        studies[frozen.study_name] = {
            "id": frozen._study_id,
            "directions": [direction.name for direction in frozen.directions],
            "attributes": repr([frozen.user_attrs, frozen.system_attrs]),
            "trials": [trial_facts(trial) for trial in study.trials],
            "best": [trial.number for trial in study.best_trials]
            if study.get_trials(states=[TrialState.COMPLETE])
            else [],
        }
    print(json.dumps(studies))


def trial_facts(trial: optuna.trial.FrozenTrial) -> dict[str, object]:
    """Return everything about a trial, with numbers as ``repr`` has them."""
    facts = {name: getattr(trial, name) for name in ("_trial_id", "number", "state", "values", "params")}
    facts |= {name: getattr(trial, name) for name in ("distributions", "intermediate_values", "user_attrs")}
    facts |= {name: getattr(trial, name) for name in ("system_attrs", "datetime_start", "datetime_complete")}
    return {name: repr(value) for name, value in facts.items()}


def go_on(storage: str) -> None:
    """Add to a study trials that learn from those before, and a new study; print ids, states and parameters."""
    sampler = optuna.samplers.TPESampler(seed=2, n_startup_trials=4)
    study = optuna.load_study(study_name="größe 🌱 / 'quoted'", storage=storage, sampler=sampler)
    before = len(study.trials)
    study.optimize(objective, n_trials=3)
    new = optuna.create_study(storage=storage, study_name="new", directions=["minimize", "minimize"])
    told = [(trial._trial_id, trial.number, trial.state.name, repr(trial.params)) for trial in study.trials[before:]]
    print(json.dumps({"study": new._study_id, "trials": told}))


COMMANDS = {"fill": fill, "create": optuna.storages.RDBStorage, "start": start, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    COMMANDS[sys.argv[1]](sys.argv[2].replace("postgresql://", "postgresql+psycopg2://"))
