//! Settings that ask for encrypted connections, which this version does not support.

use crate::conf::{stacd, stafd};
use stas_nvme::security::{Obstacle, Requirement, Tls};

const LINE: &str = "controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a";

/// The obstacle of the only controller of a stacd.conf, and whether an error names this line.
fn controller(text: &str, line: usize) -> (Option<Obstacle>, bool) {
    let (conf, complaints) = stacd::parse(text.as_bytes(), "stacd.conf");
    assert!(conf.lost_line.is_none(), "the line is understood: it holds no removal back");
    let [entry] = conf.controllers.as_slice() else { panic!("{text}") };
    let is_reported = |c: &crate::conf::Complaint| c.severity.is_error() && c.line == line && c.text.contains("TLS");
    (entry.parameters.over(&conf.parameters).obstacle(), complaints.iter().any(is_reported))
}

#[test]
fn a_controller_that_asks_for_tls_is_not_connected_and_its_line_is_named() {
    for key in ["tls=true", "tls=yes", "TLS=True", "tls-key=0x1234", "tls_key=1", "keyring=.nvme", "concat=true"] {
        let told = controller(&format!("[Controllers]\n{LINE};{key}\n"), 2);
        assert_eq!(told, (Some(Obstacle::Configured), true), "{key}");
    }
    for key in ["tls=false", "tls=auto", "tls=", "concat=false", "kato=9"] {
        assert_eq!(controller(&format!("[Controllers]\n{LINE};{key}\n"), 2), (None, false), "{key}");
    }
}

#[test]
fn tls_for_all_controllers_of_a_file_holds_but_for_those_that_say_otherwise() {
    for key in ["tls=true", "tls=on", "tls-key=1", "keyring=.nvme", "concat=true"] {
        let text = |own| format!("[Global]\n{key}\n[Controllers]\n{LINE}{own}\n");
        assert_eq!(controller(&text(""), 2), (Some(Obstacle::Configured), true), "{key}");
        assert_eq!(controller(&text(";tls=false"), 2), (None, true), "{key}");
        let (conf, _) = stafd::parse(text("").as_bytes(), "stafd.conf");
        assert_eq!(conf.parameters.tls, Some(Tls::Required(Requirement::Configured)), "{key}");
    }
}

#[test]
fn a_tls_key_in_the_file_is_not_shown() {
    let text = format!("[Controllers]\n{LINE};tls-key=NVMeTLSkey-1:01:ia6zGodOr4SEG0Zz:\n");
    let (_, complaints) = stacd::parse(text.as_bytes(), "f");
    assert!(!complaints.is_empty() && complaints.iter().all(|told| !told.text.contains("ia6z")), "{complaints:?}");
}

#[test]
fn tls_that_is_misspelled_or_in_the_wrong_place_holds_all_the_same() {
    for text in [
        "[Globl]\ntls=true\n",
        "[Glob\ntls=true\n",
        "tls=true\n",
        "[Global]\ntsl=true\n",
        "[Global]\ntls_=true\n",
        "[Nonsense]\nTLS=true\n",
    ] {
        let (conf, _) = stacd::parse(format!("{text}[Controllers]\n{LINE}\n").as_bytes(), "stacd.conf");
        assert_eq!(conf.parameters.obstacle(), Some(Obstacle::Configured), "{text}");
    }
    for text in ["[Globl]\ntls=false\n", "[Global]\ntos=4\n", "[Nonsense]\nkato=4\n"] {
        let (conf, _) = stacd::parse(format!("{text}[Controllers]\n{LINE}\n").as_bytes(), "stacd.conf");
        assert_eq!(conf.parameters.obstacle(), None, "{text}");
    }
    let (conf, _) = stacd::parse(format!("[Controllers]\n{LINE};tsl=true\n").as_bytes(), "stacd.conf");
    assert_eq!(conf.controllers[0].parameters.obstacle(), Some(Obstacle::Configured));
}
