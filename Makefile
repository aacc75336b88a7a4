# Each target sets up what it needs by itself (scripts/setup.sh) and is quick when nothing is to do.
.PHONY: demo test build lint fmt man drawing bench lab lab-plain lab-campaign sim crash-campaign setup clean help
.DEFAULT_GOAL := help
SHELL := /bin/sh
NODE = $$(sh scripts/node-path.sh)

help:
	@echo 'make demo   the main job, end to end, narrated: pool, disk, domain 0, a guest that boots from it'
	@echo 'make test   every test of the checkout'
	@echo 'make build  bin/xvd'
	@echo 'make lint   types, style, architecture, dead code'
	@echo 'make fmt    formats the sources'
	@echo 'make bench  benchmarks beside their rivals'
	@echo 'make sim    100,000 random steps of the whole product, with kills and faults'
	@echo 'make lab    tests in emulated machines: real device-mapper, kernel NBD, Xen; 11 minutes'
	@echo 'make lab-plain   those without Xen, figures and resets'
	@echo 'make crash-campaign   1,000 times kill -9 at random moments (XVD_KILL_RUNS, XVD_KILL_SEED)'
	@echo 'make fuzz   10 minutes of mutated NBD handshakes and requests (XVD_FUZZ_SECONDS, XVD_FUZZ_SEED)'
	@echo 'make revoke-campaign   1,000 revokes under full write load (XVD_REVOKE_RUNS)'

setup:
	@sh scripts/setup.sh --system

build:
	@sh scripts/setup.sh
	@$(NODE) scripts/build.ts

test: setup
	@$(NODE) scripts/build.ts
	@$(NODE) scripts/test.ts $(FILES)

demo: setup
	@$(NODE) scripts/build.ts
	@$(NODE) demo/demo.ts

sim: setup
	@XVD_SIM_STEPS=$${XVD_SIM_STEPS:-100000} $(NODE) --test --test-name-pattern 'I1 to I4' test/sim/simulation.test.ts

lint:
	@sh scripts/setup.sh
	@$(NODE) scripts/lint.ts

fmt:
	@sh scripts/setup.sh
	@node_modules/.bin/oxfmt .

man:
	@sh scripts/setup.sh
	@$(NODE) scripts/man.ts

drawing:
	@sh scripts/setup.sh
	@$(NODE) scripts/draw-imports.ts

bench: setup
	@$(NODE) scripts/build.ts
	@sh scripts/bench.sh

crash-campaign: setup
	@$(NODE) scripts/build.ts
	@XVD_KILL_RUNS=$${XVD_KILL_RUNS:-1000} $(NODE) --test --test-timeout=14400000 test/crash/crash.test.ts

fuzz:
	@sh scripts/setup.sh
	@$(NODE) test/fuzz/fuzz.ts

revoke-campaign: setup
	@$(NODE) scripts/build.ts
	@XVD_REVOKE_RUNS=$${XVD_REVOKE_RUNS:-1000} $(NODE) --test --test-timeout=14400000 test/faults/revoke-under-load.test.ts

lab lab-plain lab-campaign: setup
	@$(NODE) scripts/build.ts
	@lab/run $@

clean:
	rm -rf dist .cache
