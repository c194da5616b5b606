//! Which host sees which members, and which host is notified of a change.

use super::host::*;
use super::*;

fn zone_in(host: &str, member: &str) -> Value {
    json!({"command": "zone", "change": {"add": {"zone": member, "hosts": [host], "members": [member]}}})
}

/// The generation counter in the page's header.
fn generation(fabric: &mut Fabric, host: &Host) -> u64 {
    let header = fabric.command(host, &log_page(0x70, 0, 0, 1024)).1;
    u64::from_le_bytes(header[..8].try_into().unwrap())
}

#[test]
fn a_change_is_reported_to_those_whom_it_concerns() {
    let mut fabric = Fabric::new();
    let (one, other) = (fabric.connect(HOST), fabric.connect(OTHER));
    let before = [generation(&mut fabric, &one), generation(&mut fabric, &other)];
    let (reply, sent) = fabric.request(zone_in(HOST, "two"));
    assert_eq!(reply, Reply::Ok(json!({"concerned": [HOST]})));
    let [(id, bytes)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(*id, one.id);
    let event = &Fabric::pdus(0, bytes)[0];
    assert_eq!((event.cid(), event.status(), event.result()), (99, 0, 0x70_f002));
    assert_eq!(generation(&mut fabric, &one), before[0] + 1);
    assert_eq!(generation(&mut fabric, &other), before[1]);
    assert_eq!(fabric.sees(&one)[1..], ["one", "two", "two"]);
    assert_eq!(fabric.sees(&other)[1..], ["one"]);
}

#[test]
fn a_second_change_is_reported_after_the_page_was_read() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let request = entry(0x0c, &[(2, &[99])]);
    assert_eq!(fabric.told(zone_in(HOST, "two")), [(host.id, 1)]);
    assert_eq!(fabric.capsule(&host, &request, &[]), []);
    let ncc = |value: &str| json!({"command": "set", "what": {"ncc": {"name": "two", "value": value}}});
    assert_eq!(fabric.told(ncc("on")), [], "it has not read the page since");
    // A read that retains the event changes nothing; one that does not enables the next event.
    fabric.command(&host, &log_page(0x70, 0x80, 0, 1024));
    assert_eq!(fabric.told(ncc("off")), []);
    fabric.command(&host, &log_page(0x70, 0, 0, 1024));
    assert_eq!(fabric.told(ncc("on")), [(host.id, 1)]);
}

#[test]
fn an_event_waits_for_somebody_who_asks() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    assert_eq!(fabric.told(json!({"command": "event", "count": 2})), [(host.id, 1)]);
    let owed = fabric.capsule(&host, &entry(0x0c, &[(2, &[98])]), &[]);
    assert_eq!((owed.len(), owed[0].cid()), (1, 98));
    assert_eq!(fabric.capsule(&host, &entry(0x0c, &[(2, &[97])]), &[]), []);
}

#[test]
fn only_so_many_may_ask_at_once() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    for cid in 1..4 {
        assert_eq!(fabric.capsule(&host, &entry(0x0c, &[(2, &[cid])]), &[]), []);
    }
    assert_eq!(fabric.capsule(&host, &entry(0x0c, &[]), &[])[0].status(), 0x105);
}

#[test]
fn who_wants_no_events_gets_none() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    fabric.command(&host, &entry(0x09, &[(40, &[0x0b])]));
    assert_eq!(fabric.told(zone_in(HOST, "two")), []);
}

#[test]
fn flags_and_members_are_changed_by_request() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    fabric.ask(json!({"command": "set", "what": {"ncc": {"name": "one", "value": "on"}}}));
    fabric.ask(json!({"command": "set", "what": {"epcsd": {"name": "one", "value": "on"}}}));
    fabric.ask(json!({"command": "add", "name": "dc", "addresses": ["[2001:db8::9]:8009"], "kind": "referral", "zones": ["all"]}));
    let page = fabric.ask(json!({"command": "page", "host": HOST}));
    assert_eq!(page[0]["subnqn"], "nqn.2014-08.org.nvmexpress.discovery");
    assert_eq!((&page[0]["subtype"], &page[0]["adrfam"]), (&json!("referral"), &json!("ipv6")));
    assert_eq!((&page[1]["subnqn"], &page[1]["eflags"]), (&json!("one"), &json!("6")));
    fabric.ask(json!({"command": "remove", "name": "one"}));
    assert_eq!(fabric.sees(&host)[1..], ["nqn.2014-08.org.nvmexpress.discovery"]);
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_why() {
    let mut fabric = Fabric::new();
    let before = fabric.ask(json!({"command": "show"}));
    let mut refused = |request: Value, why: &str| match fabric.request(request) {
        (Reply::Error(error), sent) => assert!(error.contains(why) && sent.is_empty(), "{error}"),
        (reply, _) => panic!("{reply:?}"),
    };
    refused(zone_in(HOST, "three"), "there is no member three; there are: one, two");
    refused(json!({"command": "remove", "name": "three"}), "no member three");
    refused(json!({"command": "add", "name": "one", "addresses": ["192.0.2.1:1"]}), "member one already");
    refused(json!({"command": "zone", "change": {"remove": {"zone": "none"}}}), "there are: all");
    refused(json!({"command": "zone", "change": {"remove": {"zone": "all", "hosts": ["x"]}}}), "has no x");
    refused(json!({"command": "set", "what": {"nqn": {"nqn": "no,nqn"}}}), "not an NQN");
    refused(json!({"command": "heal", "id": 5}), "no fault 5");
    refused(json!({"command": "load", "text": "[zone.z]\nmembers = ['x']"}), "no member x");
    refused(json!({"command": "fault", "host": HOST, "fault": {"kind": "refuse"}}), "leave out --host");
    refused(json!({"command": "fault", "times": 2, "fault": {"kind": "refuse"}}), "instead of --times");
    assert_eq!(fabric.ask(json!({"command": "show"})), before);
}

#[test]
fn a_file_that_is_loaded_replaces_members_and_zones() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let text = "[member.new]\nnqn = 'new'\naddresses = ['192.0.2.7:4420']\n[zone.z]\nhosts = ['*']\nmembers = ['new']";
    assert_eq!(fabric.told(json!({"command": "load", "text": text})), [(host.id, 1)]);
    assert_eq!(fabric.sees(&host)[1..], ["new"]);
}

#[test]
fn connections_show_who_is_there() {
    let mut fabric = Fabric::new();
    fabric.connect_with(HOST, 3, 5000);
    fabric.accept();
    let shown = fabric.ask(json!({"command": "connections"}));
    assert_eq!((&shown[0]["host"], &shown[0]["kato"], &shown[0]["cntlid"]), (&json!(HOST), &json!(5000), &json!(1)));
    assert_eq!((&shown[0]["header-digest"], &shown[0]["data-digest"]), (&json!(true), &json!(true)));
    assert_eq!((&shown[1]["state"], &shown[1]["host"]), (&json!("fresh"), &Value::Null));
}
