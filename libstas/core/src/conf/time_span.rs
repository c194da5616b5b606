//! Parses time spans: `72hours`, `3 days 5 hours`, `1:24`, `-1`.

use std::time::Duration;

/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;
const MINUTE: i128 = 60;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// A time span with a sign, exact to the nanosecond, at most 292 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    nanos: i64,
}

impl TimeSpan {
    /// Length of the time span. `None` if it is negative.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        u64::try_from(self.nanos).ok().map(Duration::from_nanos)
    }
}

/// Why a text is not a time span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty.
    #[error("there is no time span")]
    Empty,
    /// A number is missing.
    #[error("a number is missing")]
    Number,
    /// A word is not a unit of time.
    #[error("days, hours, minutes and seconds are the units of time")]
    Unit,
    /// Units are not in descending order, or repeat: `5 minutes 2 hours`, `1m 2m`.
    #[error("the units go from the larger to the smaller, each at most once")]
    Order,
    /// A form with colons is malformed: `1:2`, `1:2:3:4:5`.
    #[error("with colons, it is D:HH:MM:SS, H:MM:SS, M:SS or :SS")]
    Clock,
    /// The time span is longer than 292 years.
    #[error("that is too long")]
    TooLong,
}

/// Parses a time span. A number without a unit is seconds.
///
/// Units are d, day(s), h, hr(s), hour(s), m, min(s), minute(s), s, sec(s), second(s), case-insensitive, with spaces or
/// a comma between the parts. Numbers may have decimals.
///
/// # Errors
/// [`Error`] if the text has another form, or the time span is longer than 292 years.
pub fn parse(text: &str) -> Result<TimeSpan, Error> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text).trim_start()),
    };
    let nanos = if text.is_empty() {
        Err(Error::Empty)
    } else if text.contains(':') {
        clock(text)
    } else {
        match Number::split(text)? {
            (seconds, "") => seconds.times(1),
            _ => parts(text),
        }
    }?;
    let nanos = i64::try_from(nanos).map_err(|_| Error::TooLong)?;
    Ok(TimeSpan { nanos: if negative { -nanos } else { nanos } })
}

/// A decimal number without a sign, stored exactly.
#[derive(Clone, Copy)]
struct Number {
    nanos: i128,
}

impl Number {
    /// Splits the number from the start of a text. Returns it and the rest. Decimals after the ninth are ignored.
    fn split(text: &str) -> Result<(Self, &str), Error> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(Error::Number);
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| Error::TooLong)? };
        let mut nanos = i128::from(whole) * NANOS;
        let mut weight = NANOS;
        for digit in fraction.bytes().take(9) {
            weight /= 10;
            nanos += i128::from(digit - b'0') * weight;
        }
        Ok((Self { nanos }, rest.trim_start()))
    }

    fn times(self, seconds: i128) -> Result<i128, Error> {
        self.nanos.checked_mul(seconds).ok_or(Error::TooLong)
    }
}

/// Parses the form with units: `1m24s`, `1 minute, 24 secs`.
fn parts(mut text: &str) -> Result<i128, Error> {
    let mut sum: i128 = 0;
    let mut above = i128::MAX;
    loop {
        let (number, rest) = Number::split(text)?;
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        let unit = unit(word)?;
        if unit >= above {
            return Err(Error::Order);
        }
        above = unit;
        sum = sum.checked_add(number.times(unit)?).ok_or(Error::TooLong)?;
        let rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(sum);
        }
        text = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// Length of a unit in seconds.
fn unit(word: &str) -> Result<i128, Error> {
    match word.to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => Ok(DAY),
        "h" | "hr" | "hrs" | "hour" | "hours" => Ok(HOUR),
        "m" | "min" | "mins" | "minute" | "minutes" => Ok(MINUTE),
        "s" | "sec" | "secs" | "second" | "seconds" => Ok(1),
        _ => Err(Error::Unit),
    }
}

/// Parses the form with colons: `1:24`, `:22`, `1:02:03`, `2:04:13:02`. The seconds may have decimals.
fn clock(text: &str) -> Result<i128, Error> {
    let mut sum: i128 = 0;
    let mut units = [1, MINUTE, HOUR, DAY].into_iter();
    let mut fields = text.rsplit(':').peekable();
    while let Some(field) = fields.next() {
        let unit = units.next().ok_or(Error::Clock)?;
        let leads = fields.peek().is_none();
        if leads && unit == MINUTE && field.is_empty() {
            break;
        }
        let whole = if unit == 1 { field.split('.').next().unwrap_or_default() } else { field };
        if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) || (!leads && whole.len() != 2) {
            return Err(Error::Clock);
        }
        let (number, rest) = Number::split(field)?;
        if !rest.is_empty() {
            return Err(Error::Clock);
        }
        sum = sum.checked_add(number.times(unit)?).ok_or(Error::TooLong)?;
    }
    Ok(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(text: &str) -> f64 {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).nanos as f64 / 1e9
    }

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!(seconds("0"), 0.0);
        assert_eq!(seconds(" 90 "), 90.0);
        assert_eq!(seconds("1.5"), 1.5);
        assert_eq!(seconds(".25"), 0.25);
    }

    #[test]
    fn units_are_taken_in_every_spelling() {
        for (words, length) in [
            (["d", "day", "days", "Days", "D"], 86400.0),
            (["h", "hr", "hrs", "hour", "hours"], 3600.0),
            (["m", "min", "mins", "minute", "MINUTES"], 60.0),
            (["s", "sec", "secs", "second", "seconds"], 1.0),
        ] {
            for word in words {
                assert_eq!(seconds(&format!("2{word}")), 2.0 * length);
                assert_eq!(seconds(&format!("2 {word}")), 2.0 * length);
            }
        }
    }

    #[test]
    fn parts_add_up() {
        assert_eq!(seconds("72hours"), 72.0 * 3600.0);
        assert_eq!(seconds("3 days 5 hours"), 77.0 * 3600.0);
        assert_eq!(seconds("1m24s"), 84.0);
        assert_eq!(seconds("1 minute, 24 secs"), 84.0);
        assert_eq!(seconds("1.2 minutes"), 72.0);
    }

    #[test]
    fn colons_make_a_clock() {
        assert_eq!(seconds("1:24"), 84.0);
        assert_eq!(seconds(":22"), 22.0);
        assert_eq!(seconds("1:02:03"), 3723.0);
        assert_eq!(seconds("2:04:13:02"), 2.0 * 86400.0 + 4.0 * 3600.0 + 13.0 * 60.0 + 2.0);
        assert_eq!(seconds("1:24.5"), 84.5);
    }

    #[test]
    fn a_sign_is_allowed() {
        assert_eq!(seconds("-1"), -1.0);
        assert_eq!(seconds("- 1 minute"), -60.0);
        assert_eq!(seconds("+1:24"), 84.0);
        assert_eq!(parse("-1").unwrap().duration(), None);
        assert_eq!(parse("-0").unwrap().duration(), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_no_time_span_is_refused_with_the_reason() {
        for (text, error) in [
            ("", Error::Empty),
            ("-", Error::Empty),
            ("nan", Error::Number),
            ("inf", Error::Number),
            ("-inf", Error::Number),
            ("--1", Error::Number),
            ("forever", Error::Number),
            ("1.2.3", Error::Number),
            (".", Error::Number),
            ("1 minute,", Error::Number),
            ("1e3", Error::Unit),
            ("1 minute 24", Error::Unit),
            ("2 fortnights", Error::Unit),
            ("1m 2h", Error::Order),
            ("1m 2m", Error::Order),
            ("1:2", Error::Clock),
            ("1:02:03:04:05", Error::Clock),
            (":1:02", Error::Clock),
            ("1:-2", Error::Clock),
            ("1.5:00", Error::Clock),
            ("1:24s", Error::Clock),
            (":", Error::Clock),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_longer_than_292_years_is_refused() {
        assert_eq!(parse("300 days").unwrap().duration(), Some(Duration::from_secs(300 * 86400)));
        for text in ["9223372037", "1e999", "99999999999999999999", "18446744073709551615 days", "999999999999:00"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn anything_that_looks_like_a_time_span_is_read_or_refused(text in "[-+]?[0-9.:dhmsayour, ]{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(days in 0_u64..100_000, hours in 0_u64..24, minutes in 0_u64..60, seconds in 0_u64..60) {
            let length = Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds);
            for text in [
                format!("{days} days {hours} hours, {minutes} minutes,{seconds} seconds"),
                format!("{days}d{hours}h{minutes}m{seconds}s"),
                format!("{days}:{hours:02}:{minutes:02}:{seconds:02}"),
                format!("{}", length.as_secs()),
            ] {
                prop_assert_eq!(parse(&text).map(TimeSpan::duration), Ok(Some(length)), "{}", text);
            }
        }
    }
}
