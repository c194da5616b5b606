//! /dev/nvme-fabrics: its supported options, the write that makes a connection, and its answer.
//!
//! | module | what it is about |
//! |---|---|
//! | `causes` | why a connect failed, with remedies |
//! | `facts` | distinguishes the causes of one errno |

mod causes;
mod facts;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use nix::errno::Errno;

use super::Roots;
use facts::Facts;
use stas_core::{ConnectError, OsError};
use stas_nvme::Transport;
use stas_nvme::connect::{SupportedOptions, parse_answer};

/// Size of the read buffer in bytes: more than the list of options and the answers need.
const ANSWER: usize = 4096;

/// The device through which the kernel makes connections.
#[derive(Clone, Debug)]
pub struct Fabrics {
    device: PathBuf,
    sys: PathBuf,
}

/// A controller that was just made. Until this is dropped, the kernel gives its instance number to no other controller,
/// because the open file holds a reference to it.
#[derive(Debug)]
pub struct NewController {
    /// The instance number (N of nvmeN).
    pub instance: u32,
    _open: File,
}

impl Fabrics {
    /// The device of this host. It is not opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self { device: roots.dev.join("nvme-fabrics"), sys: roots.sys.clone() }
    }

    /// The options that the kernel supports. Linux 5.17 and later lists them; for older kernels they follow from the
    /// version.
    ///
    /// # Errors
    /// Fails if the device cannot be opened or read.
    pub fn supported(&self) -> io::Result<SupportedOptions> {
        match read_answer(&mut self.open()?).map(|listed| SupportedOptions::parse(&listed)) {
            Ok(Some(listed)) => return Ok(listed),
            Err(error) if error.raw_os_error() != Some(Errno::EINVAL as i32) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        Ok(SupportedOptions::for_release(&nix::sys::utsname::uname()?.release().to_string_lossy()))
    }

    /// The options that the kernel lists. `None` if it does not list them.
    fn listed_options(&self) -> Option<SupportedOptions> {
        SupportedOptions::parse(&read_answer(&mut self.open().ok()?).ok()?)
    }

    /// Makes a connection. Blocks until it is made or has failed, up to minutes.
    ///
    /// # Errors
    /// The kernel's error, with its likely causes.
    pub fn connect(&self, transport: Transport, options: &str) -> Result<NewController, ConnectError> {
        let failed = |error: io::Error| self.why_not_connected(transport, options, &error);
        let mut file = self.open().map_err(|error| why_not_opened(&error))?;
        // The kernel takes all options of a connection in one write. Repeating an interrupted write would be another
        // connect.
        let written = file.write(options.as_bytes()).map_err(failed)?;
        if written != options.len() {
            return Err(ConnectError::PartlyWritten);
        }
        let answer = read_answer(&mut file).map_err(failed)?;
        match parse_answer(&answer) {
            Some(parsed) => Ok(NewController { instance: parsed.instance, _open: file }),
            None => Err(ConnectError::UnexpectedReply(answer)),
        }
    }

    fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.device)
    }

    fn why_not_connected(&self, transport: Transport, options: &str, error: &io::Error) -> ConnectError {
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EALREADY => ConnectError::Already,
            errno => {
                let explanation = causes::of_connect(errno, &Facts::of(self, transport, options));
                ConnectError::Kernel { errno: error.raw_os_error().unwrap_or(0), explanation }
            }
        }
    }
}

fn why_not_opened(error: &io::Error) -> ConnectError {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "modprobe nvme-fabrics",
        _ => "the daemon must run as root, with DeviceAllow=/dev/nvme-fabrics rw",
    };
    ConnectError::Open { errno: error.raw_os_error().unwrap_or(0), error: OsError::new(error), remedy }
}

fn read_answer(file: &mut File) -> io::Result<String> {
    let mut answer = [0; ANSWER];
    let length = file.read(&mut answer)?;
    Ok(String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).trim_end_matches(['\n', '\0']).to_owned())
}

fn module(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "nvme-tcp",
        Transport::Rdma => "nvme-rdma",
        Transport::Fc => "nvme-fc",
        Transport::Loop => "nvme-loop",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fake_tree::FakeTree;

    #[test]
    fn the_options_are_what_the_device_says() {
        let tree = FakeTree::new();
        tree.put("dev/nvme-fabrics", "instance=-1,cntlid=-1,transport=%s,nqn=%s,host_iface=%s\n");
        let supported = Fabrics::new(&tree.roots()).supported().unwrap();
        assert!(supported.has("host_iface"));
        assert!(!supported.has("dhchap_secret"));
    }

    #[test]
    fn a_kernel_that_does_not_list_its_options_is_known_by_its_version() {
        let tree = FakeTree::new();
        tree.put("dev/nvme-fabrics", "");
        assert!(Fabrics::new(&tree.roots()).supported().unwrap().has("transport"));
    }

    #[test]
    fn without_the_device_the_error_names_the_module() {
        let tree = FakeTree::new();
        let fabrics = Fabrics::new(&tree.roots());
        assert!(fabrics.supported().is_err());
        let error = fabrics.connect(Transport::Tcp, "x").unwrap_err().to_string();
        assert!(error.contains("modprobe nvme-fabrics"), "{error}");
    }

    #[test]
    fn the_controller_that_was_made_is_the_one_of_the_answer() {
        let tree = FakeTree::new();
        let fabrics = Fabrics::new(&tree.roots());
        let options = "transport=tcp";
        // Reading a file continues after what was written.
        tree.put("dev/nvme-fabrics", &format!("{}instance=7,cntlid=3\n", "x".repeat(options.len())));
        assert_eq!(fabrics.connect(Transport::Tcp, options).unwrap().instance, 7);
        tree.put("dev/nvme-fabrics", &format!("{}what?", "x".repeat(options.len())));
        let error = fabrics.connect(Transport::Tcp, options).unwrap_err();
        assert!(error.to_string().starts_with("unexpected reply from /dev/nvme-fabrics: \"what?\""), "{error}");
    }

    #[test]
    fn each_transport_has_its_module() {
        let tree = FakeTree::new();
        let fabrics = Fabrics::new(&tree.roots());
        for transport in [Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop] {
            let invalid = || fabrics.why_not_connected(transport, "", &Errno::EINVAL.into()).to_string();
            let module = module(transport);
            assert!(invalid().contains(&format!("modprobe {module}")), "{}", invalid());
            tree.put(format!("sys/module/{}/refcnt", module.replace('-', "_")), "0");
            assert!(!invalid().contains("modprobe"), "{}", invalid());
        }
    }

    #[test]
    fn already_is_an_error_of_its_own_and_others_keep_their_number() {
        let fabrics = Fabrics::new(&FakeTree::new().roots());
        let why = |errno: Errno| fabrics.why_not_connected(Transport::Tcp, "", &errno.into());
        assert_eq!(why(Errno::EALREADY), ConnectError::Already);
        assert_eq!(why(Errno::ECONNREFUSED).errno(), Some(Errno::ECONNREFUSED as i32));
    }
}
