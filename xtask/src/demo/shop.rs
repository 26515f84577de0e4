//! load → web → {catalog → Redis, cart, payments}, and a recommendations service that is down. Each is alone in a
//! network namespace, as in a pod; payments are two behind one address. The link to one of these is dead for a
//! while again and again, and the bank that both of them ask is behind a wall.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    run::{Node, Pod, Process, Talk, User},
    sh,
};

/// Client and server of every edge that has a process at both ends.
pub(super) const EDGES: &[(&str, &str)] = &[
    ("shop-load", "shop-web"),
    ("shop-web", "shop-catalog"),
    ("shop-web", "shop-cart"),
    ("shop-web", "shop-payments"),
    ("shop-catalog", "redis-server"),
];

/// The address of a service, and whose edge has to lead from it to a server.
pub(super) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
pub(super) const BEHIND_SERVICE: (&str, &str) = ("shop-web", "shop-payments");

/// What has to be found, and of whom.
pub(super) const FINDINGS: &[(&str, &str)] =
    &[("rto_episode", "shop-web"), ("connect_abandoned", "shop-payments")];

/// Those in Go.
pub(super) const PROGRAMS: &[&str] = &["shop-catalog", "shop-load", "shop-web"];
/// Those in Rust.
pub(super) const BINARIES: &[&str] = &["shop-payments", "target-dropper"];

const HTTP: u16 = 8080;
const REDIS: u16 = 6379;
/// Of no network, by RFC 5737.
const BANK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 443);

/// The bad link works, then it does not for as long as a retransmission timer needs to fire several times.
const ALIVE: Duration = Duration::from_secs(5);
const DEAD: Duration = Duration::from_millis(1200);

const TO_LISTEN: Duration = Duration::from_secs(20);

/// Where the programs of the shop are, and with whose rights they run.
pub(super) struct Keeper {
    pub(super) go_programs: PathBuf,
    pub(super) binaries: PathBuf,
    pub(super) user: Option<User>,
}

/// Fields are dropped, and so ended, in this order.
pub(super) struct Shop {
    /// From the front to the back.
    running: Vec<Process>,
    keeper: Keeper,
    /// Where visitors come from.
    outside: Pod,
    url: String,
    /// Until visitors come.
    dropper: Option<Talk>,
    _pods: Vec<Pod>,
}

impl Shop {
    pub(super) fn open(node: &mut Node, keeper: Keeper) -> anyhow::Result<Self> {
        let mut pod = |word| node.pod(word);
        let [redis, catalog, cart] = [pod("redis")?, pod("catalog")?, pod("cart")?];
        let [payments, far_payments] = [pod("payments")?, pod("far payments")?];
        let [web, outside, nobody] = [pod("web")?, pod("outside")?, pod("recommendations")?];
        node.translate(SERVICE, &[payments.at(HTTP), far_payments.at(HTTP)])?;
        node.swallow(*BANK.ip())?;

        let (dropper, talk) =
            Process::obeying("the dropper", &node.namespace.wrap(&keeper.dropper(&far_payments.link)))?;
        let mut running = vec![
            dropper,
            service("redis-server", &redis, REDIS, &mut keeper.redis(&redis))?,
            service("shop-catalog", &catalog, HTTP, &mut keeper.catalog(&catalog, &redis))?,
            service("shop-cart", &cart, HTTP, &mut keeper.cart(&cart))?,
            service("shop-payments", &payments, HTTP, &mut keeper.payments(&payments))?,
            service("shop-payments", &far_payments, HTTP, &mut keeper.payments(&far_payments))?,
        ];
        let mut front = keeper.command(keeper.go_programs.join("shop-web"));
        front.args(["-listen", &web.at(HTTP).to_string()]);
        let backends = [
            ("catalog", catalog.at(HTTP)),
            ("cart", cart.at(HTTP)),
            ("payments", SERVICE),
            ("recommendations", nobody.at(HTTP)),
        ];
        for (name, address) in backends {
            front.args([format!("-{name}"), format!("http://{address}")]);
        }
        running.push(service("shop-web", &web, HTTP, &mut front)?);
        running.reverse();
        Ok(Self {
            running,
            keeper,
            url: format!("http://{}", web.at(HTTP)),
            outside,
            dropper: Some(talk),
            _pods: vec![redis, catalog, cart, payments, far_payments, web, nobody],
        })
    }

    /// Lets visitors in, until the shop closes, and lets the bad link be bad.
    pub(super) fn load(&mut self, rps: u32) -> anyhow::Result<()> {
        // Its progress would run into what the agent says.
        let mut quiet = self.keeper.command("sh");
        quiet.args(["-c", "exec \"$@\" 2>/dev/null", "sh"]).arg(self.keeper.go_programs.join("shop-load"));
        // Some of them wait for a dead link, or for the bank.
        quiet.args(["-url", &self.url, "-rps", &rps.to_string(), "-for", "0", "-workers", "32"]);
        quiet.env("OTEL_SERVICE_NAME", "shop-load");
        self.running.insert(0, Process::start("shop-load", &self.outside.namespace.wrap(&quiet))?);
        if let Some(dropper) = self.dropper.take() {
            thread::spawn(move || flap(dropper));
        }
        Ok(())
    }

    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Process::must_run)
    }

    pub(super) fn close(self) {
        drop(self);
    }
}

impl Keeper {
    fn command(&self, program: impl Into<PathBuf>) -> Command {
        let program = program.into();
        match self.user {
            Some(user) => user.command(&program),
            None => Command::new(program),
        }
    }

    fn redis(&self, pod: &Pod) -> Command {
        let at = pod.at(REDIS);
        let mut command = self.command("redis-server");
        command.args(["--bind", &at.ip().to_string(), "--port", &at.port().to_string()]);
        // Nobody is in its network but the shop.
        command.args(["--protected-mode", "no", "--save", "", "--appendonly", "no"]);
        command
    }

    fn catalog(&self, pod: &Pod, redis: &Pod) -> Command {
        let mut command = self.command(self.go_programs.join("shop-catalog"));
        command.args(["-listen", &pod.at(HTTP).to_string(), "-redis", &redis.at(REDIS).to_string()]);
        command
    }

    fn cart(&self, pod: &Pod) -> Command {
        let mut command = self.command("python3");
        command.arg(sh::root().join("tests/targets/python/shop-cart.py"));
        command.args(["--listen", &pod.at(HTTP).to_string()]);
        command
    }

    /// One charge in five needs the bank, one visit in twenty: enough for a finding.
    fn payments(&self, pod: &Pod) -> Command {
        let mut command = self.command(self.binaries.join("shop-payments"));
        command.args(["--listen", &pod.at(HTTP).to_string()]);
        command.args(["--fail-every", "5", "--bank", &BANK.to_string()]);
        command
    }

    /// Root's: it is a program in the kernel.
    fn dropper(&self, link: &str) -> Command {
        let mut command = Command::new(self.binaries.join("target-dropper"));
        command.arg(link).env("TASKSCOPE_TARGETS", &self.go_programs);
        command
    }
}

/// Returns when it listens.
fn service(name: &str, pod: &Pod, port: u16, command: &mut Command) -> anyhow::Result<Process> {
    let command = pod.namespace.wrap(command.env("OTEL_SERVICE_NAME", name));
    let mut process = Process::start(name, &command)?;
    let at = pod.at(port);
    process.eventually(TO_LISTEN, || Ok(TcpStream::connect(at).is_ok().then_some(())))?;
    Ok(process)
}

/// Until the dropper has ended.
fn flap(mut dropper: Talk) {
    for (what, length) in [("nothing", ALIVE), ("everything", DEAD)].into_iter().cycle() {
        if dropper.ask(what).is_err() {
            return;
        }
        thread::sleep(length);
    }
}
