# nvme-stas: build, install, test. `make help` lists what there is.

PREFIX     ?= /usr
SYSCONFDIR ?= /etc
DESTDIR    ?=
# Scenarios for `make integration` and `make coverage` (none means all of them), and for `make sanitize`.
TESTS      ?=
# `make coverage` on this machine's own kernel.
NATIVE     ?=
# What `make sim` plays: one seed, or so many of them from FROM on.
SEED       ?=
N          ?= 10000
FROM       ?= 0
CARGO      ?= cargo
# rustup puts cargo there, and a shell that was open before does not know.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Where the built programs are. Set it to install what was built elsewhere.
BIN = $(or $(CARGO_TARGET_DIR),target)/release
# What the virtual machine installs.
TREE = .build/vm/tree

SBIN_PROGRAMS = stafd stacd
BIN_PROGRAMS  = stafctl stacctl stasadm nvmet cdcsim
# Programs that units start and nobody types; stacd's package builds them.
LIB_PROGRAMS  = stas-in-use
PROGRAMS      = $(addprefix $(BIN)/,$(SBIN_PROGRAMS) $(BIN_PROGRAMS) $(LIB_PROGRAMS))
UNITS         = $(wildcard systemd/*)
POLICIES      = $(wildcard etc/dbus-1/*.conf)
TMPFILES      = $(wildcard etc/tmpfiles.d/*.conf)
CONFIGURATION = $(notdir $(wildcard etc/stas/*.conf))
MAN_PAGES     = $(wildcard doc/man/*.[158])
TARGETS       = $(wildcard utils/nvmet/*.conf)
ZONES         = $(wildcard utils/cdcsim/*.conf)
DOCUMENTS     = $(wildcard README.md LICENSE)

SHARE   = $(PREFIX)/share/nvme-stas
LIB     = $(PREFIX)/lib/nvme-stas
DOC     = $(PREFIX)/share/doc/nvme-stas
UNITDIR = $(PREFIX)/lib/systemd/system
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
# The bus reads policies below /usr and /etc, and nowhere else.
DBUSDIR = $(if $(filter /usr,$(PREFIX)),$(PREFIX)/share,$(SYSCONFDIR))/dbus-1/system.d
MANDIR  = $(PREFIX)/share/man
# What stafd puts in the place of nvme-cli's rule while it runs.
RULE_OVERRIDE = /run/udev/rules.d/70-nvmf-autoconnect.rules
man_path = $(MANDIR)/man$(subst .,,$(suffix $1))/$(notdir $1)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: toolchain ## build the daemons and the tools
	$(CARGO) build --release --locked $(addprefix --package ,$(SBIN_PROGRAMS) $(BIN_PROGRAMS))

# Under sudo, which may not know cargo, what the user has built is installed as it is.
install: $(if $(or $(SUDO_UID),$(filter command line,$(origin BIN))),$(PROGRAMS),build) ## install below DESTDIR and PREFIX (/usr); edited configuration stays
	@install -D -m 755 -t '$(DESTDIR)$(PREFIX)/sbin' $(SBIN_PROGRAMS:%='$(BIN)/%')
	@install -D -m 755 -t '$(DESTDIR)$(PREFIX)/bin' $(BIN_PROGRAMS:%='$(BIN)/%')
	@install -D -m 755 -t '$(DESTDIR)$(LIB)' $(LIB_PROGRAMS:%='$(BIN)/%')
	@install -D -m 644 -t '$(DESTDIR)$(UNITDIR)' $(UNITS)
	@sed -i 's,^\(Exec[A-Za-z]*=\)/usr/\(s\?bin/sta\|lib/nvme-stas/\),\1$(PREFIX)/\2,' $(UNITS:systemd/%='$(DESTDIR)$(UNITDIR)/%')
	@install -D -m 644 -t '$(DESTDIR)$(DBUSDIR)' $(POLICIES)
	@install -D -m 644 -t '$(DESTDIR)$(TMPFILESDIR)' $(TMPFILES)
	@install -D -m 644 -t '$(DESTDIR)$(DOC)' $(DOCUMENTS)
	$(if $(TARGETS),@install -D -m 644 -t '$(DESTDIR)$(SHARE)/nvmet' $(TARGETS))
	$(if $(ZONES),@install -D -m 644 -t '$(DESTDIR)$(SHARE)/cdcsim' $(ZONES))
	@$(foreach page,$(MAN_PAGES),install -D -m 644 $(page) '$(DESTDIR)$(call man_path,$(page))' &&) true
	@$(foreach name,$(CONFIGURATION),$(call install_configuration,$(name)) &&) true
	@$(RELOAD)
	@echo 'installed below $(or $(DESTDIR)$(PREFIX),/)$(if $(DESTDIR),,; next: systemctl enable stafd stacd && systemctl restart stafd stacd)'

uninstall: ## remove what install placed; edited configuration stays
	$(if $(LIVE),@systemctl disable --quiet --now stafd.service stacd.service stas-in-use.socket 2>/dev/null || true)
	@rm -f $(SBIN_PROGRAMS:%='$(DESTDIR)$(PREFIX)/sbin/%') $(BIN_PROGRAMS:%='$(DESTDIR)$(PREFIX)/bin/%')
	@rm -f $(UNITS:systemd/%='$(DESTDIR)$(UNITDIR)/%') $(POLICIES:etc/dbus-1/%='$(DESTDIR)$(DBUSDIR)/%')
	@rm -f $(TMPFILES:etc/tmpfiles.d/%='$(DESTDIR)$(TMPFILESDIR)/%')
	@rm -f $(foreach page,$(MAN_PAGES),'$(DESTDIR)$(call man_path,$(page))')
	@$(foreach name,$(CONFIGURATION),$(call uninstall_configuration,$(name)) &&) true
	@rm -rf '$(DESTDIR)$(SHARE)' '$(DESTDIR)$(DOC)' '$(DESTDIR)$(LIB)'
	@rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(SYSCONFDIR)/stas' 2>/dev/null || true
	@$(RELOAD)

# The configuration goes first: uninstall would say of an edited file that it stays.
purge: ## uninstall, and delete edited configuration, saved state and what the daemons left in /run; disconnects nothing
	@rm -rf '$(DESTDIR)$(SYSCONFDIR)/stas'
	@$(MAKE) --no-print-directory uninstall
	@rm -rf $(foreach daemon,stafd stacd,'$(DESTDIR)/var/cache/$(daemon)' '$(DESTDIR)/run/$(daemon)') '$(DESTDIR)/run/nvme-stas'
	@for entry in '$(DESTDIR)'/run/nvme/registry/nvme*; do \
	    if grep -qsx stas "$$entry/owner"; then rm -r "$$entry"; fi; \
	done
	@if head -n 1 '$(DESTDIR)$(RULE_OVERRIDE)' 2>/dev/null | grep -q '^# Made by stafd'; then rm '$(DESTDIR)$(RULE_OVERRIDE)'; fi

# The defaults as they were installed lie below SHARE. What equals them was never edited: it follows an upgrade.
# What was edited stays, and a default that is new lies beside it as NAME.new.
define install_configuration
mine='$(DESTDIR)$(SYSCONFDIR)/stas/$1' last='$(DESTDIR)$(SHARE)/etc/$1'; \
if [ ! -e "$$mine" ] || cmp -s "$$mine" "$$last"; then \
    install -D -m 644 etc/stas/$1 "$$mine" && rm -f "$$mine.new"; \
elif ! cmp -s etc/stas/$1 "$$mine" && ! cmp -s etc/stas/$1 "$$last"; then \
    install -m 644 etc/stas/$1 "$$mine.new" && echo "$$mine: yours stays; the new default is $1.new"; \
fi && install -D -m 644 etc/stas/$1 "$$last"
endef
define uninstall_configuration
mine='$(DESTDIR)$(SYSCONFDIR)/stas/$1'; rm -f "$$mine.new"; \
if cmp -s "$$mine" '$(DESTDIR)$(SHARE)/etc/$1'; then rm "$$mine"; \
elif [ -e "$$mine" ]; then echo "$$mine: edited, stays"; fi
endef

# On a host that runs, systemd and the bus are told.
LIVE   := $(if $(DESTDIR),,$(wildcard /run/systemd/system))
RELOAD = $(if $(LIVE),systemctl daemon-reload && busctl --quiet call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig,true)

$(PROGRAMS):
	$(MAKE) build

test: toolchain ## everything that needs no virtual machine
	@tests/need systemd=systemd-analyze dbus=dbus-daemon procps=/bin/kill python3=python3
	python3 -B -m unittest discover --buffer --start-directory tests/vm/unit
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) test --locked --workspace --doc --quiet && $(CARGO) nextest run --locked --workspace --no-fail-fast; \
	else $(CARGO) test --locked --workspace --no-fail-fast; fi

sim: toolchain ## the simulated world: SEED=n tells the story of one seed, N=n plays so many
	$(CARGO) run --quiet --locked --profile sim -p sim -- $(or $(SEED),--count $(N) --from $(FROM))

fuzz: toolchain ## fuzz each parser of foreign bytes for FUZZ_SECONDS (60); FUZZ="name name" for some of them
	SECONDS_EACH=$(or $(FUZZ_SECONDS),60) tests/fuzz/run $(FUZZ)

integration: scenarios tree ## the scenarios in the virtual machine; TESTS="name name" for some of them, WITHIN=SECONDS: begin none after that
	tests/vm/run $(if $(WITHIN),--within $(WITHIN)) $(TESTS)

# A misspelt name is told before anything is built.
scenarios:
	@tests/need python3=python3
	@tests/vm/run --list $(filter-out none,$(TESTS)) >/dev/null

coverage: scenarios toolchain ## which lines the tests run, by file: TESTS="name name" for some scenarios; NATIVE=1: on this machine's own kernel
	@tests/need systemd=systemd-analyze dbus=dbus-daemon procps=/bin/kill binutils=strip python3=python3
	NATIVE='$(NATIVE)' tests/coverage $(TESTS)

sanitize: toolchain ## look for leaks and misused memory; TESTS="name name" for some scenarios, none for no machine
	@tests/need systemd=systemd-analyze dbus=dbus-daemon procps=/bin/kill binutils=addr2line python3=python3
	tests/sanitize $(TESTS)

# What one fails does not keep the next from being run.
nightly: tree ## what takes hours: every scenario, long lives, random kills, a million seeds, every parser fuzzed
	@failed=0; run() { echo "=== $$*"; "$$@" || { failed=$$((failed + 1)); echo "=== FAILED: $$*"; }; }; \
	run env DROPPED=200 KILLING=600 EVENTS=10000 SILENT=connect STARTS=3 tests/vm/run; \
	run env ENDURE=100000 $(CARGO) test --locked --profile sim -p sim --test endurance; \
	run env HOSTS=100000 $(CARGO) test --locked --profile sim -p sim --test herd -- --nocapture; \
	run $(MAKE) sim N=1000000; \
	run $(MAKE) fuzz FUZZ_SECONDS=60; \
	run $(MAKE) coverage; \
	run $(MAKE) sanitize; \
	echo "$$failed failed"; [ $$failed = 0 ]

demo: demo-plan tree ## boot a virtual machine, install, and watch the life of a connection
	tests/vm/demo

demo-plan:
	@echo 'make demo: 1. builds the programs (the first time, 5 to 15 minutes on two processors)'
	@echo '           2. makes a virtual machine (the first time, 1 to 5 minutes; 400 MB from a Debian mirror)'
	@echo '           3. boots it, installs, and shows the demonstration (half a minute; emulated 1 to 15 minutes)'

tree: build
	@rm -rf $(TREE)
	@$(MAKE) --no-print-directory install DESTDIR=$(TREE) BIN='$(BIN)'

man: toolchain ## write the manual pages in doc/man anew, from what they describe
	$(CARGO) run --quiet --locked -p manual

clean: ## remove what was built, also the virtual machine
	rm -rf target .build results

toolchain:
	@tests/need gcc=cc libc6-dev=/usr/include/stdio.h pkg-config=pkg-config libudev-dev=libudev.pc
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust as https://rustup.rs says, then run this again' >&2; exit 1; }

.DEFAULT_GOAL = build
.PHONY: help build install uninstall purge test sim fuzz integration scenarios coverage sanitize nightly demo demo-plan tree man clean toolchain
