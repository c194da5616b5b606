//! Decodes each kind of descriptor, field by field.

use uuid::Uuid;

use super::address::{place, port_number};
use super::layout::{BadTable, Defect, Descriptor, MAJOR, Table};
use super::record::{
    Availability, Demand, Discovery, Extended, Flaw, Hfi, Host, Mac, NamespaceId, Nbft, Priority, Security, Ssns,
};
use crate::{NQN_MAX, Transport};

/// Structure IDs (Boot Specification 1.0, Figure 5).
mod id {
    pub(super) const CONTROL: u8 = 1;
    pub(super) const HOST: u8 = 2;
    pub(super) const HFI: u8 = 3;
    pub(super) const SSNS: u8 = 4;
    pub(super) const SECURITY: u8 = 5;
    pub(super) const DISCOVERY: u8 = 6;
    pub(super) const HFI_TRANSPORT: u8 = 7;
    pub(super) const SSNS_EXTENDED: u8 = 9;
}

/// Length of the fields of each descriptor in bytes.
mod size {
    pub(super) const HOST: usize = 32;
    pub(super) const HFI: usize = 32;
    pub(super) const HFI_TCP: usize = 128;
    pub(super) const SSNS: usize = 128;
    pub(super) const SSNS_EXTENDED: usize = 18;
    pub(super) const SECURITY: usize = 64;
    pub(super) const DISCOVERY: usize = 32;
}

/// Bit 0 of the flags of every descriptor: the descriptor is valid.
const VALID: u16 = 1 << 0;
/// HFI transport type: NVMe/TCP (Boot Specification 1.0, Figure 7).
const TCP: u8 = 3;

/// Decodes a table.
///
/// # Errors
/// [`BadTable`] if the whole table cannot be used. Errors in single records are in [`Nbft::flaws`].
pub fn parse(bytes: &[u8]) -> Result<Nbft, BadTable> {
    let table = Table::open(bytes)?;
    let control = table.control()?;
    if control.u8(0) != id::CONTROL {
        return Err(BadTable::NoControl(control.u8(0)));
    }
    if control.u8(1) != MAJOR {
        return Err(BadTable::Revision { what: "control descriptor", major: control.u8(1) });
    }
    let mut nbft = Nbft::default();
    if control.u8(6) & VALID as u8 == 0 {
        return Ok(nbft);
    }
    let list = |at: usize| (control.u32(at), control.u16(at + 4), control.u8(at + 7));
    let host = table.descriptor("host descriptor", (control.u32(8), control.u16(12)), size::HOST)?;
    let hfis = table.list("list of HFI descriptors", list(16), size::HFI)?;
    let namespaces = table.list("list of SSNS descriptors", list(24), size::SSNS)?;
    let profiles = table.list("list of security descriptors", list(32), size::SECURITY)?;
    let controllers = table.list("list of discovery descriptors", list(40), size::DISCOVERY)?;

    let flaws = &mut nbft.flaws;
    nbft.host = read_all("host", &[host], host_of, flaws).pop();
    nbft.hfi = read_all("HFI", &hfis, hfi_of, flaws);
    nbft.subsystem = read_all("SSNS", &namespaces, ssns_of, flaws);
    nbft.discovery = read_all("discovery", &controllers, discovery_of, flaws);
    nbft.security = read_all("security", &profiles, security_of, flaws);
    check_references(&mut nbft);
    Ok(nbft)
}

/// Decodes a descriptor. Returns `None` if it is marked invalid. An error drops the record; a defect that is pushed to
/// the list does not.
type ReadFn<T> = fn(&Descriptor<'_>, &mut Vec<Defect>) -> Result<Option<T>, Defect>;

/// Decodes the descriptors of one kind. Flaws name a descriptor by its position in the list, counted from 1.
fn read_all<T>(kind: &str, descriptors: &[Descriptor<'_>], read: ReadFn<T>, flaws: &mut Vec<Flaw>) -> Vec<T> {
    let mut records = Vec::new();
    for (number, descriptor) in (1..).zip(descriptors) {
        let mut minor = Vec::new();
        let read = read(descriptor, &mut minor);
        let flaw = |defect, used| Flaw { place: format!("{kind} descriptor {number}"), defect, used };
        flaws.extend(minor.into_iter().map(|defect| flaw(defect, true)));
        match read {
            Ok(record) => records.extend(record),
            Err(defect) => flaws.push(flaw(defect, false)),
        }
    }
    records
}

/// Replaces an optional field that cannot be read by its default, and notes the defect.
fn or_note<T: Default>(result: Result<T, Defect>, minor: &mut Vec<Defect>) -> T {
    result.unwrap_or_else(|defect| {
        minor.push(defect);
        T::default()
    })
}

fn host_of(host: &Descriptor<'_>, minor: &mut Vec<Defect>) -> Result<Option<Host>, Defect> {
    let flags = host.u8(1);
    if u16::from(flags) & VALID == 0 {
        return Ok(None);
    }
    host.is_a(id::HOST)?;
    let id = Uuid::from_bytes(host.bytes(2));
    let nqn = or_note(
        host.text("host NQN", 18).and_then(|nqn| nqn.map(|nqn| checked_nqn("host NQN", nqn)).transpose()),
        minor,
    );
    Ok(Some(Host {
        nqn,
        nqn_configured: flags & 1 << 2 != 0,
        id: Some(id).filter(|id| !id.is_nil()),
        id_configured: flags & 1 << 1 != 0,
        primary: match flags >> 3 & 3 {
            0 => Priority::NotIndicated,
            1 => Priority::Unselected,
            2 => Priority::Selected,
            _ => Priority::Reserved,
        },
    }))
}

fn hfi_of(hfi: &Descriptor<'_>, minor: &mut Vec<Defect>) -> Result<Option<Hfi>, Defect> {
    const WHAT: &str = "transport information";
    if u16::from(hfi.u8(2)) & VALID == 0 {
        return Ok(None);
    }
    hfi.is_a(id::HFI)?;
    if hfi.u8(3) != TCP {
        return Err(Defect::Transport(hfi.u8(3)));
    }
    let tcp = hfi.structure(WHAT, 16, size::HFI_TCP)?.ok_or(Defect::Missing(WHAT))?;
    tcp.is_a(id::HFI_TRANSPORT)?;
    if tcp.u8(1) != 1 {
        return Err(Defect::Version { what: WHAT, version: tcp.u8(1) });
    }
    let flags = tcp.u8(6);
    if u16::from(flags) & VALID == 0 {
        return Err(Defect::Missing(WHAT));
    }
    let dhcp = flags & 1 << 2 != 0;
    Ok(Some(Hfi {
        index: hfi.u8(1),
        transport: Transport::Tcp,
        pci_sbdf: tcp.u32(7),
        mac: Some(Mac(tcp.bytes(11))).filter(|mac| mac.0 != [0; 6]),
        // The VLAN identifier is the low 12 bits (IEEE 802.1Q).
        vlan: Some(tcp.u16(17) & 0x0fff).filter(|vlan| *vlan != 0),
        ip_origin: tcp.u8(19),
        ip: tcp.ip(20),
        prefix: tcp.u8(36),
        gateway: tcp.ip(37),
        default_route: flags & 1 << 1 != 0,
        route_metric: tcp.u16(54),
        dns: [56, 72].into_iter().filter_map(|at| tcp.ip(at)).collect(),
        dhcp,
        dhcp_server: tcp.ip(88).filter(|_| dhcp),
        host_name: or_note(tcp.text("host name", 104), minor),
    }))
}

fn ssns_of(ssns: &Descriptor<'_>, minor: &mut Vec<Defect>) -> Result<Option<Ssns>, Defect> {
    const ADDRESS: &str = "transport address";
    const SERVICE: &str = "transport service identifier";
    const NQN: &str = "subsystem NQN";
    let flags = ssns.u16(3);
    if flags & VALID == 0 {
        return Ok(None);
    }
    ssns.is_a(id::SSNS)?;
    if ssns.u8(5) != TCP {
        return Err(Defect::Transport(ssns.u8(5)));
    }
    let transport_flags = Some(ssns.u16(6)).filter(|flags| flags & VALID != 0).unwrap_or_default();
    let trsvcid = ssns.text(SERVICE, 16)?.ok_or(Defect::Missing(SERVICE))?;
    let secondary = or_note(ssns.object("list of secondary HFIs", 48), minor).unwrap_or_default();
    let mut hfis = Vec::new();
    for index in std::iter::once(ssns.u8(46)).chain(secondary.iter().copied()) {
        if index != 0 && !hfis.contains(&index) {
            hfis.push(index);
        }
    }
    Ok(Some(Ssns {
        index: ssns.u16(1),
        transport: Transport::Tcp,
        traddr: ssns.ip_object(ADDRESS, 10)?.ok_or(Defect::Missing(ADDRESS))?,
        trsvcid: port_number(&trsvcid).ok_or(Defect::Port(trsvcid))?,
        nqn: checked_nqn(NQN, ssns.text(NQN, 54)?.ok_or(Defect::Missing(NQN))?)?,
        port_id: ssns.u16(22),
        nsid: ssns.u32(24),
        nid: namespace_id(ssns),
        hfi: hfis,
        discovery: Some(ssns.u8(8)).filter(|index| *index != 0),
        security: Some(ssns.u8(45)).filter(|_| flags & 1 << 2 != 0),
        non_bootable: flags & 1 << 1 != 0,
        dhcp_root_path: flags & 1 << 3 != 0,
        separate_discovery: flags & 1 << 5 != 0,
        discovered: flags & 1 << 6 != 0,
        availability: match flags >> 7 & 3 {
            0 => Availability::NotIndicated,
            1 => Availability::Available,
            2 => Availability::Unavailable,
            _ => Availability::Reserved,
        },
        header_digest: transport_flags & 1 << 1 != 0,
        data_digest: transport_flags & 1 << 2 != 0,
        extended: if flags & 1 << 4 != 0 { or_note(extended_of(ssns), minor) } else { None },
    }))
}

fn namespace_id(ssns: &Descriptor<'_>) -> Option<NamespaceId> {
    match ssns.u8(28) {
        1 => Some(NamespaceId::Eui64(ssns.bytes(29))),
        2 => Some(NamespaceId::Nguid(ssns.bytes(29))),
        3 => Some(NamespaceId::Uuid(Uuid::from_bytes(ssns.bytes(29)))),
        _ => None,
    }
}

fn extended_of(ssns: &Descriptor<'_>) -> Result<Option<Extended>, Defect> {
    const WHAT: &str = "extended information";
    let extended = ssns.structure(WHAT, 60, size::SSNS_EXTENDED)?.ok_or(Defect::Missing(WHAT))?;
    extended.is_a(id::SSNS_EXTENDED)?;
    if extended.u8(1) != 1 {
        return Err(Defect::Version { what: WHAT, version: extended.u8(1) });
    }
    let flags = extended.u32(4);
    if flags & u32::from(VALID) == 0 {
        return Ok(None);
    }
    Ok(Some(Extended {
        cntlid: extended.u16(8),
        asqsz: extended.u16(10),
        asqsz_configured: flags & 1 << 1 != 0,
        dhcp_root_path: extended.text("DHCP root path", 12)?,
    }))
}

fn discovery_of(discovery: &Descriptor<'_>, _: &mut Vec<Defect>) -> Result<Option<Discovery>, Defect> {
    const ADDRESS: &str = "address";
    const NQN: &str = "NQN";
    if u16::from(discovery.u8(1)) & VALID == 0 {
        return Ok(None);
    }
    discovery.is_a(id::DISCOVERY)?;
    let uri = discovery.text(ADDRESS, 6)?.ok_or(Defect::Missing(ADDRESS))?;
    let place = place(&uri).map_err(|cause| Defect::Uri { uri: uri.clone(), cause })?;
    Ok(Some(Discovery {
        index: discovery.u8(2),
        uri,
        transport: place.transport,
        traddr: place.traddr,
        trsvcid: place.trsvcid,
        nqn: discovery.text(NQN, 12)?.map(|nqn| checked_nqn(NQN, nqn)).transpose()?,
        hfi: Some(discovery.u8(3)).filter(|index| *index != 0),
        security: Some(discovery.u8(4)).filter(|index| *index != 0),
    }))
}

fn security_of(security: &Descriptor<'_>, minor: &mut Vec<Defect>) -> Result<Option<Security>, Defect> {
    let flags = security.u16(2);
    if flags & VALID == 0 {
        return Ok(None);
    }
    security.is_a(id::SECURITY)?;
    // A list whose flag is not set is reserved: its reference may lead anywhere.
    let field = |shift: u16| (flags >> shift & 3) as u8;
    // What the profile requires counts even if a list of it is damaged.
    let mut list = |announced: bool, what: &'static str, at: usize| match announced {
        true => or_note(security.object(what, at), minor).unwrap_or_default().to_vec(),
        false => Vec::new(),
    };
    Ok(Some(Security {
        index: security.u8(1),
        in_band_authentication: demand(field(1)),
        secure_channel: demand(field(5)),
        secure_channel_algorithms: list(field(7) != 0, "list of secure channel algorithms", 6),
        authentication_protocols: list(field(3) != 0, "list of authentication protocols", 12),
        cipher_suites: list(flags & 1 << 9 != 0, "list of cipher suites", 18),
        dh_groups: list(flags & 1 << 10 != 0, "list of DH groups", 24),
        hash_functions: list(flags & 1 << 11 != 0, "list of hash functions", 30),
        secret_keypath: or_note(security.text("secret keypath", 36), minor),
    }))
}

fn demand(value: u8) -> Demand {
    match value {
        0 => Demand::NotSupported,
        1 => Demand::Supported,
        2 => Demand::Required,
        _ => Demand::Reserved,
    }
}

/// Checks that the kernel would accept the NQN. It is never corrected, because NQNs are compared byte by byte.
fn checked_nqn(what: &'static str, nqn: String) -> Result<String, Defect> {
    if nqn.len() > NQN_MAX || nqn.contains([',', ' ']) { Err(Defect::NotAnNqn(what)) } else { Ok(nqn) }
}

/// Reports references to records that do not exist, and removes them.
fn check_references(nbft: &mut Nbft) {
    let hfis: Vec<u8> = nbft.hfi.iter().map(|hfi| hfi.index).collect();
    let controllers: Vec<u8> = nbft.discovery.iter().map(|discovery| discovery.index).collect();
    let profiles: Vec<u8> = nbft.security.iter().map(|security| security.index).collect();
    let mut flaws = Vec::new();
    let mut check = |place: &str, what: &'static str, known: &[u8], index: u8| {
        let there = known.contains(&index);
        if !there {
            flaws.push(Flaw { place: place.to_owned(), defect: Defect::Reference { what, index }, used: true });
        }
        there
    };
    for each in &mut nbft.subsystem {
        let place = format!("SSNS {}", each.index);
        each.hfi.retain(|index| check(&place, "HFI", &hfis, *index));
        each.discovery = each.discovery.filter(|index| check(&place, "discovery", &controllers, *index));
        each.security = each.security.filter(|index| check(&place, "security", &profiles, *index));
    }
    for each in &mut nbft.discovery {
        let place = format!("discovery {}", each.index);
        each.hfi = each.hfi.filter(|index| check(&place, "HFI", &hfis, *index));
        each.security = each.security.filter(|index| check(&place, "security", &profiles, *index));
    }
    nbft.flaws.append(&mut flaws);
}
