//! Why a host resets a connection, as the end that did it tells.

use agent::assemble::{
    faults::{Death, ResetReason},
    recent::{Outcome, Recents},
};
use agent_common::event::{
    Event,
    sock::{flag, reset},
};
use tests::{Assembled, Observer, eventually, lossy::Lossy, netns::ADDRESS_FAR, require_admin, require_bpf};

struct Scene {
    link: Lossy,
    observer: Observer,
    assembled: Assembled,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let mut link = Lossy::new();
        let observer = Observer::load();
        let assembled = Assembled::new(&[link.client.pid(), link.server.pid()]);
        assert_eq!(link.server.ask(&format!("listen {ADDRESS_FAR}:80"))["id"], 1);
        Self { link, observer, assembled }
    }

    /// Both of its sockets.
    #[track_caller]
    fn connect(&mut self) -> [u64; 2] {
        let own = self.link.client.ask(&format!("connect {ADDRESS_FAR}:80"))["id"].as_u64().unwrap();
        let accepted = self.link.server.ask("accept 1")["accepted"][0]["id"].as_u64().unwrap();
        [own, accepted]
    }

    /// How the last connections ended, the newest last.
    #[track_caller]
    fn ended(&mut self, n: usize) -> Vec<Outcome> {
        let pids = [self.link.client.pid(), self.link.server.pid()];
        eventually("connections that ended", || {
            self.assembled.take(&mut self.observer, &pids);
            let edges = self.assembled.edges(80);
            let ended: Vec<_> =
                edges.iter().filter_map(|it| it.recent.as_deref()).flat_map(Recents::iter).collect();
            (ended.len() == n).then(|| ended.iter().map(|it| it.outcome).collect())
        })
    }
}

#[test]
fn a_program_that_resets_is_told_from_one_that_does_not_read() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let [client, server] = scene.connect();
    scene.link.client.ask(&format!("reset {client}"));
    assert_eq!(scene.link.server.ask(&format!("recv {server} 1"))["errno"], libc::ECONNRESET);
    scene.link.server.ask(&format!("close {server}"));
    let mut want = vec![Outcome::Reset(Some(ResetReason::Program))];
    assert_eq!(scene.ended(1), want);

    let [client, server] = scene.connect();
    scene.link.server.ask(&format!("send {server} 100"));
    // Sent again and again until it is there, which the sender knows.
    scene.link.server.ask(&format!("linger {server}"));
    scene.link.client.ask(&format!("close {client}"));
    scene.link.server.ask(&format!("close {server}"));
    want.push(Outcome::Reset(Some(ResetReason::Unread)));
    assert_eq!(scene.ended(2), want);

    let [client, server] = scene.connect();
    scene.link.client.ask(&format!("close {client}"));
    scene.link.server.ask(&format!("close {server}"));
    want.push(Outcome::Closed);
    assert_eq!(scene.ended(3), want);
    println!("{want:?}");
}

/// Who is reset there has no socket for it: nothing but the client knows, and it is refused.
#[test]
fn a_port_that_nobody_listens_on_refuses_and_says_no_more() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let refused = scene.link.client.ask(&format!("connect {ADDRESS_FAR}:81"));
    assert_eq!(refused["errno"], libc::ECONNREFUSED);
    let pids = [scene.link.client.pid(), scene.link.server.pid()];
    let edge = eventually("the edge", || {
        scene.assembled.take(&mut scene.observer, &pids);
        scene.assembled.edges(81).into_iter().next()
    });
    let outcomes: Vec<_> = edge
        .recent
        .iter()
        .flat_map(|it| it.iter())
        .map(|it| (it.outcome.name(), it.outcome.reset_reason()))
        .collect();
    assert_eq!((outcomes, edge.connections.reset), (vec![("refused", None)], 0));
}

/// By what the tracepoint hands over since Linux 6.10: it comes before the end of the connection.
#[test]
fn the_kernel_says_why_it_gave_up() {
    require_bpf!();
    require_admin!();
    let mut scene = Scene::new();
    let [client, server] = scene.connect();
    scene.link.client.ask(&format!("keepalive {client} 1 1 2"));
    scene.link.lose("everything");
    assert_eq!(scene.link.client.ask(&format!("recv {client} 1"))["errno"], libc::ETIMEDOUT);
    scene.link.client.ask(&format!("close {client}"));
    let pid = scene.link.client.pid();
    let why = scene.observer.wait_for(1, "its end", |event| match event {
        Event::Closed(it) if it.row.state.tgid == pid => Some(it.row.state.flags >> flag::RESET_SHIFT),
        _ => None,
    })[0];
    scene.link.lose("nothing");
    scene.link.server.ask(&format!("close {server}"));
    // That is what it died of, and stays so.
    assert_eq!(scene.ended(1), [Outcome::Died(Death::KeepAlive)]);
    let has = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let has = has.windows(40).any(|it| it.starts_with(b"SK_RST_REASON_TCP_KEEPALIVE_TIMEOUT"));
    println!("why {why}, has {has}");
    assert_eq!(why, if has { reset::KEEPALIVE } else { reset::UNKNOWN });
}
