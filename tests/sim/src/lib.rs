//! The simulated world: the real cores of stafd and stacd in one process, with everything around them decided by a
//! seed. No clock, no thread, no file: the same seed is the same story, always.
//!
//! A [`plan::Plan`] says what happens: targets come and go, packets get lost, the administrator edits, daemons are
//! killed. [`run::play`] lets it happen around the cores and checks the [`invariants`] after each step; when a plan
//! breaks one, [`run::shrink`] finds the smallest story that still does.
//!
//! | file | what |
//! |---|---|
//! | dice | the numbers that a seed decides |
//! | names, files | targets, subsystems and interfaces; the configuration files |
//! | plan, wider, words | what happens, and its words for the story |
//! | world | the queue of what happens next |
//! | process | the daemons as processes: start, save, freeze, stop, kill |
//! | kernel | controllers, the one connect lane, re-connecting, events |
//! | fabric | targets, their log pages, how they are |
//! | announcing, air | discovery controllers that announce themselves, and the browser that hears them |
//! | boot | what the firmware connected, and its boot table |
//! | host, bus | what the cores ask of the host and of the bus, carried out |
//! | deeds | what the plan has happen, carried out |
//! | invariants | what always holds, in words |
//! | judge, heard, judging, ends | the same in code: what a daemon was told, each disconnect, the end |
//! | sabotage | known bugs, put back between a core and the world |
//! | endurance | one life of both daemons, as long as wanted: what they still know afterwards |
//! | run | a run from beginning to end, and its smallest story |

mod air;
pub mod announcing;
pub mod boot;
mod bus;
mod deeds;
pub mod dice;
mod ends;
pub mod endurance;
mod fabric;
pub mod files;
mod heard;
mod host;
pub mod invariants;
mod judge;
mod judging;
mod kernel;
pub mod names;
pub mod plan;
mod process;
pub mod report;
pub mod run;
pub mod sabotage;
mod wider;
pub mod words;
pub mod world;
