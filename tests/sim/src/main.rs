//! `sim SEED` prints the events of one seed; `sim --count N [--from SEED]` plays N seeds and reports its progress.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use sim::plan::Plan;
use sim::{report, run};

const USAGE: &str = "usage: sim SEED | sim --count N [--from SEED]";
/// Interval of the progress reports.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.replace('_', "").parse::<u64>();
    match words.as_slice() {
        ["--count", count] => number(count).map_or_else(|_| usage(), |count| play_many(0, count)),
        ["--count", count, "--from", first] => match (number(count), number(first)) {
            (Ok(count), Ok(first)) => play_many(first, count),
            _ => usage(),
        },
        [seed] => number(seed).map_or_else(|_| usage(), play_one),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Prints the events of one seed or, if it fails, those of the smallest failing plan.
fn play_one(seed: u64) -> ExitCode {
    let plan = Plan::new(seed);
    let outcome = run::play(&plan, true);
    match &outcome.breach {
        None => {
            print!("{}", report::trace(&plan, &outcome));
            ExitCode::SUCCESS
        }
        Some(breach) => {
            print!("{}", report::failure(&plan, breach));
            ExitCode::FAILURE
        }
    }
}

fn play_many(first: u64, count: u64) -> ExitCode {
    let begin = Instant::now();
    let outcome = run::play_many(
        first,
        count,
        |progress| {
            let seconds = begin.elapsed().as_secs_f64();
            let failed: Vec<String> = progress.failed.keys().take(20).map(u64::to_string).collect();
            println!(
                "{} of {count} seeds, {} failed{}; {:.0} seeds a minute, the slowest run settled after {:.0} s",
                progress.played,
                progress.failed.len(),
                if failed.is_empty() { String::new() } else { format!(" (seeds {})", failed.join(", ")) },
                60.0 * progress.played as f64 / seconds.max(0.001),
                progress.slowest.0.as_secs_f64(),
            );
        },
        PROGRESS,
    );
    println!("{}", report::summary(&outcome));
    match outcome.failed.first_key_value() {
        None => ExitCode::SUCCESS,
        Some((seed, breach)) => {
            print!("{}", report::failure(&Plan::new(*seed), breach));
            ExitCode::FAILURE
        }
    }
}
