//! load → web → {catalog → redis, cart, payments}, and a recommendations service that is down.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::process::Process;
use crate::sh;

/// Client and server of every edge that has a process at both ends.
pub(super) const EDGES: &[(&str, &str)] = &[
    ("shop-load", "shop-web"),
    ("shop-web", "shop-catalog"),
    ("shop-web", "shop-cart"),
    ("shop-web", "shop-payments"),
    ("shop-catalog", "redis-server"),
];

/// From the front to the back, which is the order in which they end.
pub(super) struct Shop {
    running: Vec<Process>,
    load: PathBuf,
    url: String,
}

impl Shop {
    pub(super) fn open(go_programs: &Path, payments_program: &Path) -> anyhow::Result<Self> {
        let [redis, catalog, cart, payments, web, nobody] = free_addresses()?;
        let port = redis.port().to_string();
        let mut redis_server = Command::new("redis-server");
        redis_server.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        let mut catalog_server = Command::new(go_programs.join("shop-catalog"));
        catalog_server.args(["-listen", &catalog.to_string(), "-redis", &redis.to_string()]);
        let mut cart_server = Command::new("python3");
        cart_server.arg(sh::root().join("tests/targets/python/shop-cart.py"));
        cart_server.args(["--listen", &cart.to_string()]);
        let mut payments_server = Command::new(payments_program);
        // One charge in five fails, one visit in twenty: enough for a finding.
        payments_server.args(["--listen", &payments.to_string(), "--fail-every", "5"]);
        let mut web_server = Command::new(go_programs.join("shop-web"));
        web_server.args(["-listen", &web.to_string()]);
        let backends =
            [("catalog", catalog), ("cart", cart), ("payments", payments), ("recommendations", nobody)];
        for (name, address) in backends {
            web_server.args([format!("-{name}"), format!("http://{address}")]);
        }

        let mut running = vec![
            Process::service("redis-server", &mut redis_server, redis)?,
            Process::service("shop-catalog", &mut catalog_server, catalog)?,
            Process::service("shop-cart", &mut cart_server, cart)?,
            Process::service("shop-payments", &mut payments_server, payments)?,
            Process::service("shop-web", &mut web_server, web)?,
        ];
        running.reverse();
        Ok(Self { running, load: go_programs.join("shop-load"), url: format!("http://{web}") })
    }

    /// Lets visitors in, until the shop closes.
    pub(super) fn load(&mut self, rps: u32) -> anyhow::Result<()> {
        let mut command = Command::new(&self.load);
        command.args(["-url", &self.url, "-rps", &rps.to_string(), "-for", "0"]);
        // Its progress would run into what the agent says.
        let mut quiet = Command::new("sh");
        quiet
            .args(["-c", "exec \"$@\" 2>/dev/null", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
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
