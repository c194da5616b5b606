//! The content of a registration of this host (TP8010).

use std::fs;
use std::net::IpAddr;

use libstas::nvme::connect::host_id_for;
use libstas::nvme::dim::Registration;
use libstas::nvme::log_page::AdrFam;
use libstas::nvme::{Tid, Transport};

use crate::finder::{RegisterError, RegisterRequest};

/// The files that describe the operating system (os-release(5)).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The registration of this host. Its address is left out: the discovery controller knows it from the connection.
///
/// # Errors
/// Fails if the host ID is not a UUID.
pub fn of_this_host(request: &RegisterRequest) -> Result<Registration, RegisterError> {
    let RegisterRequest { tid, identity, .. } = request;
    let host_id = host_id_for(&tid.host_nqn, identity).ok_or_else(|| RegisterError::HostId(identity.id.clone()))?;
    let release = OS_RELEASE.iter().find_map(|path| fs::read_to_string(path).ok());
    Ok(Registration {
        host_nqn: tid.host_nqn.clone(),
        host_id: host_id.into_bytes(),
        name: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        version: release.and_then(|text| os_version(&text)).unwrap_or_else(kernel_version),
        symbolic_name: identity.symname.clone(),
        trtype: tid.transport().into(),
        adrfam: address_family(tid),
        traddr: String::new(),
    })
}

/// For example `Debian GNU/Linux 13`.
fn os_version(release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    let name = value("NAME")?;
    Some(value("VERSION_ID").map_or(name.clone(), |version| format!("{name} {version}")))
}

/// For example `Linux 6.12.41`.
fn kernel_version() -> String {
    let system = nix::sys::utsname::uname();
    let words = system
        .map(|system| [system.sysname(), system.release()].map(|word| word.to_string_lossy().into_owned()).join(" "));
    words.unwrap_or_else(|_| "Linux".to_owned())
}

fn address_family(tid: &Tid) -> AdrFam {
    match tid.transport() {
        Transport::Fc => AdrFam::FC,
        Transport::Loop => AdrFam::LOOP,
        Transport::Tcp | Transport::Rdma => {
            let address = tid.traddr.split('%').next().unwrap_or_default();
            if matches!(address.parse(), Ok(IpAddr::V6(_))) { AdrFam::IPV6 } else { AdrFam::IPV4 }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use libstas::nvme::admin::DimTask;
    use libstas::nvme::log_page::TrType;
    use libstas::nvme::{HostIdentity, TidParts};

    use super::*;

    const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:2b1f5a52-7d33-4c1e-9f0a-8d5c3e1b7a01";

    const ID: &str = "2b1f5a52-7d33-4c1e-9f0a-8d5c3e1b7a01";

    fn request(traddr: &str, id: &str) -> RegisterRequest {
        let tid = Tid::new(TidParts {
            transport: Transport::Tcp,
            traddr: traddr.into(),
            trsvcid: "8009".into(),
            subsysnqn: "nqn.cdc".into(),
            host_traddr: String::new(),
            host_iface: String::new(),
            host_nqn: HOST.into(),
        });
        let identity = HostIdentity { symname: Some("rack 7".into()), ..HostIdentity::new(HOST, id) };
        RegisterRequest { tid, task: DimTask::Register, identity: Arc::new(identity), ask_type: false }
    }

    #[test]
    fn the_registration_describes_this_host() {
        let said = of_this_host(&request("fe80::1%eth0", ID)).unwrap();
        assert_eq!(said.host_nqn, HOST);
        assert_eq!(said.host_id[..4], [0x2b, 0x1f, 0x5a, 0x52]);
        assert_eq!((said.trtype, said.adrfam), (TrType::TCP, AdrFam::IPV6));
        assert_eq!(said.symbolic_name.as_deref(), Some("rack 7"));
        assert!(said.traddr.is_empty() && !said.name.is_empty() && !said.version.is_empty());
        assert_eq!(of_this_host(&request("192.0.2.1", ID)).unwrap().adrfam, AdrFam::IPV4);
    }

    #[test]
    fn a_host_id_that_is_no_uuid_is_named() {
        assert!(of_this_host(&request("192.0.2.1", "nonsense")).unwrap_err().to_string().contains("nonsense"));
    }

    #[test]
    fn the_operating_system_is_named_by_its_release_file() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\n";
        assert_eq!(os_version(text).unwrap(), "Debian GNU/Linux 13");
        assert_eq!(os_version("NAME=Arch Linux\n").unwrap(), "Arch Linux");
        assert_eq!(os_version("ID=x\nNAME=\n"), None);
        assert!(kernel_version().starts_with("Linux"));
    }
}
