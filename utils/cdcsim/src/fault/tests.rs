//! The lifetime of faults.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_fault_is_used_up() {
    let mut faults = Faults::default();
    faults.add(Fault::Empty, None, Some(2), None);
    assert_eq!([0; 3].map(|_| faults.strikes(None, &Fault::Empty)), [true, true, false]);
    assert!(faults.all().is_empty());
}

#[test]
fn asking_for_another_fault_uses_none_up() {
    let mut faults = Faults::default();
    let id = faults.add(Fault::Empty, Some("a".into()), Some(1), None);
    assert!(!faults.strikes(Some("a"), &Fault::Restless));
    assert!(!faults.strikes(Some("b"), &Fault::Empty));
    assert!(!faults.strikes(None, &Fault::Empty));
    assert_eq!((faults.heal(Some(id + 1)), faults.heal(Some(id))), (0, 1));
}

#[test]
fn a_status_is_a_number_that_is_no_success() {
    assert_eq!("0x412f".parse(), Ok(StatusCode(0x412f)));
    assert_eq!("6".parse(), Ok(StatusCode(6)));
    for wrong in ["", "0", "0x4000", "0x8001", "x"] {
        assert!(wrong.parse::<StatusCode>().is_err(), "{wrong}");
    }
}
