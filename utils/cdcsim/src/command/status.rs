//! The status codes that a discovery controller returns (NVMe Base 2.0, Figures 101 to 106). Bit 14 is Do Not Retry.

use stas_nvme::admin::Status;

/// The Do Not Retry bit.
pub const DNR: u16 = 0x4000;

/// Successful Completion.
pub const SUCCESS: Status = Status(0x000);
/// Invalid Command Opcode.
pub const INVALID_OPCODE: Status = Status(DNR | 0x001);
/// Invalid Field in Command.
pub const INVALID_FIELD: Status = Status(DNR | 0x002);
/// Command Sequence Error.
pub const SEQUENCE: Status = Status(DNR | 0x00c);
/// Data SGL Length Invalid.
pub const DATA_LENGTH: Status = Status(DNR | 0x00f);
/// SGL Descriptor Type Invalid.
pub const SGL_TYPE: Status = Status(DNR | 0x011);
/// SGL Offset Invalid.
pub const SGL_OFFSET: Status = Status(DNR | 0x016);
/// Transient Transport Error: a data digest was wrong.
pub const TRANSPORT: Status = Status(0x022);
/// Asynchronous Event Request Limit Exceeded.
pub const TOO_MANY_EVENTS: Status = Status(DNR | 0x105);
/// Invalid Log Page.
pub const INVALID_LOG_PAGE: Status = Status(DNR | 0x109);
/// Invalid Discovery Information (TP8010).
pub const INVALID_DISCOVERY_INFORMATION: Status = Status(DNR | 0x12f);
/// Connect: Incompatible Format.
pub const CONNECT_FORMAT: Status = Status(DNR | 0x180);
/// Connect: Controller Busy.
pub const CONNECT_BUSY: Status = Status(0x181);
/// Connect: Invalid Parameters. The result names the parameter.
pub const CONNECT_PARAMETERS: Status = Status(DNR | 0x182);
