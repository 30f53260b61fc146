# make demo   the environment, then check, train and suggestions on the sample lab
# make test   the environment, then every check and test
# make env    the environment alone, in .venv
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test env lint clean

env: $(STAMP)

# Rebuilt only when what is asked for has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skillmatch needs Python 3.11 or newer: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: env
	$(BIN)/skillmatch check
	$(BIN)/skillmatch train
	$(BIN)/skillmatch suggest "Porter notre code de reconstruction sur GPU et réduire le temps de calcul par un facteur dix" --from-lab LAC --top 5
	$(BIN)/skillmatch suggest "Our Ceph cluster is slow after we added disks; we need someone to tune recovery and placement" --from-lab LAC --top 5
	$(BIN)/skillmatch suggest --project P03 --top 5
	$(BIN)/skillmatch batch data/projects.csv --top 2

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile

clean:
	rm -rf .venv models/versions models/encoders models/cache models/CURRENT models/history.jsonl
