use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::wire::{Frames, MdnsEvent, Record, SERVICES_PER_RECORD};
use log_lines::LogLines;

/// A false stas-net, and stafd's browser.
struct Scene {
    listener: UnixListener,
    browser: Browser,
    events: UnboundedReceiver<BrowseEvent>,
    _dir: TempDir,
}

impl Scene {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("net");
        let (listener, (sender, events)) = (UnixListener::bind(&socket).unwrap(), mpsc::unbounded_channel());
        let browser = Browser::start(socket, move |batch| {
            let sender = sender.clone();
            async move { batch.into_iter().for_each(|event| drop(sender.send(event))) }
        });
        Self { listener, browser, events, _dir: dir }
    }

    /// The next process, which has received its role and the request to browse.
    async fn process(&self) -> Process {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut process = Process { stream, frames: Frames::default() };
        assert_eq!(process.received().await, Some(Request::Role(Role::Mdns)));
        assert_eq!(process.received().await, Some(Request::Browse(BrowseCommand::Start)));
        process
    }
}

struct Process {
    stream: UnixStream,
    frames: Frames,
}

impl Process {
    async fn received(&mut self) -> Option<Request> {
        loop {
            if let Some(request) = self.frames.next_record().unwrap() {
                return Some(request);
            }
            if self.stream.read_buf(self.frames.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn sends(&mut self, changes: Vec<MdnsEvent>) {
        self.stream.write_all(&Report::Mdns(changes).frame().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn requests_and_events_are_passed_on_and_the_process_ends_when_browsing_does() {
    let mut scene = Scene::start();
    scene.browser.request(BrowseCommand::NetworkChanged);
    scene.browser.request(BrowseCommand::Start);
    let mut process = scene.process().await;
    process.sends(vec![MdnsEvent::Restarted, MdnsEvent::Gone("a".into())]).await;
    assert_eq!(scene.events.recv().await, Some(BrowseEvent::Restarted));
    assert_eq!(scene.events.recv().await, Some(BrowseEvent::Gone("a".into())));
    for command in [BrowseCommand::NetworkChanged, BrowseCommand::Reconfirm("a".into()), BrowseCommand::Start] {
        scene.browser.request(command.clone());
        assert_eq!(process.received().await, Some(Request::Browse(command)));
    }
    scene.browser.request(BrowseCommand::Stop);
    assert_eq!(process.received().await, None);
    scene.browser.request(BrowseCommand::Start);
    let _process = scene.process().await;
    assert!(scene.events.try_recv().is_err(), "an end that was asked for interrupts nothing");
}

#[tokio::test]
async fn a_process_that_ends_is_replaced_and_nothing_is_reported_as_gone() {
    let log = LogLines::start();
    let mut scene = Scene::start();
    scene.browser.request(BrowseCommand::Start);
    for _ in 0..3 {
        let mut process = scene.process().await;
        process.sends(vec![MdnsEvent::Restarted]).await;
        assert_eq!(scene.events.recv().await, Some(BrowseEvent::Restarted));
        drop(process);
        assert_eq!(scene.events.recv().await, Some(BrowseEvent::Interrupted));
    }
    assert_eq!(log.text().matches("no mDNS at present").count(), 1, "{}", log.text());
}

#[tokio::test]
async fn a_process_that_sends_what_is_no_event_is_replaced() {
    let answer = Report::Resolved { id: 1, result: Ok(vec!["192.0.2.1".parse().unwrap()]) };
    let empty = Report::Mdns(Vec::new());
    for bytes in
        [answer.frame().unwrap(), empty.frame().unwrap(), vec![0xff; 8], [&4_u32.to_be_bytes()[..], b"nuls"].concat()]
    {
        let mut scene = Scene::start();
        scene.browser.request(BrowseCommand::Start);
        let mut process = scene.process().await;
        process.stream.write_all(&bytes).await.unwrap();
        assert_eq!(scene.events.recv().await, Some(BrowseEvent::Interrupted));
        scene.process().await;
    }
}

/// Paused time: only the pauses of the browser take time.
#[tokio::test(start_paused = true)]
async fn a_process_that_reports_without_a_pause_is_read_at_the_pace_of_a_normal_one() {
    const REPORTS: u32 = 200;
    const PER_BATCH: u32 = 8;
    let mut scene = Scene::start();
    scene.browser.request(BrowseCommand::Start);
    let mut process = scene.process().await;
    let begin = Instant::now();
    for _ in 0..REPORTS {
        process.sends(vec![MdnsEvent::Restarted]).await;
    }
    for _ in 0..REPORTS {
        assert_eq!(scene.events.recv().await, Some(BrowseEvent::Restarted));
    }
    let normal = (REPORTS / PER_BATCH) * BATCH_PACE;
    assert!((normal - 2 * BATCH_PACE..=normal).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    // Requests do not wait for the next report.
    let begin = Instant::now();
    scene.browser.request(BrowseCommand::Stop);
    assert_eq!(process.received().await, None);
    assert!(begin.elapsed() < BATCH_PACE, "{:?}", begin.elapsed());
}

/// A service that is not received again within 10 s counts as no longer announced.
#[tokio::test(start_paused = true)]
async fn reports_are_read_as_fast_as_stas_net_sends_them() {
    const SERVICES: usize = 1536;
    let mut scene = Scene::start();
    scene.browser.request(BrowseCommand::Start);
    let mut process = scene.process().await;
    let begin = Instant::now();
    let sending = async {
        for _ in 0..SERVICES / BATCH {
            for _ in 0..BATCH / SERVICES_PER_RECORD {
                process.sends(vec![MdnsEvent::Restarted; SERVICES_PER_RECORD]).await;
            }
            tokio::time::sleep(BATCH_PACE).await;
        }
        begin.elapsed()
    };
    let receiving = async {
        for _ in 0..SERVICES {
            assert_eq!(scene.events.recv().await, Some(BrowseEvent::Restarted));
        }
        begin.elapsed()
    };
    let (sent, received) = tokio::join!(sending, receiving);
    assert!(received <= sent, "{received:?}, {sent:?}");
}

/// Paused time: the back-off takes no time.
#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_be_started_is_tried_again_until_browsing_is_no_longer_wanted() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("net");
    let (sender, mut events) = mpsc::unbounded_channel();
    let browser = Browser::start(socket.clone(), move |batch| {
        let sender = sender.clone();
        async move { batch.into_iter().for_each(|event| drop(sender.send(event))) }
    });
    browser.request(BrowseCommand::Start);
    for _ in 0..5 {
        assert_eq!(events.recv().await, Some(BrowseEvent::Interrupted));
    }
    let begin = Instant::now();
    assert_eq!(events.recv().await, Some(BrowseEvent::Interrupted));
    assert!(begin.elapsed() <= Duration::from_secs(11), "{:?}", begin.elapsed());
    browser.request(BrowseCommand::Stop);
    tokio::time::sleep(Duration::from_secs(60)).await;
    while events.try_recv().is_ok() {}
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(events.try_recv().is_err(), "browsing is no longer wanted");
    drop(browser);
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn requests_to_reconfirm_leave_room_for_the_others() {
    let scene = Scene::start();
    for _ in 0..2 * COMMANDS {
        scene.browser.request(BrowseCommand::Reconfirm("a".into()));
    }
    let log = LogLines::start();
    scene.browser.request(BrowseCommand::Start);
    scene.process().await;
    assert_eq!(log.text(), "");
}
