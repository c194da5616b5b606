//! Performs a plan, on the kernel or on a dry tree.

mod advice;
mod dry_tree;
mod kernel;

use std::io;

use crate::paths::Paths;
use crate::plan::Plan;
use crate::step::Step;

pub use dry_tree::DryTree;
pub use kernel::Kernel;

/// Performs the steps of a plan.
pub trait Executor {
    /// Performs one step.
    ///
    /// # Errors
    /// Returns [`Failure`] with the cause. The step has then changed nothing.
    fn carry_out(&self, step: &Step) -> Result<Outcome, Failure>;
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was performed.
    Done,
    /// It was skipped; the text says why. This is no error.
    Left(String),
}

/// Why a step failed.
#[derive(Debug)]
pub enum Failure {
    /// A system call failed.
    Call(io::Error),
    /// A command failed or could not be run; the text says why.
    Command(String),
}

/// A plan that failed after some steps. These steps are recorded and are not undone.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed: {cause}{advice}")]
pub struct BrokenOff {
    command: String,
    cause: String,
    advice: String,
}

/// Receives the progress of a plan.
pub trait Observer {
    /// An action starts.
    fn begins(&mut self, says: &str);
    /// A step was performed.
    fn done(&mut self, step: &Step);
    /// A step was skipped.
    fn left(&mut self, why: &str);
}

/// Performs a plan from the first step to the last.
///
/// # Errors
/// Returns [`BrokenOff`] at the first step that fails; the rest is not tried.
pub fn execute(
    plan: &Plan,
    paths: &Paths,
    executor: &dyn Executor,
    observer: &mut dyn Observer,
) -> Result<(), BrokenOff> {
    for action in &plan.actions {
        observer.begins(&action.says);
        for step in &action.steps {
            match executor.carry_out(step) {
                Ok(Outcome::Done) => observer.done(step),
                Ok(Outcome::Left(why)) => observer.left(&why),
                Err(failure) => return Err(broken_off(step, paths, &failure)),
            }
        }
    }
    Ok(())
}

fn broken_off(step: &Step, paths: &Paths, failure: &Failure) -> BrokenOff {
    let cause = match failure {
        Failure::Call(error) => error.to_string(),
        Failure::Command(words) => words.clone(),
    };
    let advice = advice::advice(step, failure).map(|words| format!("; {words}")).unwrap_or_default();
    BrokenOff { command: step.shell(&paths.configfs), cause, advice }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::Action;
    use crate::step::Item;

    /// Collects the reported progress.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Observer for Notes {
        fn begins(&mut self, says: &str) {
            self.0.push(says.to_owned());
        }

        fn done(&mut self, step: &Step) {
            self.0.push(format!("done: {step:?}"));
        }

        fn left(&mut self, why: &str) {
            self.0.push(format!("left: {why}"));
        }
    }

    /// Ports are in use, and all other steps fail in a command.
    struct Busy;

    impl Executor for Busy {
        fn carry_out(&self, step: &Step) -> Result<Outcome, Failure> {
            match step {
                Step::Make(Item::Port(_)) => Ok(Outcome::Left("it is in use".into())),
                _ => Err(Failure::Command("modprobe: FATAL: Module nvmet is in use".into())),
            }
        }
    }

    fn action(says: &str, steps: &[Step]) -> Action {
        Action { says: says.into(), steps: steps.to_vec() }
    }

    #[test]
    fn a_step_that_is_not_needed_is_reported_and_one_that_a_command_refuses_ends_it() {
        let paths = Paths::new(Some(Path::new("/k")), None);
        let [left, refused, never] =
            [Step::Make(Item::Port(1)), Step::Remove(Item::Port(2)), Step::Remove(Item::Port(3))];
        let actions = vec![action("port 1", &[left]), action("port 2", &[refused, never]), action("port 3", &[])];
        let mut notes = Notes::default();
        let broken_off = execute(&Plan { actions, ..Plan::default() }, &paths, &Busy, &mut notes).unwrap_err();
        assert_eq!(notes.0, ["port 1", "left: it is in use", "port 2"]);
        let said = broken_off.to_string();
        assert_eq!(said, "`rmdir /k/nvmet/ports/2` failed: modprobe: FATAL: Module nvmet is in use");
    }

    #[test]
    fn what_breaks_off_is_reported_as_a_command_with_its_cause_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(folder.path()), None);
        let actions = vec![Action { says: "port 1".into(), steps: vec![Step::Make(Item::Port(1))] }];
        let plan = Plan { actions, ..Plan::default() };
        let error = execute(&plan, &paths, &Kernel::new(&paths), &mut Notes::default()).unwrap_err().to_string();
        let root = folder.path().display();
        assert!(error.starts_with(&format!("`mkdir {root}/nvmet/ports/1` failed: No such file")), "{error}");
        assert!(error.contains("is configfs mounted?"), "{error}");
    }
}
