//! The commands: take a snapshot, make a plan, then print it (`--dry-run`) or perform and record it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use crate::actual::{Actual, ObserveError, observe};
use crate::config::{self, ConfigError};
use crate::desired::Desired;
use crate::execute::{self, BrokenOff, DryTree, Executor, Kernel, Observer};
use crate::listing::{self, Format};
use crate::paths::Paths;
use crate::plan::{self, Plan, Refusal};
use crate::record::{Record, RecordError};
use crate::step::Step;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum CommandError {
    /// The configuration has an error.
    Config(#[from] ConfigError),
    /// The state of the kernel cannot be read.
    Observe(#[from] ObserveError),
    /// The record is not usable.
    Record(#[from] RecordError),
    /// It would change something that this tool did not create, or cannot succeed.
    Refusal(#[from] Refusal),
    /// It failed after some steps, which are recorded.
    BrokenOff(#[from] BrokenOff),
    /// Only root may change the target.
    #[error("changing the kernel's target requires root privileges; --dry-run shows without them what would be done")]
    NeedsRoot,
    /// Another nvmet is running.
    #[error("another nvmet is running (it has locked {0}); try again when it has ended")]
    Busy(String),
    /// Standard output is closed.
    Output(#[from] io::Error),
}

/// One run of the tool.
pub struct Session<'a> {
    paths: Paths,
    dry_run: bool,
    output: &'a mut dyn Write,
}

impl<'a> Session<'a> {
    /// Creates a run with these paths, with its messages going to `output`.
    pub fn new(paths: Paths, dry_run: bool, output: &'a mut dyn Write) -> Self {
        Self { paths, dry_run, output }
    }

    /// The command `nvmet create`.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed unless it is [`CommandError::BrokenOff`].
    pub fn create(&mut self, file: Option<&Path>, delete: bool) -> Result<(), CommandError> {
        let wanted = self.configuration(file)?;
        let _lock = self.begin()?;
        let (mut observed, mut record) = self.snapshot_and_record(Some(&wanted))?;
        if delete {
            // Refuse before anything is removed: a target that cannot be created again is left as it is.
            let predicted = plan::cleaned(observed.clone(), &record);
            let kept = kept(&record, &predicted);
            plan::create(&wanted, &predicted, &kept)?;
            let cleaning = plan::clean(&observed, &record);
            self.carry_out(&cleaning, &mut record)?;
            (observed, record) =
                if self.dry_run { (predicted, kept) } else { (observe(&self.paths, Some(&wanted))?, record) };
        }
        let plan = plan::create(&wanted, &observed, &record)?;
        self.carry_out(&plan, &mut record)?;
        self.finish(&plan, "nothing to do: the target matches the configuration")
    }

    /// The command `nvmet clean`.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed unless it is [`CommandError::BrokenOff`].
    pub fn clean(&mut self) -> Result<(), CommandError> {
        let _lock = self.begin()?;
        let (observed, mut record) = self.snapshot_and_record(None)?;
        let plan = plan::clean(&observed, &record);
        self.carry_out(&plan, &mut record)?;
        self.finish(&plan, "nothing to do: nothing exists that nvmet created")
    }

    /// The command `nvmet ls`.
    ///
    /// # Errors
    /// Fails with [`CommandError`] if the state of the kernel cannot be read.
    pub fn ls(&mut self, format: Format) -> Result<(), CommandError> {
        let mut record = Record::load(&self.paths.record)?;
        let observed = observe(&self.paths, None)?;
        record.drop_replaced(&observed);
        writeln!(self.output, "{}", listing::list(&observed, &record, format))?;
        Ok(())
    }

    /// The command `nvmet link`.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed.
    pub fn link(&mut self, port: u16, nqn: &str) -> Result<(), CommandError> {
        self.relink(|observed| plan::link(observed, port, nqn), "nothing to do: it is linked")
    }

    /// The command `nvmet unlink`.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed.
    pub fn unlink(&mut self, port: u16, nqn: &str) -> Result<(), CommandError> {
        self.relink(|observed| plan::unlink(observed, port, nqn), "nothing to do: it is not linked")
    }

    fn relink(
        &mut self,
        planner: impl Fn(&Actual) -> Result<Plan, Refusal>,
        nothing: &str,
    ) -> Result<(), CommandError> {
        let _lock = self.begin()?;
        let (observed, mut record) = self.snapshot_and_record(None)?;
        let plan = planner(&observed)?;
        self.carry_out(&plan, &mut record)?;
        self.finish(&plan, nothing)
    }

    /// Takes a snapshot, reads the record, and drops recorded items that another program has replaced.
    fn snapshot_and_record(&mut self, wanted: Option<&Desired>) -> Result<(Actual, Record), CommandError> {
        let mut record = Record::load(&self.paths.record)?;
        let observed = observe(&self.paths, wanted)?;
        let replaced = record.drop_replaced(&observed);
        for path in &replaced {
            let path = path.display();
            let note = format!(
                "note: {path} was removed and created again by another program; nvmet no longer manages it, nor removes it"
            );
            self.remark(&note)?;
        }
        if !replaced.is_empty() && !self.dry_run {
            record.save(&self.paths.record)?;
        }
        Ok((observed, record))
    }

    fn configuration(&mut self, file: Option<&Path>) -> Result<Desired, CommandError> {
        let here = Path::new("nvmet.conf");
        match file.or_else(|| here.exists().then_some(here)) {
            Some(file) => {
                self.remark(&format!("configuration: {}", file.display()))?;
                Ok(config::load(file)?)
            }
            None => {
                self.remark("configuration: the built-in nvmet.conf")?;
                Ok(config::parse("built-in nvmet.conf", config::BUILT_IN)?)
            }
        }
    }

    /// Checks the privileges and takes the lock. A dry run needs neither.
    fn begin(&self) -> Result<Option<Flock<File>>, CommandError> {
        if self.dry_run {
            return Ok(None);
        }
        if !self.paths.is_dry && !geteuid().is_root() {
            return Err(CommandError::NeedsRoot);
        }
        let path = self.paths.record.with_extension("lock");
        let failed = |error: io::Error| RecordError::Write(path.clone(), error);
        // Only root may open the file: any process that opens it can hold the lock.
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(CommandError::Busy(path.display().to_string())),
            Err((_, errno)) => Err(failed(errno.into()).into()),
        }
    }

    fn carry_out(&mut self, plan: &Plan, record: &mut Record) -> Result<(), CommandError> {
        if self.dry_run {
            return Ok(self.print(plan)?);
        }
        for note in &plan.notes {
            self.remark(&format!("note: {note}"))?;
        }
        if plan.actions.is_empty() {
            return Ok(());
        }
        let mut claimed = record.clone();
        claimed.claim(plan.steps());
        claimed.save(&self.paths.record)?;
        let executor: Box<dyn Executor> =
            if self.paths.is_dry { Box::new(DryTree::new(&self.paths)) } else { Box::new(Kernel::new(&self.paths)) };
        let mut teller = Teller { output: self.output, record };
        let result = execute::execute(plan, &self.paths, executor.as_ref(), &mut teller);
        record.retain_existing(&observe(&self.paths, None)?);
        record.save(&self.paths.record)?;
        Ok(result?)
    }

    fn print(&mut self, plan: &Plan) -> io::Result<()> {
        for note in &plan.notes {
            writeln!(self.output, "# note: {note}")?;
        }
        for action in &plan.actions {
            writeln!(self.output, "# {}", action.says)?;
            for step in &action.steps {
                writeln!(self.output, "{}", step.shell(&self.paths.configfs))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, plan: &Plan, nothing: &str) -> Result<(), CommandError> {
        if plan.actions.is_empty() {
            self.remark(nothing)?;
        }
        Ok(())
    }

    /// Prints a message. In a dry run the output is shell input, so messages are comments.
    fn remark(&mut self, words: &str) -> io::Result<()> {
        writeln!(self.output, "{}{words}", if self.dry_run { "# " } else { "" })
    }
}

/// The part of the record that still exists in `predicted`.
fn kept(record: &Record, predicted: &Actual) -> Record {
    let mut kept = record.clone();
    kept.retain_existing(predicted);
    kept
}

/// Prints the actions and records the steps.
struct Teller<'a> {
    output: &'a mut dyn Write,
    record: &'a mut Record,
}

impl Observer for Teller<'_> {
    /// A closed output must not leave the work half done: errors are ignored.
    fn begins(&mut self, says: &str) {
        let _ = writeln!(self.output, "{says}");
    }

    fn done(&mut self, step: &Step) {
        self.record.claim([step]);
    }

    fn left(&mut self, why: &str) {
        let _ = writeln!(self.output, "  {why}");
    }
}
