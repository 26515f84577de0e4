//! load → web → {catalog → redis, cart, payments}, and a recommendations service that is down.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    run::{Process, User},
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

/// Those in Go.
pub(super) const PROGRAMS: &[&str] = &["shop-catalog", "shop-load", "shop-web"];

const TO_LISTEN: Duration = Duration::from_secs(20);

/// From the front to the back, which is the order in which they end.
pub(super) struct Shop {
    running: Vec<Process>,
    keeper: Keeper,
    load: PathBuf,
    url: String,
}

impl Shop {
    /// It needs no root: with a `user`, it runs as that one.
    pub(super) fn open(
        go_programs: &Path,
        payments_program: &Path,
        user: Option<User>,
    ) -> anyhow::Result<Self> {
        let keeper = Keeper(user);
        let [redis, catalog, cart, payments, web, nobody] = free_addresses()?;
        let port = redis.port().to_string();
        let mut redis_server = keeper.command("redis-server");
        redis_server.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        let mut catalog_server = keeper.command(go_programs.join("shop-catalog"));
        catalog_server.args(["-listen", &catalog.to_string(), "-redis", &redis.to_string()]);
        let mut cart_server = keeper.command("python3");
        cart_server.arg(sh::root().join("tests/targets/python/shop-cart.py"));
        cart_server.args(["--listen", &cart.to_string()]);
        let mut payments_server = keeper.command(payments_program);
        // One charge in five fails, one visit in twenty: enough for a finding.
        payments_server.args(["--listen", &payments.to_string(), "--fail-every", "5"]);
        let mut web_server = keeper.command(go_programs.join("shop-web"));
        web_server.args(["-listen", &web.to_string()]);
        let backends =
            [("catalog", catalog), ("cart", cart), ("payments", payments), ("recommendations", nobody)];
        for (name, address) in backends {
            web_server.args([format!("-{name}"), format!("http://{address}")]);
        }

        let mut running = vec![
            service("redis-server", &mut redis_server, redis)?,
            service("shop-catalog", &mut catalog_server, catalog)?,
            service("shop-cart", &mut cart_server, cart)?,
            service("shop-payments", &mut payments_server, payments)?,
            service("shop-web", &mut web_server, web)?,
        ];
        running.reverse();
        Ok(Self { running, keeper, load: go_programs.join("shop-load"), url: format!("http://{web}") })
    }

    /// Lets visitors in, until the shop closes.
    pub(super) fn load(&mut self, rps: u32) -> anyhow::Result<()> {
        // Its progress would run into what the agent says.
        let mut quiet = self.keeper.command("sh");
        quiet.args(["-c", "exec \"$@\" 2>/dev/null", "sh"]).arg(&self.load);
        quiet.args(["-url", &self.url, "-rps", &rps.to_string(), "-for", "0"]);
        self.running.insert(0, Process::start("shop-load", quiet.env("OTEL_SERVICE_NAME", "shop-load"))?);
        Ok(())
    }

    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Process::must_run)
    }

    pub(super) fn close(self) {
        drop(self.running);
    }
}

/// With whose rights the shop runs.
struct Keeper(Option<User>);

impl Keeper {
    fn command(&self, program: impl AsRef<Path>) -> Command {
        match self.0 {
            Some(user) => user.command(program.as_ref()),
            None => Command::new(program.as_ref()),
        }
    }
}

/// Returns when it listens.
fn service(name: &str, command: &mut Command, address: SocketAddr) -> anyhow::Result<Process> {
    let mut process = Process::start(name, command.env("OTEL_SERVICE_NAME", name))?;
    process.eventually(TO_LISTEN, || Ok(TcpStream::connect(address).is_ok().then_some(())))?;
    Ok(process)
}

/// All at once, so that they differ.
fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address).context("loopback has no free port")?;
        *address = listener.local_addr().context("a listener without an address")?;
        listeners.push(listener);
    }
    Ok(addresses)
}
