//! Removes the secrets from a configuration file's text, for the saved state.
//!
//! Line numbers are kept. Comments are dropped, because a commented-out line may contain a secret. Each secret becomes
//! [`WITHHELD`]: its controller is known to need a secret and is not connected without it.

use super::complaints::may_hold_a_secret;
use super::ini::LINE_MAX;
use super::keys::SECRETS;
use stas_nvme::secret::WITHHELD;

/// Stands for a configuration that is not known. Any controller may have been configured, so nothing is removed because
/// this text does not list it. Nothing may be disconnected for another reason, or connected because of mDNS, either:
/// the configuration may have prohibited it. With `pleo=enabled`, a log page could list less than before.
pub const UNKNOWN: &str = "\
[Global]
pleo=disabled
[Service Discovery]
zeroconf=disabled
[I/O controller connection management]
disconnect-scope=no-disconnect
[Controllers]
controller=***
";

/// The text without its secrets and comments.
#[must_use]
pub fn without_secrets(text: &[u8]) -> String {
    text.split(|byte| *byte == b'\n').map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &[u8]) -> String {
    let content = line.trim_ascii_start();
    if content.starts_with(b"#") || content.starts_with(b";") {
        return String::new();
    }
    let line = match std::str::from_utf8(line) {
        Ok(line) if content.len() <= LINE_MAX => line,
        // The parser cannot read such a line, either.
        _ => return WITHHELD.to_owned(),
    };
    if !may_hold_a_secret(line) {
        return line.to_owned();
    }
    line.split(';').map(part).collect::<Vec<_>>().join(";")
}

/// Redacts one `key=value` part. A redacted part may make its own line unreadable, but no other line.
fn part(part: &str) -> String {
    if !may_hold_a_secret(part) {
        return part.to_owned();
    }
    let folded = part.to_ascii_lowercase();
    let is_key = |name: &str| {
        let end = folded.find(name)? + name.len();
        let equals = end + folded.get(end..)?.find(|c: char| !c.is_whitespace())?;
        folded.get(equals..)?.starts_with('=').then_some(equals)
    };
    if let Some(equals) = SECRETS.iter().find_map(|name| is_key(name)) {
        let before = part.get(..=equals).unwrap_or_default();
        if !before.to_ascii_lowercase().contains("dhhc") {
            return format!("{before}{WITHHELD}");
        }
    }
    match part.split_once('=') {
        Some((key, _)) if !may_hold_a_secret(key) => format!("{key}={WITHHELD}"),
        _ => WITHHELD.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conf::{DisconnectScope, stacd, stafd};

    const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    const LINE: &str = "controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2014-08.org.example:a";

    fn read(text: &str) -> crate::conf::StacConf {
        stacd::parse(text.as_bytes(), "f").0
    }

    #[test]
    fn what_is_no_secret_is_kept_with_its_line_number() {
        let text = format!(
            "# a comment\n[Global]\nkato=7\n\n[Controllers]\n{LINE};queue-size=64 # rack 2\nexclude=traddr=::1\n"
        );
        assert_eq!(read(&without_secrets(text.as_bytes())), read(&text));
    }

    #[test]
    fn no_secret_is_kept_however_it_is_written() {
        for line in [
            format!("{LINE};dhchap-secret={KEY}"),
            format!("{LINE};DHCHAP-Secret = {KEY};dhchap-ctrl-secret={KEY}"),
            format!("controller=dhchap-secret={KEY};transport=tcp"),
            format!("controller=transport=tcp\n  dhchap-secret={KEY}"),
            format!("dhchap-secret={KEY}"),
            format!("dhchap-secret:{KEY}"),
            format!("{LINE};dhchap_secret={KEY}"),
            format!("{LINE};{KEY}"),
            format!("{LINE};x={KEY}"),
            format!("{LINE};{KEY};dhchap-secret={KEY}"),
            format!("{LINE};{KEY}dhchap-secret={KEY}"),
            format!("#{LINE};dhchap-secret={KEY}"),
            format!("; {KEY}"),
            format!("{LINE} # {KEY}"),
            "tls-key=NVMeTLSkey-1:01:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:".to_owned(),
        ] {
            let kept = without_secrets(format!("[Controllers]\n{line}\n").as_bytes());
            assert!(!kept.contains("ia6zGod"), "{kept}");
            assert_eq!(kept.lines().count(), line.lines().count() + 1, "{kept}");
        }
    }

    #[test]
    fn a_controller_whose_secret_is_withheld_is_still_configured_and_still_needs_one() {
        let kept = without_secrets(format!("[Controllers]\n{LINE};dhchap-secret={KEY};kato=9\n").as_bytes());
        let conf = read(&kept);
        assert!(conf.lost_line.is_none());
        let [entry] = conf.controllers.as_slice() else { panic!("{kept}") };
        assert!(entry.parameters.dhchap_secret.as_ref().is_some_and(stas_nvme::Secret::is_withheld));
        assert_eq!(entry.parameters.kato, Some(9));
    }

    #[test]
    fn an_unknown_configuration_removes_and_announces_nothing() {
        let conf = read(UNKNOWN);
        assert!(conf.lost_line.is_some() && conf.controllers.is_empty());
        assert_eq!(conf.disconnect_scope, DisconnectScope::Nothing);
        assert_eq!(read(&without_secrets(UNKNOWN.as_bytes())), conf);
        let stafd = stafd::parse(UNKNOWN.as_bytes(), "f").0;
        assert!(stafd.lost_line.is_some() && !stafd.zeroconf && !stafd.pleo);
    }

    proptest! {
        #[test]
        fn any_text_is_kept_or_made_unreadable(text: Vec<u8>) {
            let kept = without_secrets(&text);
            prop_assert_eq!(without_secrets(kept.as_bytes()), kept.clone());
        }

        #[test]
        fn a_secret_anywhere_in_any_line_is_gone(before in "[ -~]{0,40}", after in "[ -~]{0,40}") {
            let kept = without_secrets(format!("{before}{KEY}{after}").as_bytes());
            prop_assert!(!kept.contains("ia6zGod"), "{}", kept);
        }
    }
}
