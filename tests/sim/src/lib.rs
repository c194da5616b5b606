//! The simulated world: the real cores of stafd and stacd in one process. A seed decides everything around them. There
//! is no clock, no thread and no file: the same seed always gives the same story.
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
//! | fabric | targets, their log pages and their state |
//! | announcing, mdns | announced discovery controllers, the mDNS network and the browser |
//! | boot | the connections of the firmware, and its boot table |
//! | host, bus | effects of the cores on the host and on the bus |
//! | actions | performs the actions of the plan |
//! | invariants | the invariants in words |
//! | judge, announced, judging, ends | checks of the invariants: reports to the daemons, announcements, disconnects, the
//! end |
//! | sabotage | known bugs, reintroduced between a core and the world |
//! | endurance | both daemons for as long as wanted: their memory must not grow |
//! | run | a whole run, and the search for the smallest failing plan |

mod actions;
mod announced;
pub mod announcing;
pub mod boot;
mod bus;
pub mod display;
mod ends;
pub mod endurance;
mod fabric;
pub mod files;
mod host;
pub mod invariants;
mod judge;
mod judging;
mod kernel;
mod mdns;
pub mod names;
pub mod plan;
mod process;
pub mod report;
pub mod rng;
pub mod run;
pub mod sabotage;
mod wider;
pub mod world;
