//! The only module that contains `unsafe`: the calls whose safety the compiler cannot check.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::Socket;
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use udev::MonitorSocket;

use stas_nvme::admin::{Command, Status};

/// Registers a netlink socket with the current tokio runtime.
///
/// # Errors
/// Fails if the runtime cannot monitor such a descriptor.
pub(super) fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the descriptor must stay open, and `as_raw_fd` must name the same one, for as long as the AsyncFd
    // lives. A Socket owns one open descriptor, never exchanges it, and closes it only when it is dropped; the
    // AsyncFd owns the Socket.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Registers a libudev monitor with the current tokio runtime.
///
/// # Errors
/// Fails if the runtime cannot monitor its descriptor.
pub(super) fn watch_monitor(socket: MonitorSocket) -> io::Result<AsyncFd<MonitorSocket>> {
    // SAFETY: the descriptor must stay open, and `as_raw_fd` must name the same one, for as long as the AsyncFd
    // lives. A MonitorSocket holds a reference to one udev_monitor, whose descriptor is opened when it is created and
    // closed when the last reference is dropped; the AsyncFd owns the MonitorSocket.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// `struct nvme_passthru_cmd` of linux/nvme_ioctl.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct PassthruCmd {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

// The size is part of the ioctl's number.
const _: () = assert!(size_of::<PassthruCmd>() == 72);

nix::ioctl_readwrite! {
    /// NVME_IOCTL_ADMIN_CMD of linux/nvme_ioctl.h: executes one admin command on /dev/nvmeN.
    nvme_admin_cmd, b'N', 0x41, PassthruCmd
}

/// Direction and buffer of an admin command's data.
#[derive(Debug)]
pub(super) enum Data<'a> {
    /// From the controller to the host.
    In(&'a mut [u8]),
    /// From the host to the controller.
    Out(&'a [u8]),
}

/// Issues an admin command to /dev/nvmeN and waits for its end, at most 60 s, the kernel's own limit. With a shorter
/// limit the kernel would reset the connection of a controller that is only slow.
///
/// Returns the controller's status. 0 is success.
///
/// # Errors
/// The kernel's error if the command did not reach the controller or was not completed. EINVAL if direction or length
/// of the command differ from those of `data`.
pub(super) fn admin_command(device: &File, command: Command, data: Data<'_>) -> io::Result<Status> {
    // Bits 1:0 of an opcode are the direction of the data (NVMe Base 2.1, 3.3.3.1).
    let (direction, addr, length) = match data {
        Data::In(buffer) => (0b10, buffer.as_mut_ptr() as u64, buffer.len()),
        Data::Out(buffer) => (0b01, buffer.as_ptr() as u64, buffer.len()),
    };
    if command.opcode & 0b11 != direction || usize::try_from(command.len) != Ok(length) {
        return Err(Errno::EINVAL.into());
    }
    let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw;
    let mut request = PassthruCmd {
        opcode: command.opcode,
        addr,
        data_len: command.len,
        cdw10,
        cdw11,
        cdw12,
        cdw13,
        cdw14,
        cdw15,
        ..PassthruCmd::default()
    };
    // SAFETY: the request's size was asserted above to be what the number of the ioctl says, so the kernel reads
    // and writes only `request`. It touches `data_len` bytes at `addr`, which is the whole of `data` (checked above):
    // borrowed until after the call, and exclusively where the direction in the opcode lets the kernel write (checked
    // too). There is no metadata. The call is synchronous: the kernel copies or unpins the pages before it returns,
    // so that afterwards it holds no reference to either. On a file that is no NVMe device the number is unknown, and
    // the answer is ENOTTY.
    let status = unsafe { nvme_admin_cmd(device.as_raw_fd(), &raw mut request) }?;
    u16::try_from(status).map(Status).map_err(|_| Errno::EPROTO.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use stas_nvme::admin::DimTask;

    fn errno(data: Data<'_>, command: Command) -> Option<i32> {
        admin_command(&File::open("/dev/null").unwrap(), command, data).unwrap_err().raw_os_error()
    }

    #[test]
    fn the_request_has_the_number_of_the_kernel_s_header() {
        assert_eq!(nix::request_code_readwrite!(b'N', 0x41, size_of::<PassthruCmd>()), 0xc048_4e41);
    }

    #[test]
    fn data_that_would_go_the_other_way_are_refused() {
        let read = Command::get_log_page(0x70, 0, 0, 4);
        let write = Command::discovery_information_management(DimTask::Register, 4);
        assert_eq!(errno(Data::Out(&[0; 4]), read), Some(Errno::EINVAL as i32));
        assert_eq!(errno(Data::In(&mut [0; 4]), write), Some(Errno::EINVAL as i32));
    }

    #[test]
    fn a_buffer_that_is_shorter_than_the_command_says_is_refused() {
        assert_eq!(errno(Data::In(&mut [0; 4]), Command::get_log_page(0x70, 0, 0, 8)), Some(Errno::EINVAL as i32));
    }

    #[test]
    fn what_is_no_controller_does_not_take_the_command() {
        assert_eq!(errno(Data::In(&mut [0; 4]), Command::get_log_page(0x70, 0, 0, 4)), Some(Errno::ENOTTY as i32));
    }
}
