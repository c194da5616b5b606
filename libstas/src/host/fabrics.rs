//! /dev/nvme-fabrics: which options it takes, the write that makes a connection, and its answer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use nix::errno::Errno;

use super::Roots;
use crate::core::ConnectError;
use crate::nvme::Transport;
use crate::nvme::connect::{SupportedOptions, parse_answer};

/// The kernel's list of options and its answers fit well into this.
const ANSWER: usize = 4096;

/// The kernel's door to NVMe-oF.
#[derive(Clone, Debug)]
pub struct Fabrics {
    device: PathBuf,
    modules: PathBuf,
}

impl Fabrics {
    /// The one of this host. Nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self { device: roots.dev.join("nvme-fabrics"), modules: roots.sys.join("module") }
    }

    /// The options that the kernel takes: it lists them from Linux 5.17 on, for older ones its version tells.
    ///
    /// # Errors
    /// When the device cannot be opened or read.
    pub fn supported(&self) -> io::Result<SupportedOptions> {
        match read_answer(&mut self.open()?).map(|listed| SupportedOptions::parse(&listed)) {
            Ok(Some(listed)) => return Ok(listed),
            Err(error) if error.raw_os_error() != Some(Errno::EINVAL as i32) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        Ok(SupportedOptions::for_release(&nix::sys::utsname::uname()?.release().to_string_lossy()))
    }

    /// Has the kernel make a connection, and gives back the N of the nvmeN that it made. Blocks until the
    /// connection is there or has failed: up to minutes.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn connect(&self, transport: Transport, options: &str) -> Result<u32, ConnectError> {
        let failed = |error: io::Error| self.in_words(transport, &error);
        let mut file = self.open().map_err(failed)?;
        // The kernel takes the options of one connection from one write; an interrupted one would be another try.
        let written = file.write(options.as_bytes()).map_err(failed)?;
        if written != options.len() {
            return Err(ConnectError::Kernel { errno: 0, reason: "the kernel took only a part of the options".into() });
        }
        let answer = read_answer(&mut file).map_err(failed)?;
        parse_answer(&answer)
            .map(|answer| answer.instance)
            .ok_or_else(|| ConnectError::Kernel { errno: 0, reason: format!("the kernel's answer is odd: {answer:?}") })
    }

    fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.device)
    }

    fn in_words(&self, transport: Transport, error: &io::Error) -> ConnectError {
        let errno = error.raw_os_error().unwrap_or(0);
        match Errno::from_raw(errno) {
            Errno::EALREADY => ConnectError::Already,
            Errno::EINVAL if !self.has_module(transport) => ConnectError::Kernel {
                errno,
                reason: format!("the kernel has no module for {transport}: modprobe {}", module(transport)),
            },
            known => ConnectError::Kernel { errno, reason: reason(known, transport, error) },
        }
    }

    /// A module that is built in has no entry if it has no parameters, but then the kernel does not miss it either.
    fn has_module(&self, transport: Transport) -> bool {
        self.modules.join(module(transport).replace('-', "_")).exists()
    }
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

/// What the kernel's errno means here. It answers EIO for every refusal of the controller, and tells which one in
/// its own log alone.
fn reason(errno: Errno, transport: Transport, error: &io::Error) -> String {
    let words = match errno {
        Errno::ECONNREFUSED => "the target refused the connection",
        Errno::ETIMEDOUT => "the target did not answer in time",
        Errno::EHOSTUNREACH | Errno::ENETUNREACH => "there is no route to the target",
        Errno::ECONNRESET | Errno::EPIPE => "the target closed the connection",
        Errno::EADDRNOTAVAIL => "host-traddr is no address of this host",
        Errno::ENODEV if transport == Transport::Rdma => "no RDMA device of this host reaches the target",
        Errno::ENODEV if transport == Transport::Fc => "there is no such FC port, or it is not there yet",
        Errno::ENODEV => "host-iface is no interface of this host, or its link is gone",
        Errno::ENOENT => "/dev/nvme-fabrics is not there: modprobe nvme-fabrics",
        Errno::EIO => "the target refused (the kernel's log says why)",
        Errno::EINVAL => "the kernel does not take these parameters (its log says which)",
        Errno::EOPNOTSUPP => "the kernel or the target does not support what is asked for (the kernel's log says what)",
        Errno::ENOKEY | Errno::EKEYREJECTED | Errno::EKEYEXPIRED | Errno::EACCES => {
            "authentication failed: the secrets of host and target do not match"
        }
        Errno::EPROTO => "the target does not keep to the protocol",
        Errno::ENOMEM => "the kernel is out of memory",
        Errno::EINTR => "the attempt was interrupted",
        _ => return error.to_string(),
    };
    match errno.desc() {
        "Unknown errno" => words.to_owned(),
        desc => format!("{words} ({desc})"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::fake_tree::FakeTree;

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
    fn a_missing_transport_module_is_named_only_where_it_is_missing() {
        let tree = FakeTree::new();
        tree.put("sys/module/nvme_rdma/refcnt", "0");
        let fabrics = Fabrics::new(&tree.roots());
        let invalid = io::Error::from(Errno::EINVAL);
        assert!(fabrics.in_words(Transport::Tcp, &invalid).to_string().contains("modprobe nvme-tcp"));
        assert!(!fabrics.in_words(Transport::Rdma, &invalid).to_string().contains("modprobe"));
    }

    #[test]
    fn the_controller_that_was_made_is_the_one_of_the_answer() {
        let tree = FakeTree::new();
        let fabrics = Fabrics::new(&tree.roots());
        let options = "transport=tcp";
        // A file is read on behind what was written.
        tree.put("dev/nvme-fabrics", &format!("{}instance=7,cntlid=3\n", "x".repeat(options.len())));
        assert_eq!(fabrics.connect(Transport::Tcp, options), Ok(7));
        tree.put("dev/nvme-fabrics", &format!("{}what?", "x".repeat(options.len())));
        let error = fabrics.connect(Transport::Tcp, options).unwrap_err();
        assert_eq!(error.to_string(), "the kernel's answer is odd: \"what?\"");
    }

    #[test]
    fn a_refusal_says_whose_it_is_and_what_to_look_at() {
        use Errno::*;
        use Transport::{Fc, Loop, Rdma, Tcp};

        let tree = FakeTree::new();
        for module in ["nvme_tcp", "nvme_rdma", "nvme_fc", "nvme_loop"] {
            tree.put(format!("sys/module/{module}/refcnt"), "0");
        }
        let fabrics = Fabrics::new(&tree.roots());
        for (transport, errno, words) in [
            (Tcp, ETIMEDOUT, "the target did not answer"),
            (Tcp, EHOSTUNREACH, "no route to the target"),
            (Tcp, ENETUNREACH, "no route to the target"),
            (Tcp, ECONNRESET, "the target closed"),
            (Tcp, EPIPE, "the target closed"),
            (Tcp, EADDRNOTAVAIL, "host-traddr is no address of this host"),
            (Rdma, ENODEV, "no RDMA device"),
            (Fc, ENODEV, "no such FC port"),
            (Tcp, ENODEV, "host-iface is no interface"),
            (Tcp, EIO, "the kernel's log says why"),
            (Loop, EINVAL, "does not take these parameters"),
            (Tcp, EOPNOTSUPP, "does not support"),
            (Tcp, ENOKEY, "the secrets of host and target do not match"),
            (Tcp, EKEYREJECTED, "the secrets of host and target do not match"),
            (Tcp, EPROTO, "does not keep to the protocol"),
            (Tcp, ENOMEM, "out of memory"),
            (Tcp, EINTR, "interrupted"),
            (Tcp, EXDEV, "os error 18"),
        ] {
            let error = fabrics.in_words(transport, &errno.into());
            assert!(matches!(&error, ConnectError::Kernel { errno: told, .. } if *told == errno as i32), "{error:?}");
            assert!(error.to_string().contains(words), "{errno}: {error}");
        }
    }

    #[test]
    fn each_transport_has_its_module() {
        let fabrics = Fabrics::new(&FakeTree::new().roots());
        for (transport, module) in [
            (Transport::Tcp, "nvme-tcp"),
            (Transport::Rdma, "nvme-rdma"),
            (Transport::Fc, "nvme-fc"),
            (Transport::Loop, "nvme-loop"),
        ] {
            let error = fabrics.in_words(transport, &Errno::EINVAL.into()).to_string();
            assert!(error.contains(&format!("modprobe {module}")), "{error}");
        }
    }

    #[test]
    fn already_is_a_word_of_its_own() {
        let fabrics = Fabrics::new(&FakeTree::new().roots());
        assert_eq!(fabrics.in_words(Transport::Tcp, &Errno::EALREADY.into()), ConnectError::Already);
        let refused = fabrics.in_words(Transport::Tcp, &Errno::ECONNREFUSED.into());
        assert_eq!(refused.to_string(), "the target refused the connection (Connection refused)");
    }
}
