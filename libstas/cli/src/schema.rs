//! `-o json`: answers as numbers, booleans and objects.
//!
//! The daemons answer with strings, under the keys of nvme-stas. The tables below are the schema: they say under which
//! name and with which type each attribute is shown. nvme-stas-json(5) is made of them.

use serde_json::{Map, Value, json};

use super::daemon::Daemon;
use super::kernel::added;
use super::literal;
use stas_bus::contract::dictionary;
use stas_bus::key;
use stas_nvme::log_page::{EFlags, Treq};

/// Version of the schema. It is raised when an attribute is removed or changes its name, type or meaning; attributes
/// may be added without.
pub const VERSION: u64 = 1;

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// The name of a device; `nvme?` means none.
    Device,
    /// `True` or `False`.
    Boolean,
    /// True if the daemon shows a text.
    Flag,
    /// A whole number.
    Integer,
    /// A whole number for tcp and rdma, else a text.
    Service,
    /// Seconds, shown by the daemon as `6 s`.
    Seconds,
    /// Seconds, shown by the daemon as `71h 59m 3s`.
    Span,
    /// Seconds with a fraction.
    Moment,
    /// When a controller is connected next: an object with `seconds` and `text`.
    NextAttempt,
    /// Transport requirements: an object.
    Treq,
    /// Entry flags: an object.
    EFlags,
    /// An entry of a log page: an object.
    Entry,
    /// A value that the tool makes itself: a list of objects.
    List,
}

impl Kind {
    /// The type in JSON, as the manual page shows it.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Text | Self::Device => "string or null",
            Self::Boolean => "boolean or null",
            Self::Flag => "boolean",
            Self::Integer | Self::Seconds | Self::Span => "integer or null",
            Self::Service => "integer, string or null",
            Self::Moment => "number or null",
            Self::NextAttempt | Self::Treq | Self::EFlags | Self::Entry => "object or null",
            Self::List => "array",
        }
    }

    /// The value in JSON. Null if the daemon does not show it, or in another form.
    fn convert(self, shown: Option<&Value>) -> Value {
        if self == Self::List {
            return shown.cloned().unwrap_or_else(|| json!([]));
        }
        let text = match shown {
            Some(Value::String(text)) if !text.is_empty() => text.as_str(),
            Some(typed @ (Value::Bool(_) | Value::Number(_))) => return typed.clone(),
            _ if self == Self::Flag => return json!(false),
            _ => return Value::Null,
        };
        match self {
            Self::Text => json!(text),
            Self::Device => {
                if text == "nvme?" {
                    Value::Null
                } else {
                    json!(text)
                }
            }
            Self::Boolean => match text {
                "True" => json!(true),
                "False" => json!(false),
                _ => Value::Null,
            },
            Self::Flag => json!(true),
            Self::Integer => integer(text).map_or(Value::Null, Value::from),
            Self::Service => {
                integer(text).filter(|port| port.to_string() == text).map_or_else(|| json!(text), Value::from)
            }
            Self::Seconds => text.strip_suffix(" s").and_then(integer).map_or(Value::Null, Value::from),
            Self::Span => text.parse::<jiff::SignedDuration>().map_or(Value::Null, |span| json!(span.as_secs())),
            Self::Moment => dictionary::parse_moment(text).map_or(Value::Null, |time| json!(time.0.as_secs_f64())),
            Self::NextAttempt => next_attempt(text),
            Self::Treq => text.parse().map_or(Value::Null, treq),
            Self::EFlags => text.parse().map_or(Value::Null, |bits| eflags(EFlags(bits))),
            Self::Entry => {
                literal::parse(text).filter(Value::is_object).map_or(Value::Null, |entry| object(&entry, &[ENTRY]))
            }
            Self::List => Value::Null,
        }
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its key in the answer of the daemon.
    pub key: &'static str,
    /// Its name in JSON. A dot separates the name of an object from that of its member.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it says, for the manual page.
    pub about: &'static str,
}

const fn attribute(key: &'static str, name: &'static str, kind: Kind, about: &'static str) -> Attribute {
    Attribute { key, name, kind, about }
}

/// The attributes of each controller: all that `ls` shows without `-d`.
pub const IDENTITY: &[Attribute] = &[
    attribute(key::DEVICE, "device", Kind::Device, "Device of the kernel, such as `nvme3`; null if there is none."),
    attribute(key::TRANSPORT, "transport", Kind::Text, "Transport: `tcp`, `rdma`, `fc` or `loop`."),
    attribute(key::TRADDR, "traddr", Kind::Text, "Transport address of the controller."),
    attribute(key::TRSVCID, "trsvcid", Kind::Service, "Transport service ID: for tcp and rdma the port."),
    attribute(key::SUBSYSNQN, "subsysnqn", Kind::Text, "NQN of the subsystem."),
    attribute(key::HOST_TRADDR, "host_traddr", Kind::Text, "Source address that the connection is bound to."),
    attribute(key::HOST_IFACE, "host_iface", Kind::Text, "Interface that the connection is bound to."),
    attribute(key::HOST_NQN, "host_nqn", Kind::Text, "Host NQN that the controller is connected with."),
];

/// What `ls -d`, `adlp -d` and `status` add for each controller.
pub const STATE: &[Attribute] = &[
    attribute(
        "state",
        "state",
        Kind::Text,
        "The state, with the words of section STATES of stacctl(1) and stafctl(1).",
    ),
    attribute("connected", "connected", Kind::Boolean, "True if the controller is connected."),
    attribute(
        key::SINCE,
        "since",
        Kind::Text,
        "Start of this state (UTC), as far as the daemon knows. A restart of the daemon does not change it.",
    ),
    attribute(key::REASON, "reason", Kind::Text, "Why it is not connected, or is kept."),
    attribute(
        key::OWNER,
        "owner",
        Kind::Text,
        "Owner of the connection in the registry of nvme-cli 3: `stas` for stafd and stacd, the name of another \
         orchestrator, or `unknown`; null if it has none.",
    ),
    attribute(
        added::CTRL_LOSS_TMO,
        "ctrl_loss_tmo",
        Kind::Service,
        "Seconds after which the kernel gives up the connection when it is lost; `off`: never.",
    ),
    attribute(
        added::RECONNECT_DELAY,
        "reconnect_delay",
        Kind::Integer,
        "Seconds between two attempts of the kernel to reconnect.",
    ),
    attribute(
        added::GIVES_UP_AT,
        "gives_up_at",
        Kind::Text,
        "When the kernel gives up the lost connection (UTC), about; null unless it is reconnecting.",
    ),
    attribute(
        "next attempt",
        "next_attempt",
        Kind::NextAttempt,
        "The next attempt to connect: `seconds` until then (integer; null if no time is planned) and `text`.",
    ),
    attribute(
        "retry connect timer",
        "retry_seconds",
        Kind::Seconds,
        "Seconds until the next attempt; null if no timer runs.",
    ),
    attribute("connect attempts", "connect_attempts", Kind::Integer, "Failed attempts since the last connection."),
    attribute(key::ORIGIN, "origin", Kind::Text, "What lists it: `configured`, `discovered`, `referral` or `nbft`."),
    attribute(
        key::TRUST,
        "trust",
        Kind::Text,
        "How far the most trusted source is trusted: `administrator`, `firmware`, `configured-dc` or `announced-dc`.",
    ),
    attribute("pending", "pending", Kind::Flag, "True if changed parameters take effect at the next connect."),
    attribute("alias of", "alias_of", Kind::Text, "Another listed controller that uses the same connection."),
    attribute("dhchap", "dhchap", Kind::Text, "Configured authentication: `host`, or `host+ctrl` in both directions."),
    attribute(key::NBFT, "nbft", Kind::Text, "Record of the boot table that lists it."),
    attribute("hostnqn", "hostnqn", Kind::Text, "Host NQN of the connection, as the kernel shows it."),
    attribute("hostid", "hostid", Kind::Text, "Host ID of the connection, as the kernel shows it."),
    attribute("model", "model", Kind::Text, "Model number."),
    attribute("serial", "serial", Kind::Text, "Serial number."),
    attribute("cntrltype", "cntrltype", Kind::Text, "Controller type: `io`, `discovery` or `admin`."),
    attribute("dctype", "dctype", Kind::Text, "Type of a discovery controller: `ddc`, `cdc` or `none`."),
];

/// What stacctl adds to [`STATE`].
pub const IO: &[Attribute] = &[
    attribute(
        added::NAMESPACES,
        "namespaces",
        Kind::List,
        "The namespaces: `device` (block device, with native multipathing that of all paths), `nsid`, `bytes` (size) \
         and `ana_state` (of this path; null without ANA).",
    ),
    attribute("dlpe", "dlpe", Kind::Entry, "The log page entry that lists it: an object as in LOG PAGE ENTRY."),
    attribute(
        "dlpe.eflags.ncc",
        "ncc",
        Kind::Boolean,
        "True if that entry says that the CDC has no connectivity to it (NCC).",
    ),
];

/// What stafctl adds to [`STATE`].
pub const DISCOVERY: &[Attribute] = &[
    attribute(key::LOG_PAGE_STATE, "log_page_state", Kind::Text, "`fresh`, `saved` or `never`, as in stafctl(1)."),
    attribute(
        key::LOG_PAGE_FAILURE,
        "log_page_failure",
        Kind::Text,
        "Why the last read of its log page failed; null after a success.",
    ),
    attribute(
        key::REGISTRATION,
        "registration",
        Kind::Text,
        "`registered`, or why this host is not registered (TP8010).",
    ),
    attribute(key::ANNOUNCED, "announced", Kind::Boolean, "Found by mDNS: true while it is announced; else null."),
    attribute(
        key::GIVEN_UP_IN,
        "given_up_seconds",
        Kind::Span,
        "Seconds until it is removed, if it is neither announced nor connected.",
    ),
    attribute(
        key::CONNECTED_SINCE,
        "connected_since",
        Kind::Moment,
        "Start of the connection, in seconds on CLOCK_BOOTTIME.",
    ),
];

/// An entry of a log page.
pub const ENTRY: &[Attribute] = &[
    attribute(
        "subtype",
        "subtype",
        Kind::Text,
        "What it describes: `nvme`, `referral` or `discovery`; a number if unknown.",
    ),
    attribute("trtype", "trtype", Kind::Text, "Transport type; a number if unknown."),
    attribute(
        "adrfam",
        "adrfam",
        Kind::Text,
        "Address family: `ipv4`, `ipv6`, `infiniband` or `fc`; a number if unknown.",
    ),
    attribute("traddr", "traddr", Kind::Text, "Transport address."),
    attribute("trsvcid", "trsvcid", Kind::Service, "Transport service ID: for tcp and rdma the port."),
    attribute("subnqn", "subnqn", Kind::Text, "NQN of the subsystem."),
    attribute("portid", "portid", Kind::Integer, "Port of the subsystem."),
    attribute("cntlid", "cntlid", Kind::Integer, "Controller ID."),
    attribute("asqsz", "asqsz", Kind::Integer, "Largest size of the admin submission queue."),
    attribute(
        "sectype",
        "sectype",
        Kind::Text,
        "TLS of tcp connections: `none`, `tls` (1.2) or `tls13`; a number if unknown.",
    ),
    attribute(
        "treq",
        "treq",
        Kind::Treq,
        "Transport requirements: `secure_channel` (`not specified`, `required` or `not required`), `disable_sqflow` (boolean) and `value`, the number with all bits.",
    ),
    attribute(
        "eflags",
        "eflags",
        Kind::EFlags,
        "Flags: the booleans `duplicate`, `epcsd` and `ncc`, and `value`, the number with all bits.",
    ),
];

/// The daemon's process: the attributes of `status`.
pub const PROCESS: &[Attribute] = &[
    attribute("version", "version", Kind::Text, "Version of the daemon."),
    attribute("pid", "pid", Kind::Integer, "Its process ID."),
    attribute("status", "status", Kind::Text, "The number of controllers, in words."),
    attribute("tron", "tron", Kind::Boolean, "True while trace is on."),
    attribute("log-level", "log_level", Kind::Text, "`INFO` or `DEBUG`."),
    attribute("last known config file", "state_file", Kind::Text, "The file with the saved state."),
    attribute("hostnqn", "hostnqn", Kind::Text, "NQN of this host."),
    attribute("hostid", "hostid", Kind::Text, "ID of this host."),
    attribute("symname", "symname", Kind::Text, "Symbolic name of this host, for registration."),
    attribute("dhchap", "dhchap", Kind::Text, "`host` if the host has a secret for all connections."),
    attribute(
        "kernel support.TP8013",
        "kernel_support.tp8013",
        Kind::Boolean,
        "The kernel knows the option `discovery`.",
    ),
    attribute(
        "kernel support.host_iface",
        "kernel_support.host_iface",
        Kind::Boolean,
        "The kernel knows the option `host_iface`.",
    ),
];

/// The story of a controller: what `why` adds to [`IDENTITY`].
pub const STORY: &[Attribute] = &[
    attribute("state", "state", Kind::Text, "The state; `removed` if no source lists it any more."),
    attribute("source", "source", Kind::Text, "What lists it."),
    attribute(key::REASON, "reason", Kind::Text, "Why it is not connected, or is kept."),
    attribute("next attempt", "next_attempt", Kind::NextAttempt, "As in CONTROLLER."),
    attribute("connect attempts", "connect_attempts", Kind::Integer, "Failed attempts since the last connection."),
    attribute(
        "events",
        "events",
        Kind::List,
        "What happened, the oldest first: `time` (UTC) and `event`, both strings.",
    ),
];

/// The state of a controller in an event of `watch`.
const EVENT_STATE: &[Attribute] = &[attribute("state", "state", Kind::Text, "")];

/// All tables, each with its heading in the manual page.
pub const TABLES: [(&str, &[Attribute]); 7] = [
    ("CONTROLLER", IDENTITY),
    ("CONTROLLER IN DETAIL", STATE),
    ("I/O CONTROLLER", IO),
    ("DISCOVERY CONTROLLER", DISCOVERY),
    ("LOG PAGE ENTRY", ENTRY),
    ("PROCESS", PROCESS),
    ("STORY", STORY),
];

/// Which of all attributes an answer shows of each controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Those that identify it.
    Identity,
    /// All of them.
    All,
}

impl Daemon {
    fn tables(self, detail: Detail) -> &'static [&'static [Attribute]] {
        match (detail, self) {
            (Detail::Identity, _) => &[IDENTITY],
            (Detail::All, Self::Stafd) => &[IDENTITY, STATE, DISCOVERY],
            (Detail::All, Self::Stacd) => &[IDENTITY, STATE, IO],
        }
    }
}

/// `ls`.
#[must_use]
pub fn controllers(daemon: Daemon, detail: Detail, answer: &Value) -> Value {
    document([("controllers", objects(answer, daemon.tables(detail)))])
}

/// `dlp`.
#[must_use]
pub fn log_page(answer: &Value) -> Value {
    document([("log_page", objects(answer, &[ENTRY]))])
}

/// `adlp`.
#[must_use]
pub fn all_log_pages(daemon: Daemon, detail: Detail, answer: &Value) -> Value {
    let pages = answer.as_array().into_iter().flatten().map(|page| {
        let mut controller = object(&page[key::DISCOVERY_CONTROLLER], daemon.tables(detail));
        controller["log_page"] = objects(&page[key::LOG_PAGES], &[ENTRY]);
        controller
    });
    document([("controllers", pages.collect())])
}

/// `status`.
#[must_use]
pub fn status(daemon: Daemon, answer: &Value) -> Value {
    let mut process = answer.clone();
    let all = process.as_object_mut().and_then(|process| process.remove("controllers")).unwrap_or_default();
    let all = all.as_array().into_iter().flatten().map(|each| {
        let mut each = each.clone();
        let page = each.as_object_mut().and_then(|each| each.remove("log_pages"));
        let mut controller = object(&each, daemon.tables(Detail::All));
        if let Some(page) = page {
            controller["log_page"] = objects(&page, &[ENTRY]);
        }
        controller
    });
    let all = all.collect();
    document([("process", object(&process, &[PROCESS])), ("controllers", all)])
}

/// `why`.
#[must_use]
pub fn stories(answer: &Value) -> Value {
    document([("controllers", objects(answer, &[IDENTITY, STORY]))])
}

/// An event of `watch`.
#[must_use]
pub fn event(mut event: Value) -> Value {
    if let Some(controller) = event.get("controller") {
        event["controller"] = object(controller, &[IDENTITY, EVENT_STATE]);
    }
    if event.is_object() {
        event["schema_version"] = json!(VERSION);
    }
    event
}

fn document<const N: usize>(members: [(&str, Value); N]) -> Value {
    let version = ("schema_version".to_owned(), json!(VERSION));
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(std::iter::once(version).chain(members).collect())
}

fn objects(answer: &Value, tables: &[&[Attribute]]) -> Value {
    answer.as_array().into_iter().flatten().map(|each| object(each, tables)).collect()
}

/// Converts a dictionary. Attributes that are in no table keep their value.
fn object(dict: &Value, tables: &[&[Attribute]]) -> Value {
    let empty = Map::new();
    let dict = dict.as_object().unwrap_or(&empty);
    let mut object = Map::new();
    let known = || tables.iter().copied().flatten();
    for attribute in known() {
        let value = attribute.kind.convert(dict.get(attribute.key));
        match attribute.name.split_once('.') {
            None => drop(object.insert(attribute.name.to_owned(), value)),
            Some((outer, name)) => object.entry(outer).or_insert_with(|| json!({}))[name] = value,
        }
    }
    for (key, value) in dict.iter().filter(|(key, _)| known().all(|attribute| attribute.key != key.as_str())) {
        object.entry(key.replace([' ', '-', '.'], "_")).or_insert_with(|| value.clone());
    }
    Value::Object(object)
}

fn integer(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn next_attempt(text: &str) -> Value {
    let planned = text.strip_prefix("in ").and_then(|text| text.strip_suffix(" s")).and_then(integer);
    json!({ "seconds": planned.or((text == "now").then_some(0)), "text": text })
}

fn treq(treq: Treq) -> Value {
    let channel = treq.secure_channel();
    json!({
        "value": treq.0, "secure_channel": channel.to_string(), "disable_sqflow": treq.can_disable_sqflow(),
    })
}

fn eflags(flags: EFlags) -> Value {
    json!({
        "value": flags.0, "duplicate": flags.duplicate_information(), "epcsd": flags.epcsd(), "ncc": flags.ncc(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_have_their_types_and_what_is_not_known_is_null() {
        let answer = json!([{
            "device": "nvme?", "transport": "tcp", "traddr": "192.0.2.1", "trsvcid": "8009", "host-iface": "",
            "connected": "False", "connect attempts": "4", "retry connect timer": "6 s", "next attempt": "in 6 s",
            "announced": "True", "given up in": "71h 59m 3s", "connected-since": "12.500000000",
            "pending": "changed parameters apply at its next connect",
        }]);
        let json = controllers(Daemon::Stafd, Detail::All, &answer);
        assert_eq!(json["schema_version"], 1);
        let dc = &json["controllers"][0];
        let expected = json!({
            "device": null, "trsvcid": 8009, "host_iface": null, "host_nqn": null, "connected": false,
            "connect_attempts": 4, "retry_seconds": 6, "next_attempt": {"seconds": 6, "text": "in 6 s"},
            "announced": true, "given_up_seconds": 259_143, "connected_since": 12.5, "pending": true, "model": null,
        });
        for (name, value) in expected.as_object().into_iter().flatten() {
            assert_eq!(&dc[name], value, "{name}");
        }
    }

    #[test]
    fn the_next_attempt_has_a_number_if_it_has_a_time() {
        for (text, seconds) in [("now", json!(0)), ("in 12 s", json!(12)), ("soon", json!(null))] {
            assert_eq!(Kind::NextAttempt.convert(Some(&json!(text))), json!({"seconds": seconds, "text": text}));
        }
    }

    #[test]
    fn the_entry_that_lists_a_controller_is_an_object() {
        let answer = json!([{"dlpe": "{'portid': '7', 'eflags': '6', 'treq': '5', 'trsvcid': 'none', 'new': 'x'}"}]);
        let json = controllers(Daemon::Stacd, Detail::All, &answer);
        let entry = &json["controllers"][0]["dlpe"];
        assert_eq!((&entry["portid"], &entry["trsvcid"], &entry["new"]), (&json!(7), &json!("none"), &json!("x")));
        assert_eq!(entry["eflags"], json!({"value": 6, "duplicate": false, "epcsd": true, "ncc": true}));
        assert_eq!(entry["treq"], json!({"value": 5, "secure_channel": "required", "disable_sqflow": true}));
        for none in ["None", "", "{'portid'", "7"] {
            assert_eq!(
                controllers(Daemon::Stacd, Detail::All, &json!([{"dlpe": none}]))["controllers"][0]["dlpe"],
                json!(null)
            );
        }
    }

    #[test]
    fn an_unknown_attribute_stays_a_string_and_a_malformed_value_is_null() {
        let answer = json!([{"a new-key.of stafd": "12", "connect attempts": "many", "connected": "perhaps"}]);
        let json = controllers(Daemon::Stafd, Detail::All, &answer);
        let dc = &json["controllers"][0];
        assert_eq!(dc["a_new_key_of_stafd"], "12");
        assert_eq!((&dc["connect_attempts"], &dc["connected"]), (&json!(null), &json!(null)));
    }

    #[test]
    fn the_process_is_apart_from_its_controllers() {
        let answer =
            json!({"tron": true, "pid": 7, "kernel support.TP8013": "True", "controllers": [{"log_pages": []}]});
        let json = status(Daemon::Stafd, &answer);
        assert_eq!((&json["process"]["pid"], &json["process"]["tron"]), (&json!(7), &json!(true)));
        assert_eq!(json["process"]["kernel_support"], json!({"tp8013": true, "host_iface": null}));
        assert_eq!(json["controllers"][0]["log_page"], json!([]));
        assert!(json["process"].get("controllers").is_none());
    }

    #[test]
    fn an_answer_of_another_shape_does_no_harm() {
        for answer in [json!(null), json!("x"), json!([1, null, []]), json!({"controllers": [7]})] {
            for json in [
                controllers(Daemon::Stafd, Detail::All, &answer),
                log_page(&answer),
                all_log_pages(Daemon::Stafd, Detail::All, &answer),
                status(Daemon::Stacd, &answer),
                stories(&answer),
            ] {
                assert_eq!(json["schema_version"], VERSION);
            }
        }
        assert_eq!(event(json!(7)), json!(7));
    }

    #[test]
    fn no_name_stands_for_two_attributes_of_one_object() {
        for tables in
            [&[IDENTITY, STATE, IO][..], &[IDENTITY, STATE, DISCOVERY], &[IDENTITY, STORY], &[ENTRY], &[PROCESS]]
        {
            let mut names: Vec<&str> = tables.iter().copied().flatten().map(|attribute| attribute.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
