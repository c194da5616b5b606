//! What users are promised of sys.conf, sentence by sentence.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use stas_nvme::HostIdentity;

const NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:01234567-0123-4123-8123-0123456789ab";
const ID: &str = "01234567-0123-4123-8123-0123456789ab";
const SECRET: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

/// A simulated file system. All other files are missing, and `/locked` cannot be read.
fn files<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Result<Option<String>, String> + 'a {
    move |path| match path {
        "/locked" => Err("Permission denied".to_owned()),
        _ => Ok(files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())),
    }
}

const USUAL: &[(&str, &str)] = &[("/etc/nvme/hostnqn", NQN), ("/etc/nvme/hostid", ID)];

#[track_caller]
fn conf(text: &str) -> SysConf {
    let (conf, complaints) = parse(text.as_bytes(), "sys.conf");
    assert_eq!(complaints, [], "{text}");
    conf
}

#[track_caller]
fn identity(text: &str, world: &[(&str, &str)]) -> HostIdentity {
    let (identity, complaints) = conf(text).identity(files(world)).unwrap();
    assert_eq!(complaints, [], "{text}");
    identity
}

#[track_caller]
fn fatal(text: &str, world: &[(&str, &str)]) -> String {
    let error = conf(text).identity(files(world)).unwrap_err().to_string();
    assert!(error.contains("`stasadm "), "{error}");
    error
}

/// The only complaint about a valid identity, and the identity.
#[track_caller]
fn complaint(text: &str, world: &[(&str, &str)]) -> (String, HostIdentity) {
    let (identity, complaints) = conf(text).identity(files(world)).unwrap();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    (complaints[0].to_string(), identity)
}

#[test]
fn an_empty_file_means_the_three_files_of_nvme_cli() {
    let usual = SysConf {
        file: "sys.conf".to_owned(),
        nqn: Value::File("/etc/nvme/hostnqn".into()),
        id: Value::File("/etc/nvme/hostid".into()),
        key: Value::File("/etc/nvme/hostkey".into()),
        symname: None,
    };
    assert_eq!(conf(""), usual);
    assert_eq!(SysConf::default(), usual);
}

#[test]
fn a_value_stands_in_sys_conf_or_is_the_first_word_of_a_file() {
    let text = format!("[Host]\nnqn=file:///n\nid={ID}\nkey=file:///k\nsymname=My big host\n");
    let identity = identity(&text, &[("/n", &format!("\n  {NQN} and more\n")), ("/k", &format!("{SECRET}\n"))]);
    assert_eq!(identity.nqn, NQN);
    assert_eq!(identity.id, ID);
    assert_eq!(identity.key, Some(Secret::new(SECRET)));
    assert_eq!(identity.symname.as_deref(), Some("My big host"));
}

#[test]
fn a_missing_key_and_a_missing_symbolic_name_are_fine() {
    let identity = identity("[Host]\nsymname=file:///nobody\n", USUAL);
    assert_eq!((identity.key, identity.symname), (None, None));
}

#[test]
fn a_missing_nqn_or_id_is_fatal_and_the_message_says_stasadm() {
    assert_eq!(
        fatal("", &[]),
        "this host has no valid NQN: /etc/nvme/hostnqn: it is missing or empty; \
         `stasadm hostnqn -f /etc/nvme/hostnqn` creates one"
    );
    let no_id = fatal("[Host]\nid=file:///etc/id", &[("/etc/nvme/hostnqn", NQN), ("/etc/id", " \n")]);
    assert!(no_id.contains("no valid ID: /etc/id") && no_id.contains("`stasadm hostid -f /etc/id`"), "{no_id}");
    assert!(fatal("[Host]\nnqn=file:///locked", USUAL).contains("/locked: it cannot be read: Permission denied"));
}

#[test]
fn an_nqn_starts_with_nqn_and_has_at_most_223_bytes() {
    let longest = format!("nqn.{}", "x".repeat(219));
    assert_eq!(identity(&format!("[Host]\nnqn={longest}"), USUAL).nqn, longest);
    assert!(fatal(&format!("[Host]\nnqn={longest}x"), USUAL).contains("224 bytes"));
    assert!(fatal("[Host]\nnqn=iqn.2014-08.org", USUAL).contains("\"iqn.2014-08.org\" does not start with nqn."));
    assert!(fatal("[Host]\nnqn=nqn.a,hostid=b", USUAL).contains("comma"));
    assert!(fatal("[Host]\nnqn=iqn", USUAL).contains("`stasadm hostnqn -f /etc/nvme/hostnqn`"));
}

#[test]
fn an_id_is_a_uuid_and_is_given_to_the_kernel_in_its_form() {
    let shouted = ID.to_ascii_uppercase();
    assert_eq!(identity(&format!("[Host]\nid={shouted}"), USUAL).id, ID);
    assert_eq!(identity(&format!("[Host]\nid={}", ID.replace('-', "")), USUAL).id, ID);
    assert!(fatal("[Host]\nid=7", USUAL).contains("\"7\" is not a UUID"));
    assert!(fatal("[Host]\nid=00000000-0000-0000-0000-000000000000", USUAL).contains("zeros"));
}

#[test]
fn a_malformed_key_is_reported_withheld_and_never_shown() {
    let bad = SECRET.replacen("ia6z", "ia6y", 1);
    let (told, identity) = complaint("", &[USUAL, &[("/etc/nvme/hostkey", &bad)]].concat());
    assert!(identity.key.is_some_and(|key| key.is_withheld()));
    assert!(told.starts_with("/etc/nvme/hostkey: ") && told.contains("checksum"), "{told}");
    assert!(!told.contains("ia6y"));
    let conf = conf(&format!("[Host]\nkey={bad}"));
    assert!(!format!("{conf:?}").contains("ia6y"));
    assert!(!format!("{:?}", conf.identity(files(USUAL))).contains("ia6y"));
    let (told, identity) = complaint("[Host]\nkey=file:///locked", USUAL);
    assert!(identity.key.is_some_and(|key| key.is_withheld()));
    assert!(told.starts_with("/locked: ") && told.contains("Permission denied"), "{told}");
}

#[test]
fn a_symbolic_name_that_does_not_fit_is_reported_and_left_out() {
    let (told, identity) = complaint(&format!("[Host]\nsymname={}", "x".repeat(257)), USUAL);
    assert_eq!(identity.symname, None);
    assert!(told.contains("257 bytes"), "{told}");
}

#[test]
fn a_path_that_does_not_start_at_the_root_is_a_warning_and_the_default() {
    let (conf, complaints) = parse(b"[Host]\nnqn=file://hostnqn", "sys.conf");
    assert_eq!(conf, SysConf::default());
    assert_eq!(complaints.len(), 1);
    assert!(complaints[0].text.contains("the default file:///etc/nvme/hostnqn is used"), "{complaints:?}");
}

#[test]
fn setting_a_value_keeps_comments_and_order() {
    let before = "# mine\n[Other]\nnqn=1\n\n[Host]\n; the NQN\nNQN = old\n# between\nid=2\n";
    let after = "# mine\n[Other]\nnqn=1\n\n[Host]\n; the NQN\nnqn=new\n# between\nid=2\n";
    assert_eq!(set_value(before, "nqn", "new").unwrap(), after);
}

#[test]
fn a_new_value_is_written_below_the_commented_one() {
    let before = "[Host]\n# The name.\n#symname=\n\n# The key.\n#key=file:///etc/nvme/hostkey\n";
    let after = "[Host]\n# The name.\n#symname=\nsymname=blue\n\n# The key.\n#key=file:///etc/nvme/hostkey\n";
    assert_eq!(set_value(before, "symname", "blue").unwrap(), after);
    assert_eq!(clear_value(after, "symname"), before);
}

#[test]
fn a_new_key_is_added_at_the_end_of_the_host_section() {
    assert_eq!(set_value("[Host]\nid=1\n\n[Z]\na=b\n", "key", "k").unwrap(), "[Host]\nid=1\nkey=k\n\n[Z]\na=b\n");
    assert_eq!(set_value("[Host]", "key", "k").unwrap(), "[Host]\nkey=k\n");
    assert_eq!(set_value("", "key", "k").unwrap(), "[Host]\nkey=k\n");
    assert_eq!(set_value("# mine", "key", "k").unwrap(), "# mine\n\n[Host]\nkey=k\n");
}

#[test]
fn of_several_lines_the_last_one_is_replaced_with_what_continues_it() {
    let before = "[Host]\nsymname=a\n[host]\nsymname=b\n   c\nid=1\n";
    assert_eq!(set_value(before, "symname", "d").unwrap(), "[Host]\nsymname=a\n[host]\nsymname=d\nid=1\n");
    assert_eq!(clear_value(before, "symname"), "[Host]\n[host]\nid=1\n");
}

#[test]
fn in_an_indented_file_a_new_line_is_indented_alike() {
    assert_eq!(set_value("[Host]\n\tid=1\n\tnqn=a\n", "id", "2").unwrap(), "[Host]\n\tid=2\n\tnqn=a\n");
    assert_eq!(set_value("[Host]\n  #id=1\n  nqn=a\n", "id", "2").unwrap(), "[Host]\n  #id=1\n  id=2\n  nqn=a\n");
}

/// Found by fuzzing.
#[test]
fn only_what_the_reader_takes_for_indentation_is_copied() {
    let text = set_value("[Host]\n\u{b}nonsense\n", "symname", "blue").unwrap();
    assert_eq!(parse(text.as_bytes(), "sys.conf").0.symname, parse(b"[Host]\nsymname=blue\n", "sys.conf").0.symname);
}

#[test]
fn line_ends_are_kept() {
    assert_eq!(set_value("[Host]\r\nid=1\r\n", "id", "2").unwrap(), "[Host]\r\nid=2\r\n");
}

#[test]
fn a_value_cannot_smuggle_a_line_in() {
    for value in ["a\nnqn=b", "a\rb", "", "  ", "\u{7f}", &"x".repeat(1 << 20)] {
        assert!(set_value("", "symname", value).is_err(), "{value:?}");
    }
}

#[test]
fn clearing_what_is_not_set_changes_nothing() {
    for text in ["", "[Host]", "[Host]\r\n#symname=a\n\n\n", "symname=a\n[Other]\nsymname=b"] {
        assert_eq!(clear_value(text, "symname"), text);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(text: Vec<u8>) {
        let (conf, _) = parse(&text, "sys.conf");
        let _ = conf.identity(files(USUAL));
    }

    #[test]
    fn what_is_set_is_read_back_whatever_the_file_looked_like(
        lines in prop::collection::vec("\\[Host\\]|\\[Other\\]|\\[x|symname=a|  symname=b|#symname=|id=1|  id=2|\\tid=3|  more|#[ -~]{0,9}|[ -~]{0,9}|", 0..12),
        value in "[A-Za-z][ -~]{0,20}[A-Za-z]", end in "\n?",
    ) {
        let text = lines.join("\n") + &end;
        let set = set_value(&text, "symname", &value).unwrap();
        prop_assert_eq!(parse(set.as_bytes(), "f").0.symname, Some(Value::Literal(value)), "{}", set);
        prop_assert_eq!(parse(set.as_bytes(), "f").0.id, parse(text.as_bytes(), "f").0.id, "{}", set);
        let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
        prop_assert_eq!(comments(&text), comments(&set));
        let cleared = clear_value(&set, "symname");
        prop_assert_eq!(parse(cleared.as_bytes(), "f").0.symname, None, "{}", cleared);
        prop_assert_eq!(comments(&text), comments(&cleared));
    }

    #[test]
    fn any_text_can_be_rewritten(text: String, value: String) {
        let _ = set_value(&text, "nqn", &value);
        let _ = clear_value(&text, "nqn");
    }
}

#[test]
fn a_secret_in_place_of_a_name_is_refused_and_not_shown() {
    for nqn in [SECRET.to_owned(), format!("nqn.x:{SECRET}")] {
        let error = fatal("", &[("/etc/nvme/hostnqn", &nqn), ("/etc/nvme/hostid", ID)]);
        assert!(!error.contains("GodOr4S"), "{error}");
    }
    let (told, identity) = complaint(&format!("[Host]\nsymname=host {SECRET}\n"), USUAL);
    assert!(told.contains("secret") && !told.contains("GodOr4S"), "{told}");
    assert_eq!(identity.symname, None);
    for key in ["nqn", "id", "symname"] {
        let error = set_value("", key, SECRET).unwrap_err().to_string();
        assert!(error.contains("***") && !error.contains("GodOr4S"), "{error}");
    }
    assert!(set_value("", "key", SECRET).is_ok());
}
