//! The simulated world: the real cores of stafd and stacd in one process. A seed decides everything around them. There
//! is no clock, no thread and no file: the same seed always gives the same run.
//!
//! A [`plan::Plan`] contains the actions of a run: targets fail and return, packets are lost, the administrator edits
//! files, daemons are killed. [`run::play`] performs it around the cores and checks the [`invariants`] after each step.
//! If a plan breaks one, [`run::shrink`] finds the smallest plan that still does.
//!
//! | file | what |
//! |---|---|
//! | rng | pseudo-random numbers from the seed |
//! | names, files | targets, subsystems and interfaces; the configuration files |
//! | plan, wider, display | the actions of a run, and their description |
//! | world | the event queue |
//! | process | the daemons as processes: start, save, freeze, stop, kill |
//! | kernel | controllers, the single connect path, reconnects, events |
//! | keys | DH-HMAC-CHAP keys of host and targets |
//! | fabric | targets, their log pages and their state |
//! | mdns_actions, mdns | announced discovery controllers, the mDNS network and the browser |
//! | boot | the connections of the firmware, and its boot table |
//! | host, bus | effects of the cores on the host and on the bus |
//! | actions | performs the actions of the plan |
//! | invariants | the invariants in words |
//! | oracle, mdns_oracle | what the daemons were told, and which removals it proves |
//! | checks, convergence | checks of the invariants: at each step, and at the end |
//! | stale_pages | whether stafd signals that a page is stale |
//! | mutants | known bugs, reintroduced between a core and the world |
//! | soak | both daemons for as long as wanted: their memory must not grow |
//! | run | a whole run, and the search for the smallest failing plan |

mod actions;
pub mod boot;
mod bus;
mod checks;
mod convergence;
pub mod display;
mod fabric;
pub mod files;
mod host;
pub mod invariants;
mod kernel;
mod keys;
mod mdns;
pub mod mdns_actions;
mod mdns_oracle;
pub mod mutants;
pub mod names;
mod oracle;
pub mod plan;
mod process;
pub mod report;
pub mod rng;
pub mod run;
pub mod soak;
mod stale_pages;
mod wider;
pub mod world;
