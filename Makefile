# nvme-stas: build, install, test. `make help` lists the targets.

PREFIX     ?= /usr
SYSCONFDIR ?= /etc
DESTDIR    ?=
# Directories that differ between distributions. Fedora: SBINDIR=/usr/bin LIBEXECDIR=/usr/libexec/nvme-stas.
SBINDIR    ?= $(PREFIX)/sbin
BINDIR     ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/lib/nvme-stas
DATADIR    ?= $(PREFIX)/share/nvme-stas
DOCDIR     ?= $(PREFIX)/share/doc/nvme-stas
MANDIR     ?= $(PREFIX)/share/man
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR     ?= $(PREFIX)/share/zsh/site-functions
FISHDIR    ?= $(PREFIX)/share/fish/vendor_completions.d
UNITDIR    ?= $(PREFIX)/lib/systemd/system
PRESETDIR  ?= $(PREFIX)/lib/systemd/system-preset
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
# The message bus reads policies only below /usr and /etc.
DBUSDIR    ?= $(if $(filter /usr,$(PREFIX)),$(PREFIX)/share,$(SYSCONFDIR))/dbus-1/system.d
# Names of scenarios, for `make integration`, `make coverage` and `make sanitize`. Empty: the default of each command.
TESTS      ?=
# NATIVE=1: `make coverage` uses the kernel of this machine instead of the virtual machine.
NATIVE     ?=
# Seeds for `make sim`: one seed (SEED), or N seeds beginning with FROM.
SEED       ?=
N          ?= 10000
FROM       ?= 0
CARGO      ?= cargo
# rustup installs cargo there. A shell that was started earlier does not have the folder in its PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Folder of the built programs. Set it to install programs that were built elsewhere.
BIN = $(or $(CARGO_TARGET_DIR),target)/release
# Install tree for the virtual machine.
TREE = .build/vm/tree

SBIN_PROGRAMS = stafd stacd
BIN_PROGRAMS  = stafctl stacctl stasadm nvmet cdcsim
# Programs that only units start. Cargo builds the first three with the packages stafd and stacd.
LIB_PROGRAMS  = stas-admin stas-in-use stas-udev-rule stas-net
PROGRAMS      = $(addprefix $(BIN)/,$(SBIN_PROGRAMS) $(BIN_PROGRAMS) $(LIB_PROGRAMS))
UNITS         = $(wildcard systemd/*)
POLICIES      = $(wildcard etc/dbus-1/*.conf)
TMPFILES      = $(wildcard etc/tmpfiles.d/*.conf)
PRESETS       = $(wildcard etc/system-preset/*.preset)
CONFIGURATION = $(notdir $(wildcard etc/stas/*.conf))
MAN_PAGES     = $(wildcard doc/man/*.[1578])
BASH_SCRIPTS  = $(wildcard doc/completion/*.bash)
ZSH_SCRIPTS   = $(wildcard doc/completion/_*)
FISH_SCRIPTS  = $(wildcard doc/completion/*.fish)
TARGETS       = $(wildcard utils/nvmet/*.conf)
ZONES         = $(wildcard utils/cdcsim/*.conf)
# `make dist` writes the licences of the crates.
DOCUMENTS     = $(wildcard README.md LICENSE THIRD-PARTY-LICENSES doc/*.rules.yml)

# The udev rule by which stafd overrides nvme-cli's rule while it runs.
RULE_OVERRIDE = /run/udev/rules.d/70-nvmf-autoconnect.rules
man_path = $(MANDIR)/man$(subst .,,$(suffix $1))/$(notdir $1)

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: toolchain ## build the daemons and the tools
	$(CARGO) build --release --locked $(addprefix --package ,$(SBIN_PROGRAMS) $(BIN_PROGRAMS) stas-net)

# Under sudo, cargo is often not in the PATH: then the programs are installed as they were built before.
install: $(if $(or $(SUDO_UID),$(filter command line,$(origin BIN))),$(PROGRAMS),build) ## install below DESTDIR and PREFIX (/usr); edited configuration files are kept
	@install -D -m 755 -t '$(DESTDIR)$(SBINDIR)' $(SBIN_PROGRAMS:%='$(BIN)/%')
	@install -D -m 755 -t '$(DESTDIR)$(BINDIR)' $(BIN_PROGRAMS:%='$(BIN)/%')
	@install -D -m 755 -t '$(DESTDIR)$(LIBEXECDIR)' $(LIB_PROGRAMS:%='$(BIN)/%')
	@install -D -m 644 -t '$(DESTDIR)$(UNITDIR)' $(UNITS)
	@sed -i -e 's,^\(Exec[A-Za-z]*=[-+!:@]*\)/usr/sbin/sta,\1$(SBINDIR)/sta,' \
	    -e 's,^\(Exec[A-Za-z]*=[-+!:@]*\)/usr/bin/sta,\1$(BINDIR)/sta,' \
	    -e 's,^\(Exec[A-Za-z]*=[-+!:@]*\)/usr/lib/nvme-stas/,\1$(LIBEXECDIR)/,' $(UNITS:systemd/%='$(DESTDIR)$(UNITDIR)/%')
	@install -D -m 644 -t '$(DESTDIR)$(DBUSDIR)' $(POLICIES)
	@install -D -m 644 -t '$(DESTDIR)$(TMPFILESDIR)' $(TMPFILES)
	@install -D -m 644 -t '$(DESTDIR)$(PRESETDIR)' $(PRESETS)
	@install -D -m 644 -t '$(DESTDIR)$(DOCDIR)' $(DOCUMENTS)
	$(if $(TARGETS),@install -D -m 644 -t '$(DESTDIR)$(DATADIR)/nvmet' $(TARGETS))
	$(if $(ZONES),@install -D -m 644 -t '$(DESTDIR)$(DATADIR)/cdcsim' $(ZONES))
	@$(foreach page,$(MAN_PAGES),install -D -m 644 $(page) '$(DESTDIR)$(call man_path,$(page))' &&) true
	@$(foreach script,$(BASH_SCRIPTS),install -D -m 644 $(script) '$(DESTDIR)$(BASHDIR)/$(basename $(notdir $(script)))' &&) true
	$(if $(ZSH_SCRIPTS),@install -D -m 644 -t '$(DESTDIR)$(ZSHDIR)' $(ZSH_SCRIPTS))
	$(if $(FISH_SCRIPTS),@install -D -m 644 -t '$(DESTDIR)$(FISHDIR)' $(FISH_SCRIPTS))
	@$(foreach name,$(CONFIGURATION),$(call install_configuration,$(name)) &&) true
	@$(RELOAD)
	@echo 'installed below $(or $(DESTDIR)$(PREFIX),/)$(if $(DESTDIR),,; next: systemctl enable stafd stacd && systemctl restart stafd stacd)'

uninstall: ## remove what install placed; edited configuration files are kept
	$(if $(LIVE),@systemctl disable --quiet --now stafd.service stacd.service stas-admin.socket stas-in-use.socket stas-net.socket stas-metrics.timer stas-alert.service 2>/dev/null || true)
	@rm -f $(SBIN_PROGRAMS:%='$(DESTDIR)$(SBINDIR)/%') $(BIN_PROGRAMS:%='$(DESTDIR)$(BINDIR)/%')
	@rm -f $(UNITS:systemd/%='$(DESTDIR)$(UNITDIR)/%') $(POLICIES:etc/dbus-1/%='$(DESTDIR)$(DBUSDIR)/%')
	@rm -f $(TMPFILES:etc/tmpfiles.d/%='$(DESTDIR)$(TMPFILESDIR)/%') $(PRESETS:etc/system-preset/%='$(DESTDIR)$(PRESETDIR)/%')
	@rm -f $(foreach page,$(MAN_PAGES),'$(DESTDIR)$(call man_path,$(page))')
	@rm -f $(BASH_SCRIPTS:doc/completion/%.bash='$(DESTDIR)$(BASHDIR)/%') $(ZSH_SCRIPTS:doc/completion/%='$(DESTDIR)$(ZSHDIR)/%') \
	    $(FISH_SCRIPTS:doc/completion/%='$(DESTDIR)$(FISHDIR)/%')
	@$(foreach name,$(CONFIGURATION),$(call uninstall_configuration,$(name)) &&) true
	@rm -f $(LIB_PROGRAMS:%='$(DESTDIR)$(LIBEXECDIR)/%') $(foreach file,$(notdir $(DOCUMENTS)),'$(DESTDIR)$(DOCDIR)/$(file)')
	@rm -f $(foreach file,$(TARGETS:utils/%=%) $(ZONES:utils/%=%) $(CONFIGURATION:%=etc/%),'$(DESTDIR)$(DATADIR)/$(file)')
	@# These directories may be set to directories that others use, too.
	@rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(SYSCONFDIR)/stas' '$(DESTDIR)$(DATADIR)/nvmet' '$(DESTDIR)$(DATADIR)/cdcsim' \
	    '$(DESTDIR)$(DATADIR)/etc' '$(DESTDIR)$(DATADIR)' '$(DESTDIR)$(DOCDIR)' '$(DESTDIR)$(LIBEXECDIR)' 2>/dev/null || true
	@$(RELOAD)

# The configuration is deleted first: otherwise uninstall would report that edited files are kept.
purge: ## uninstall, and delete edited configuration files, saved state and the daemons' files in /run; disconnects nothing
	@rm -rf '$(DESTDIR)$(SYSCONFDIR)/stas'
	@$(MAKE) --no-print-directory uninstall
	@rm -rf $(foreach daemon,stafd stacd,'$(DESTDIR)/var/cache/$(daemon)' '$(DESTDIR)/run/$(daemon)') '$(DESTDIR)/run/nvme-stas'
	@for entry in '$(DESTDIR)'/run/nvme/registry/nvme*; do \
	    if grep -qsx stas "$$entry/owner"; then rm -r "$$entry"; fi; \
	done
	@if head -n 1 '$(DESTDIR)$(RULE_OVERRIDE)' 2>/dev/null | grep -q '^# Made by stafd'; then rm '$(DESTDIR)$(RULE_OVERRIDE)'; fi

# DATADIR/etc contains the defaults as they were installed. A file in /etc/stas that equals its default was not edited:
# an upgrade replaces it. An edited file is kept; if the default has changed, it is installed beside it as NAME.new.
# A file that was deleted after it had been installed is not created again, and a link is never replaced: the daemons
# keep the last good configuration, and a default in its place would remove all controllers that were configured.
define install_configuration
mine='$(DESTDIR)$(SYSCONFDIR)/stas/$1' last='$(DESTDIR)$(DATADIR)/etc/$1'; \
if [ ! -L "$$mine" ] && { cmp -s "$$mine" "$$last" || ! { [ -e "$$mine" ] || [ -e "$$last" ]; }; }; then \
    install -D -m 644 etc/stas/$1 "$$mine" && rm -f "$$mine.new"; \
elif [ ! -e "$$mine" ]; then \
    install -D -m 644 etc/stas/$1 "$$mine.new" && \
    echo "$$mine: missing, and not created: running daemons keep the last good configuration; the default is $1.new"; \
elif ! cmp -s etc/stas/$1 "$$mine" && ! cmp -s etc/stas/$1 "$$last"; then \
    install -m 644 etc/stas/$1 "$$mine.new" && echo "$$mine: yours stays; the new default is $1.new"; \
fi && install -D -m 644 etc/stas/$1 "$$last"
endef
define uninstall_configuration
mine='$(DESTDIR)$(SYSCONFDIR)/stas/$1'; rm -f "$$mine.new"; \
if cmp -s "$$mine" '$(DESTDIR)$(DATADIR)/etc/$1'; then rm "$$mine"; \
elif [ -e "$$mine" ]; then echo "$$mine: edited, stays"; fi
endef

# If this installs into the running host, systemd and the message bus read their files again.
LIVE   := $(if $(DESTDIR),,$(wildcard /run/systemd/system))
RELOAD = $(if $(LIVE),systemctl daemon-reload && busctl --quiet call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig,true)

$(PROGRAMS):
	$(MAKE) build

dist: toolchain ## source tarball with vendored crates and their licences, in .build/dist
	packaging/dist

deb: $(if $(filter command line,$(origin BIN)),$(PROGRAMS),build) ## package for Debian and Ubuntu, in .build/deb
	BIN='$(abspath $(BIN))' packaging/deb
	@mkdir -p .build/vm && cp .build/deb/nvme-stas_*.deb .build/vm/nvme-stas.deb # what the virtual machine sees

rpm: dist $(if $(filter command line,$(origin BIN)),$(PROGRAMS),build) ## binary and source package for Fedora and SUSE, in .build/rpm
	BIN='$(abspath $(BIN))' packaging/rpm

test: toolchain ## run all tests that need no virtual machine
	@tests/need systemd=systemd-analyze dbus=dbus-daemon procps=/bin/kill python3=python3
	python3 -B -m unittest discover --buffer --start-directory tests/vm/unit
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) test --locked --workspace --doc --quiet && $(CARGO) nextest run --locked --workspace --no-fail-fast; \
	else $(CARGO) test --locked --workspace --no-fail-fast; fi

sim: toolchain ## run the simulated world: N=n seeds (10000), or SEED=n to print the events of one seed
	$(CARGO) run --quiet --locked --profile sim -p sim -- $(or $(SEED),--count $(N) --from $(FROM))

deny: toolchain ## check the dependencies: licences, known vulnerabilities, duplicates, sources (deny.toml)
	tests/deny

fuzz: toolchain ## fuzz each parser of external data for FUZZ_SECONDS (60); FUZZ="name name": only these parsers
	SECONDS_EACH=$(or $(FUZZ_SECONDS),60) tests/fuzz/run $(FUZZ)

integration: scenarios tree ## run the scenarios in the virtual machine; TESTS="name name": only these, WITHIN=SECONDS: start none later than that
	tests/vm/run $(if $(WITHIN),--within $(WITHIN)) $(TESTS)

# A misspelt name is reported before anything is built.
scenarios:
	@tests/need python3=python3
	@tests/vm/run --list $(filter-out none,$(TESTS)) >/dev/null

coverage: scenarios toolchain ## measure which lines the tests run; TESTS="name name": only these scenarios, NATIVE=1: use this machine's kernel
	@tests/need systemd=systemd-analyze dbus=dbus-daemon procps=/bin/kill binutils=strip python3=python3
	NATIVE='$(NATIVE)' tests/coverage $(TESTS)

sanitize: toolchain ## find memory errors and leaks; TESTS="name name": only these scenarios, TESTS=none: without virtual machine
	@tests/need systemd=systemd-analyze dbus=dbus-daemon procps=/bin/kill binutils=addr2line python3=python3
	tests/sanitize $(TESTS)

# After a failure the next step is run.
nightly: tree ## run the tests that take hours: all scenarios, long runs, random kills, 100,000 new seeds, fuzzing
	@failed=0; run() { echo "=== $$*"; "$$@" || { failed=$$((failed + 1)); echo "=== FAILED: $$*"; }; }; \
	run $(MAKE) deb; \
	run env DROPPED=200 FLOOD=600 KILLING=600 EVENTS=10000 STARTS=3 tests/vm/run; \
	run env ENDURE=100000 $(CARGO) test --locked --profile sim -p sim --test soak; \
	run env HOSTS=100000 $(CARGO) test --locked --profile sim -p sim --test herd -- --nocapture; \
	run $(MAKE) sim N=100000 FROM=$$(date +%s)00000; \
	run $(MAKE) fuzz FUZZ_SECONDS=60; \
	run $(MAKE) coverage; \
	run $(MAKE) sanitize; \
	echo "$$failed failed"; [ $$failed = 0 ]

demo: demo-plan tree ## boot a virtual machine, install, and show how connections are made and removed
	tests/vm/demo

demo-plan:
	@echo 'make demo: 1. builds the programs (the first time, 2 to 15 minutes)'
	@echo '           2. makes a virtual machine (the first time, 1 to 5 minutes; 400 MB from a Debian mirror)'
	@echo '           3. boots it, installs, and shows the demonstration (half a minute; emulated 1 to 15 minutes)'

tree: build
	@rm -rf $(TREE)
	@$(MAKE) --no-print-directory install DESTDIR=$(TREE) BIN='$(BIN)'

man: toolchain ## write the manual pages in doc/man and the completion scripts in doc/completion
	$(CARGO) run --quiet --locked -p manual

clean: ## remove everything that was built, including the virtual machine
	rm -rf target .build results

toolchain:
	@tests/need gcc=cc libc6-dev=/usr/include/stdio.h pkg-config=pkg-config libudev-dev=libudev.pc
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust as https://rustup.rs says, then run this again' >&2; exit 1; }

.DEFAULT_GOAL = build
.PHONY: help build install uninstall purge dist deb rpm test sim deny fuzz integration scenarios coverage sanitize nightly demo demo-plan tree man clean toolchain
