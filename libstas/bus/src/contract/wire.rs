//! The wire format of the contract: dictionaries `a{sv}` of typed values, to which later versions may add keys.

use serde::{Deserialize, Serialize};
use zbus::{DeserializeDict, SerializeDict, Type};

use super::{DcPage, Origin, PageState, RemovalReason, RemovedDc, StafdView, VERSION};
use crate::ControllerId;
use stas_core::Time;
use stas_nvme::log_page::{AdrFam, EFlags, Entry, EntryError, Subtype, TrType, Treq, Tsas, Unclear};

/// A time on CLOCK_BOOTTIME in nanoseconds. 64 bits suffice for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Moment(pub u64);

impl From<Time> for Moment {
    fn from(time: Time) -> Self {
        Self(u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Moment> for Time {
    fn from(moment: Moment) -> Self {
        Self(std::time::Duration::from_nanos(moment.0))
    }
}

/// The answer to stafd's `get_published_pages`.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Published {
    /// [`VERSION`] of the publisher.
    pub version: u32,
    /// The requested discovery controllers, with their pages.
    pub pages: Vec<Page>,
    /// All discovery controllers that stafd has removed.
    pub removed: Vec<Removal>,
    /// True if `pages` contains every discovery controller that stafd's configuration means. Absent: false.
    pub complete: Option<bool>,
}

/// A discovery controller and its log page.
#[derive(Clone, Debug, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Page {
    /// Identity of the discovery controller.
    pub controller: ControllerId,
    /// What the page proves. Absent: unknown.
    pub state: Option<PageState>,
    /// When the present connection was established. Absent while there is none.
    pub connected_since: Option<Moment>,
    /// Kind of the source that lists the discovery controller. Absent: unknown.
    pub origin: Option<Origin>,
    /// True if referrals lead to it from a configured discovery controller or a boot table. Absent: false.
    pub follows_configured: Option<bool>,
    /// GENCTR: generation of the page. Absent while no page was read.
    pub generation: Option<u64>,
    /// Readable entries, in the order of the page.
    pub entries: Vec<LogEntry>,
    /// The unreadable entries. Only sent for a page that was read on the present connection. Its state is then `saved`
    /// for readers that do not know this key, and fresh for those that do.
    pub unclear: Option<Vec<UnclearEntry>>,
    /// True if the page was left out because the answer would be too long: its state is then unknown, and a request for
    /// this page alone returns it. Absent: false.
    pub left_out: Option<bool>,
}

/// What an unreadable entry may mean: see [`Unclear`].
#[derive(Clone, Debug, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct UnclearEntry {
    /// NQN of the subsystem. Empty: unknown.
    pub subnqn: String,
    /// Transport address. Empty: unknown, or not needed.
    pub traddr: String,
    /// Port. Empty: unknown, or not needed.
    pub trsvcid: String,
    /// True if a field is damaged, so that the entry may mean any controller. Absent: true.
    pub is_damaged: Option<bool>,
}

/// A discovery controller that stafd removed.
#[derive(Clone, Debug, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Removal {
    /// Identity of the discovery controller.
    pub controller: ControllerId,
    /// Why it was removed. Absent: unknown.
    pub reason: Option<RemovalReason>,
}

/// An entry of a discovery log page, with the values of the page (NVMe Base 2.1, Figure 294).
#[derive(Clone, Debug, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct LogEntry {
    /// TRTYPE: transport type.
    pub trtype: u8,
    /// ADRFAM: address family.
    pub adrfam: u8,
    /// SUBTYPE: referral, NVM subsystem or discovery subsystem.
    pub subtype: u8,
    /// TREQ: transport requirements.
    pub treq: u8,
    /// PORTID: port of the NVM subsystem.
    pub portid: u16,
    /// CNTLID: controller ID, FFFFh for the dynamic controller model.
    pub cntlid: u16,
    /// ASQSZ: largest admin submission queue in entries.
    pub asqsz: u16,
    /// EFLAGS: entry flags.
    pub eflags: u16,
    /// TRSVCID: transport service identifier.
    pub trsvcid: String,
    /// SUBNQN: NQN of the subsystem.
    pub subnqn: String,
    /// TRADDR: transport address.
    pub traddr: String,
    /// TSAS: bytes of the transport specific address subtype (tcp: SECTYPE in the first byte), without trailing zeros
    /// where the transport defines none. Absent: unknown.
    pub tsas: Option<Vec<u8>>,
}

impl Published {
    /// Encodes a view for publication.
    #[must_use]
    pub fn of(view: &StafdView) -> Self {
        Self {
            version: VERSION,
            pages: view.dcs.iter().map(Page::of).collect(),
            removed: view.removed.iter().flatten().map(Removal::of).collect(),
            complete: Some(view.is_complete),
        }
    }

    /// Decodes what stafd has published. Controllers with an invalid identity are left out.
    ///
    /// If the publisher has a later [`VERSION`], only the identities are used: its pages and removals prove nothing.
    #[must_use]
    pub fn view(self) -> StafdView {
        let is_known = self.version <= VERSION;
        let left_out = self.pages.iter().filter(|page| page.left_out.unwrap_or_default());
        let left_out = left_out.filter_map(|page| page.controller.tid().ok()).collect();
        let mut dcs: Vec<DcPage> = self.pages.into_iter().filter_map(Page::dc_page).collect();
        let mut removed: Vec<RemovedDc> = self.removed.into_iter().filter_map(Removal::removed_dc).collect();
        if !is_known {
            dcs.iter_mut().for_each(|page| page.state = PageState::Unknown);
            removed.iter_mut().for_each(|removed| removed.reason = RemovalReason::Unknown);
        }
        let is_complete = is_known && self.complete.unwrap_or_default();
        StafdView { dcs, removed: Some(removed), is_complete, left_out }
    }
}

impl Page {
    /// Encodes a discovery controller and its page.
    #[must_use]
    pub fn of(page: &DcPage) -> Self {
        Self {
            controller: ControllerId::of(&page.dc),
            state: Some(page.state.sent(!page.unclear.is_empty())),
            connected_since: page.connected_since.map(Moment::from),
            origin: Some(page.origin),
            follows_configured: Some(page.follows_configured),
            generation: page.generation,
            entries: page.entries.iter().map(LogEntry::of).collect(),
            unclear: (!page.unclear.is_empty()).then(|| page.unclear.iter().map(UnclearEntry::of).collect()),
            left_out: None,
        }
    }

    /// A discovery controller without its page, which is to be requested alone.
    #[must_use]
    pub fn left_out_of(without_page: &DcPage) -> Self {
        Self { left_out: Some(true), ..Self::of(without_page) }
    }

    /// Decodes a page. A page with an entry that cannot be decoded proves nothing: the entry may name a connected
    /// controller.
    fn dc_page(self) -> Option<DcPage> {
        let listed = self.entries.len();
        let entries: Vec<Entry> = self.entries.into_iter().filter_map(|entry| entry.entry().ok()).collect();
        let unclear: Vec<Unclear> = self.unclear.into_iter().flatten().map(UnclearEntry::unclear).collect();
        let state = match self.state.unwrap_or_default() {
            PageState::Saved if !unclear.is_empty() => PageState::Fresh,
            state => state,
        };
        Some(DcPage {
            dc: self.controller.tid().ok()?,
            state: if entries.len() == listed { state } else { PageState::Unknown },
            connected_since: self.connected_since.map(Time::from),
            origin: self.origin.unwrap_or_default(),
            follows_configured: self.follows_configured.unwrap_or_default(),
            generation: self.generation,
            entries,
            unclear,
        })
    }
}

impl Removal {
    fn of(removed: &RemovedDc) -> Self {
        Self { controller: ControllerId::of(&removed.dc), reason: Some(removed.reason) }
    }

    fn removed_dc(self) -> Option<RemovedDc> {
        Some(RemovedDc { dc: self.controller.tid().ok()?, reason: self.reason.unwrap_or_default() })
    }
}

impl UnclearEntry {
    fn of(unclear: &Unclear) -> Self {
        let Unclear { subnqn, traddr, trsvcid, is_damaged } = unclear.clone();
        Self { subnqn, traddr, trsvcid, is_damaged: Some(is_damaged) }
    }

    fn unclear(self) -> Unclear {
        let Self { subnqn, traddr, trsvcid, is_damaged } = self;
        Unclear { subnqn, traddr, trsvcid, is_damaged: is_damaged.unwrap_or(true) }
    }
}

impl LogEntry {
    fn of(entry: &Entry) -> Self {
        Self {
            trtype: entry.trtype.0,
            adrfam: entry.adrfam.0,
            subtype: entry.subtype.0,
            treq: entry.treq.0,
            portid: entry.portid,
            cntlid: entry.cntlid,
            asqsz: entry.asqsz,
            eflags: entry.eflags.0,
            trsvcid: entry.trsvcid.clone(),
            subnqn: entry.subnqn.clone(),
            traddr: entry.traddr.clone(),
            tsas: (entry.tsas != Tsas::None).then(|| entry.tsas.encode()),
        }
    }

    fn entry(self) -> Result<Entry, EntryError> {
        let trtype = TrType(self.trtype);
        let entry = Entry {
            trtype,
            adrfam: AdrFam(self.adrfam),
            subtype: Subtype(self.subtype),
            treq: Treq(self.treq),
            portid: self.portid,
            cntlid: self.cntlid,
            asqsz: self.asqsz,
            eflags: EFlags(self.eflags),
            trsvcid: self.trsvcid,
            subnqn: self.subnqn,
            traddr: self.traddr,
            tsas: self.tsas.map_or(Tsas::None, |bytes| Tsas::parse(trtype, &bytes)),
        };
        entry.checked()
    }
}
